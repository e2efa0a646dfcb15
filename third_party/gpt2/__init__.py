"""GPT-2 of Hugging Face in PyTorch: see README.md."""

from third_party.gpt2.importer import import_state_dict

__all__ = ["import_state_dict"]

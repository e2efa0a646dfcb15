"""timm's Vision Transformers in PyTorch: see README.md."""

from third_party.timm_vit.importer import import_state_dict

__all__ = ["import_state_dict"]

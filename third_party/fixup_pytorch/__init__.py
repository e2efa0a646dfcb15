"""The Fixup authors' PyTorch models for CIFAR: see README.md."""

from third_party.fixup_pytorch.importer import export_state_dict, import_state_dict

__all__ = ["export_state_dict", "import_state_dict"]

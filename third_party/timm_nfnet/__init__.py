"""timm's normalizer-free networks in PyTorch: see README.md."""

from third_party.timm_nfnet.importer import import_state_dict

__all__ = ["import_state_dict"]

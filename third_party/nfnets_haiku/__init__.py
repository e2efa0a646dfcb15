"""The authors' normalizer-free networks in Haiku: see README.md."""

from third_party.nfnets_haiku.importer import import_parameters

__all__ = ["import_parameters"]

"""Initialization by data or by gradients, for models that are built already."""

from fixinit.starts.initialize import initialize_from_data
from fixinit.starts.started import DataStart

__all__ = ["DataStart", "initialize_from_data"]

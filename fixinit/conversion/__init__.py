"""Takes any functional Keras model and makes it free of normalization."""

from fixinit.conversion.convert import convert, explain
from fixinit.conversion.converted import ConvertedModel
from fixinit.conversion.deletion import delete_normalization
from fixinit.conversion.record import Record

__all__ = ["ConvertedModel", "Record", "convert", "delete_normalization", "explain"]

"""Takes any functional Keras model and makes it free of normalization."""

from fixinit.conversion.convert import convert, explain
from fixinit.conversion.converted import ConvertedModel
from fixinit.conversion.record import Record

__all__ = ["ConvertedModel", "Record", "convert", "explain"]

"""Very deep networks without normalization, on Keras 3."""

from fixinit import (
    conversion,
    diagnostics,
    graph,
    initializers,
    layers,
    models,
    optimizers,
    schemes,
    theory,
)
from fixinit.conversion import convert

__version__ = "0.1.0"

__all__ = [
    "conversion",
    "convert",
    "diagnostics",
    "graph",
    "initializers",
    "layers",
    "models",
    "optimizers",
    "schemes",
    "theory",
]

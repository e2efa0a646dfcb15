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
    starts,
    theory,
)
from fixinit.conversion import convert
from fixinit.starts import initialize_from_data

__version__ = "0.1.0"

__all__ = [
    "conversion",
    "convert",
    "diagnostics",
    "graph",
    "initialize_from_data",
    "initializers",
    "layers",
    "models",
    "optimizers",
    "schemes",
    "starts",
    "theory",
]

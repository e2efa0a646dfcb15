"""Very deep networks without normalization, on Keras 3."""

from fixinit import (
    diagnostics,
    graph,
    initializers,
    layers,
    models,
    optimizers,
    schemes,
    theory,
)

__version__ = "0.1.0"

__all__ = [
    "diagnostics",
    "graph",
    "initializers",
    "layers",
    "models",
    "optimizers",
    "schemes",
    "theory",
]

"""One rule for every layer class, registered as users register theirs."""

from fixinit.theory.rules import (
    activations,
    merging,
    noise,
    normalization,
    operations,
    ours,
    pooling,
    shapes,
    weights,
)

__all__ = [
    "activations",
    "merging",
    "noise",
    "normalization",
    "operations",
    "ours",
    "pooling",
    "shapes",
    "weights",
]

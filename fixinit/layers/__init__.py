"""Keras layers for residual networks that need no normalization."""

from fixinit.layers.residual_block import ResidualBlock
from fixinit.layers.scalars import ScalarBias, ScalarMultiplier
from fixinit.layers.scaled_add import ScaledAdd
from fixinit.layers.shortcuts import ProjectionShortcut, ZeroPaddingShortcut
from fixinit.layers.stack import Stack

__all__ = [
    "ProjectionShortcut",
    "ResidualBlock",
    "ScalarBias",
    "ScalarMultiplier",
    "ScaledAdd",
    "Stack",
    "ZeroPaddingShortcut",
]

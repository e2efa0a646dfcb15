"""Gradients inside of a function that is differentiated itself."""

from collections.abc import Callable
from typing import Any

import keras

from fixinit.backend.compilation import unknown


def inner_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gradients that further gradients can be taken of.

    Args:
        function: Callable that maps a list of tensors, and any further tensors, to a
            scalar, without side effects.

    Returns:
        Callable `(variables, *args) -> gradients`, a list like `variables`. It belongs
        inside of a function for `value_and_gradients`, or of another `inner_gradients`.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _tensorflow(function)
    if backend == "jax":
        import jax

        return jax.grad(function)
    if backend == "torch":
        return _torch(function)
    raise unknown(backend)


def _tensorflow(function):
    import tensorflow as tf

    def gradients(variables, *args):
        with tf.GradientTape() as tape:
            tape.watch(variables)
            value = function(variables, *args)
        zero = tf.UnconnectedGradients.ZERO
        return tape.gradient(value, variables, unconnected_gradients=zero)

    return gradients


def _torch(function):
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def gradients(variables, *args):
        # Those of which nobody takes gradients further out.
        variables = [v if v.requires_grad else v.requires_grad_() for v in variables]
        # Fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            value = function(variables, *args)
        found: Any = [None] * len(variables)
        if value.requires_grad:
            found = torch.autograd.grad(
                value, variables, create_graph=True, allow_unused=True
            )
        return [
            torch.zeros_like(v) if g is None else g
            for g, v in zip(found, variables, strict=True)
        ]

    return gradients

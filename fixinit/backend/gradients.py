"""Gradients, which Keras does not offer."""

from collections.abc import Callable
from typing import Any

import keras

from fixinit.backend.compilation import unknown
from fixinit.backend.custom_gradients import forgotten_gradients


def value_and_gradients(
    function: Callable[..., Any], has_aux: bool = False, compiles: bool = True
) -> Callable[..., Any]:
    """Compiles `function` together with its gradients.

    Args:
        function: Callable that maps a list of tensors, and any further tensors,
            to a scalar, without side effects: `Layer.stateless_call` inside it
            keeps it so.
        has_aux: bool. `function` returns `(value, aux)` instead, where `aux` is a
            structure of tensors that no gradient is taken of.
        compiles: bool. `False` runs eagerly, which is faster for a few calls.

    Returns:
        Callable `(variables, *args) -> (value, gradients)`, or `((value, aux),
        gradients)`, where `gradients` is a list like `variables`. Compiled once per
        shape of the arguments on TensorFlow and JAX; eager on PyTorch.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _tensorflow(function, has_aux, compiles)
    if backend == "jax":
        import jax

        differentiated = jax.value_and_grad(function, has_aux=has_aux)
        return jax.jit(differentiated) if compiles else differentiated
    if backend == "torch":
        return _torch(function, has_aux)
    raise unknown(backend)


def _tensorflow(function, has_aux, compiles):
    import tensorflow as tf

    def evaluate(variables, *args):
        with tf.GradientTape() as tape:
            tape.watch(variables)
            result = function(variables, *args)
        value = result[0] if has_aux else result
        zero = tf.UnconnectedGradients.ZERO
        return result, tape.gradient(value, variables, unconnected_gradients=zero)

    if not compiles:
        return evaluate
    return tf.function(forgotten_gradients()(evaluate), autograph=False)


def _torch(function, has_aux):
    import torch

    def evaluate(variables, *args):
        with torch.enable_grad():
            variables = [v.detach().requires_grad_() for v in variables]
            result = function(variables, *args)
            value = result[0] if has_aux else result
            gradients = torch.autograd.grad(value, variables, allow_unused=True)
        gradients = [
            torch.zeros_like(v) if g is None else g
            for g, v in zip(gradients, variables, strict=True)
        ]
        if has_aux:
            aux = keras.tree.map_structure(lambda t: t.detach(), result[1])
            return (value.detach(), aux), gradients
        return value.detach(), gradients

    return evaluate

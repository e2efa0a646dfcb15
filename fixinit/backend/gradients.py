"""Gradients, which Keras does not offer."""

import keras

from fixinit.backend.compilation import unknown


def value_and_gradients(function):
    """Compiles `function` together with its gradients.

    Args:
        function: Callable that maps a list of tensors, and any further tensors,
            to a scalar, without side effects: `Layer.stateless_call` inside it
            keeps it so.

    Returns:
        Callable `(variables, *args) -> (value, gradients)`, where `gradients` is
        a list like `variables`. Compiled once per shape of the arguments on
        TensorFlow and JAX; eager on PyTorch.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _tensorflow(function)
    if backend == "jax":
        import jax

        return jax.jit(jax.value_and_grad(function))
    if backend == "torch":
        return _torch(function)
    raise unknown(backend)


def _tensorflow(function):
    import tensorflow as tf

    @tf.function
    def compiled(variables, *args):
        with tf.GradientTape() as tape:
            tape.watch(variables)
            value = function(variables, *args)
        zero = tf.UnconnectedGradients.ZERO
        return value, tape.gradient(value, variables, unconnected_gradients=zero)

    return compiled


def _torch(function):
    import torch

    def eager(variables, *args):
        with torch.enable_grad():
            variables = [v.detach().requires_grad_() for v in variables]
            value = function(variables, *args)
            gradients = torch.autograd.grad(value, variables, allow_unused=True)
        return value.detach(), [
            torch.zeros_like(v) if g is None else g
            for g, v in zip(gradients, variables, strict=True)
        ]

    return eager

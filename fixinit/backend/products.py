"""Products of a Jacobian with vectors, from either side."""

from collections.abc import Callable
from typing import Any

import keras

from fixinit.backend.compilation import compiled, unknown
from fixinit.backend.custom_gradients import forgotten_gradients


def vector_products(
    function: Callable[..., Any],
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Compiles the products of a function's Jacobian J with vectors.

    Args:
        function: Callable that maps a list of tensors, and any further tensors, to a
            list of tensors, without side effects. J is the derivative of its outputs
            with respect to the list.

    Returns:
        `(vjp, jvp)`: callables `(inputs, vectors, *args) -> products`. `vjp` takes
        vectors u like the outputs and gives J^T u, like the inputs; `jvp` takes
        vectors v like the inputs and gives J v, like the outputs.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _tensorflow(function)
    if backend == "jax":
        return _jax(function)
    if backend == "torch":
        return _torch(function)
    raise unknown(backend)


def _jax(function):
    import jax

    def vjp(inputs, vectors, *args):
        _, transposed = jax.vjp(lambda x: function(x, *args), inputs)
        return transposed(vectors)[0]

    def jvp(inputs, vectors, *args):
        return jax.jvp(lambda x: function(x, *args), (inputs,), (vectors,))[1]

    return compiled(vjp), compiled(jvp)


# Few operations and no loop have a forward mode on TensorFlow and PyTorch. J^T u is
# linear in u, so J v is the product of v with its own Jacobian, from the left.


def _tensorflow(function):
    import tensorflow as tf

    zero = tf.UnconnectedGradients.ZERO

    def vjp(inputs, vectors, *args):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(inputs, *args)
        return tape.gradient(outputs, inputs, vectors, zero)

    def jvp(inputs, vectors, *args):
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = function(inputs, *args)
            upstream = [tf.zeros_like(h) for h in outputs]
            outer.watch(upstream)
            gradients = tape.gradient(outputs, inputs, upstream, zero)
        return outer.gradient(gradients, upstream, vectors, zero)

    forget = forgotten_gradients()
    return compiled(forget(vjp)), compiled(forget(jvp))


def _torch(function):
    import torch

    def products(of, by, vectors, **kwargs):
        pairs = [(h, u) for h, u in zip(of, vectors, strict=True) if h.requires_grad]
        if not pairs:
            return [torch.zeros_like(t) for t in by]
        of, vectors = zip(*pairs, strict=True)
        found = torch.autograd.grad(of, by, vectors, allow_unused=True, **kwargs)
        return [
            torch.zeros_like(t) if g is None else g
            for g, t in zip(found, by, strict=True)
        ]

    def vjp(inputs, vectors, *args):
        with torch.enable_grad():
            inputs = [t.detach().requires_grad_() for t in inputs]
            return products(function(inputs, *args), inputs, vectors)

    def jvp(inputs, vectors, *args):
        with torch.enable_grad():
            inputs = [t.detach().requires_grad_() for t in inputs]
            outputs = function(inputs, *args)
            upstream = [torch.zeros_like(h, requires_grad=True) for h in outputs]
            gradients = products(outputs, inputs, upstream, create_graph=True)
            return [t.detach() for t in products(gradients, upstream, vectors)]

    return vjp, jvp

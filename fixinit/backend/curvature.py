"""Products of a Hessian with vectors, which Keras does not offer."""

from collections.abc import Callable
from typing import Any

import keras

from fixinit.backend.compilation import compiled, unknown
from fixinit.backend.custom_gradients import forgotten_gradients


def hessian_products(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles the products of a function's Hessian H with vectors.

    H v is the gradient of the product of the gradient with v: twice in reverse, as
    few operations have a forward mode on every backend.

    Args:
        function: Callable that maps a list of tensors, and any further tensors, to a
            scalar, without side effects. H is its second derivative by the list.

    Returns:
        Callable `(variables, vectors, *args) -> products`, lists like `variables`.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _tensorflow(function)
    if backend == "jax":
        return _jax(function)
    if backend == "torch":
        return _torch(function)
    raise unknown(backend)


def _tensorflow(function):
    import tensorflow as tf

    zero = tf.UnconnectedGradients.ZERO

    def product(variables, vectors, *args):
        with tf.GradientTape() as outer:
            outer.watch(variables)
            with tf.GradientTape() as tape:
                tape.watch(variables)
                value = function(variables, *args)
            gradients = tape.gradient(value, variables, unconnected_gradients=zero)
        return outer.gradient(gradients, variables, vectors, zero)

    return compiled(forgotten_gradients()(product))


def _jax(function):
    import jax

    def product(variables, vectors, *args):
        _, transposed = jax.vjp(lambda v: jax.grad(function)(v, *args), variables)
        return transposed(vectors)[0]

    return compiled(product)


def _torch(function):
    import torch

    def product(variables, vectors, *args):
        with torch.enable_grad():
            variables = [v.detach().requires_grad_() for v in variables]
            value = function(variables, *args)
            gradients = torch.autograd.grad(
                value, variables, create_graph=True, allow_unused=True
            )
            pairs = [
                (g, u)
                for g, u in zip(gradients, vectors, strict=True)
                if g is not None and g.requires_grad
            ]
            found: Any = [None] * len(variables)
            if pairs:
                of, by = zip(*pairs, strict=True)
                found = torch.autograd.grad(of, variables, by, allow_unused=True)
        return [
            torch.zeros_like(v) if h is None else h
            for h, v in zip(found, variables, strict=True)
        ]

    return product

"""A trainable scalar added to, or multiplied with, every element of a tensor.

The gradient with respect to the scalar is a sum over all elements. In half precision
it would overflow (float16) or lose most of its bits (bfloat16), so it is summed in
float32, while the forward pass stays in half precision.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from fixinit._typing import Tensor
from fixinit.backend.compilation import under_xla, unknown
from fixinit.backend.custom_gradients import custom_gradient

_HALF = ("float16", "bfloat16")


def add_scalar(x: Tensor, scalar: Tensor) -> Tensor:
    """Adds a scalar to every element; sums its gradient in float32 at least.

    Args:
        x: Floating-point tensor of any shape.
        scalar: Tensor of shape `()`, in the dtype of `x` or a wider one.

    Returns:
        Tensor of the shape and dtype of `x`.
    """
    if _is_half(x):
        return _half_precision()[0](x, scalar)
    return x + spread(scalar, x)


def multiply_by_scalar(x: Tensor, scalar: Tensor) -> Tensor:
    """Multiplies every element by a scalar; sums its gradient in float32 at least.

    Args:
        x: Floating-point tensor of any shape.
        scalar: Tensor of shape `()`, in the dtype of `x` or a wider one.

    Returns:
        Tensor of the shape and dtype of `x`.
    """
    if _is_half(x):
        return _half_precision()[1](x, scalar)
    return x * spread(scalar, x)


def spread(scalar: Tensor, x: Tensor) -> Tensor:
    """Gives `scalar` the dtype of `x` and a shape that broadcasts to that of `x`.

    XLA on TensorFlow sums a tensor to a scalar element by element. There the scalar
    becomes a vector as long as the last axis of `x`, by a matrix product: its gradient
    is then a sum over rows, which is vectorized, and a matrix product.
    """
    scalar = ops.cast(scalar, x.dtype)
    size = x.shape[-1] if len(x.shape) > 1 else None
    if keras.backend.backend() != "tensorflow" or size is None or not under_xla():
        return scalar
    row = ops.ones((1, size), scalar.dtype)
    return ops.reshape(ops.matmul(ops.reshape(scalar, (1, 1)), row), (size,))


def _is_half(x: Tensor) -> bool:
    return keras.backend.standardize_dtype(x.dtype) in _HALF


@functools.cache
def _half_precision() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """`(add, multiply)` of a half-precision tensor and a scalar, for this backend."""
    backend = keras.backend.backend()
    made: dict[str, Callable[[], Any]] = {
        "tensorflow": _tensorflow,
        "jax": _jax,
        "torch": _torch,
    }
    if backend not in made:
        raise unknown(backend)
    return made[backend]()


def _tensorflow() -> Any:
    import tensorflow as tf

    def total(x):
        x = tf.cast(x, tf.float32)
        if not under_xla() or not x.shape.rank or x.shape[-1] is None:
            return tf.reduce_sum(x)
        # See `spread`.
        rows = tf.reduce_sum(x, axis=list(range(x.shape.rank - 1)))
        return tf.reduce_sum(tf.linalg.matvec(rows[None], tf.ones_like(rows)))

    @custom_gradient
    def add(x, scalar):
        def gradient(upstream):
            return upstream, tf.cast(total(upstream), scalar.dtype)

        return x + tf.cast(scalar, x.dtype), gradient

    @custom_gradient
    def multiply(x, scalar):
        factor = tf.cast(scalar, x.dtype)

        def gradient(upstream):
            products = tf.cast(upstream, tf.float32) * tf.cast(x, tf.float32)
            return upstream * factor, tf.cast(total(products), scalar.dtype)

        return x * factor, gradient

    def with_tensors(function):
        # What custom gradients do with variables depends on the mode of execution.
        return lambda x, scalar: function(x, tf.convert_to_tensor(scalar))

    return with_tensors(add), with_tensors(multiply)


def _jax() -> Any:
    import jax

    # A rule for tangents, which JAX transposes, keeps the forward mode.
    @jax.custom_jvp
    def add(x, scalar):
        return x + scalar.astype(x.dtype)

    @add.defjvp
    def _(values, tangents):
        x, scalar = values
        along_x, along_scalar = tangents
        spread = jax.numpy.broadcast_to(along_scalar.astype("float32"), x.shape)
        return add(x, scalar), along_x + spread.astype(x.dtype)

    @jax.custom_jvp
    def multiply(x, scalar):
        return x * scalar.astype(x.dtype)

    @multiply.defjvp
    def _(values, tangents):
        x, scalar = values
        along_x, along_scalar = tangents
        by_scalar = x.astype("float32") * along_scalar.astype("float32")
        by_x = along_x * scalar.astype(x.dtype)
        return multiply(x, scalar), by_x + by_scalar.astype(x.dtype)

    return add, multiply


def _torch() -> Any:
    import torch

    class Add(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, scalar):
            return x + scalar.to(x.dtype)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.dtype = inputs[1].dtype

        @staticmethod
        def backward(ctx, upstream):
            return upstream, upstream.sum(dtype=torch.float32).to(ctx.dtype)

    class Multiply(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, scalar):
            return x * scalar.to(x.dtype)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, upstream):
            x, scalar = ctx.saved_tensors
            products = upstream.float() * x.float()
            return upstream * scalar.to(x.dtype), products.sum().to(scalar.dtype)

    return Add.apply, Multiply.apply

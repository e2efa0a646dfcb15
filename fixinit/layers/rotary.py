"""Rotary positions."""

from keras import ops

from fixinit._typing import Tensor


def rotate(x: Tensor, at: Tensor, base: float) -> Tensor:
    """Turns pairs of channels by angles that grow with the position.

        (a, b) -> (a cos u - b sin u, a sin u + b cos u),    u = t * base^(-2i / d)

    Pair i of d channels is `(i, i + d / 2)`, as in Llama.

    Args:
        x: Tensor `(batch, length, heads, d)`, d even.
        at: Integer tensor `(batch or 1, length)`, the positions t.
        base: float.

    Returns:
        Tensor of the shape and dtype of `x`.

    Reference:

    - [Su et al., 2021](https://arxiv.org/abs/2104.09864)
    """
    half = x.shape[-1] // 2
    rates = base ** (-ops.arange(half, dtype="float32") / half)
    angles = ops.cast(at, "float32")[..., None] * rates
    sin, cos = (ops.cast(f(angles), x.dtype)[:, :, None] for f in (ops.sin, ops.cos))
    a, b = x[..., :half], x[..., half:]
    return ops.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)

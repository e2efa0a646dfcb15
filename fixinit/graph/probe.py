"""A tensor that passes as it is, and whose gradient is measured on the way back."""

from collections.abc import Callable

from fixinit import backend
from fixinit._typing import Tensor


def probed(x: Tensor, slot: Tensor, statistics: Callable[[Tensor], Tensor]) -> Tensor:
    """The identity of `x`; the "gradient" of `slot` is a statistic of the gradient.

    Args:
        x: Tensor.
        slot: Float32 tensor of the shape of the statistic; its value is not read.
        statistics: Callable from the gradient with respect to `x` to the statistic.
    """

    @backend.custom_gradient
    def identity(x, slot):
        def gradient(*args, upstream=None):
            if upstream is None:
                (upstream,) = args
            return upstream, statistics(upstream)

        return x, gradient

    return identity(x, slot)

"""A tensor that passes as it is, and whose gradient is measured on the way back."""

from collections.abc import Callable

from keras import ops

from fixinit import _keras, backend
from fixinit._typing import Tensor


def probed(
    x: Tensor,
    slot: Tensor,
    statistics: Callable[[Tensor], Tensor],
    is_output: bool = False,
) -> Tensor:
    """The identity of `x`; the "gradient" of `slot` is a statistic of the gradient.

    What Keras has attached to `x` is attached to what comes out, a mask and logits.
    Where a loss reads the logits instead of `x`, it is their gradient.

    Args:
        x: Tensor.
        slot: Float32 tensor of the shape of the statistic; its value is not read.
        statistics: Callable from the gradient with respect to `x` to the statistic.
        is_output: bool. Whether a loss may read it. On TensorFlow, Keras's losses look
            behind a softmax or sigmoid of TensorFlow's own: what is probed then is
            what it was called with.
    """
    if is_output and (raw := _keras.raw_activation(x)) is not None:
        logits, activation = raw
        outputs = activation(probed(logits, slot, statistics))
        _keras.hand_on(x, outputs)
        return outputs
    logits = _keras.logits(x)
    if logits is None:
        outputs = _identity(statistics)(x, slot)
        _keras.hand_on(x, outputs)
        return outputs
    outputs, logits = _identity_of_both(statistics)(x, logits, slot)
    _keras.hand_on(x, outputs)
    _keras.set_logits(outputs, logits)
    return outputs


def _identity(statistics: Callable[[Tensor], Tensor]) -> Callable:
    @backend.custom_gradient
    def identity(x, slot):
        def gradient(*args, upstream=None):
            if upstream is None:
                (upstream,) = args
            return upstream, statistics(upstream)

        return x, gradient

    return identity


def _identity_of_both(statistics: Callable[[Tensor], Tensor]) -> Callable:
    """Like `_identity`, of a tensor and the logits attached to it; on TensorFlow."""

    @backend.custom_gradient
    def identity(x, logits, slot):
        def gradient(of_x, of_logits):
            read = ops.any(of_logits != 0)
            return of_x, of_logits, statistics(ops.where(read, of_logits, of_x))

        return (x, logits), gradient

    return identity

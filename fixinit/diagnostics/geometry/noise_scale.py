"""Gradient noise scale: how many samples a gradient step can use."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit._checked import checked
from fixinit._typing import Identifier
from fixinit._validation import check_positive_int
from fixinit.diagnostics.geometry.weight_function import WeightFunction


@dataclasses.dataclass(frozen=True)
class GradientNoise:
    """Noise of the gradient over samples, estimated without bias.

    Example:

    >>> fixinit.diagnostics.GradientNoise(variance=8.0, square=2.0).scale
    4.0

    Attributes:
        variance: float. tr(S): the sum of the variances, over samples, of all entries
            of one sample's gradient.
        square: float. |G|^2, the squared norm of the expected gradient. The estimate
            may be below 0, where noise is all that a batch shows.
    """

    variance: float
    square: float

    @property
    def scale(self) -> float:
        """The simple noise scale tr(S) / |G|^2 in samples, inf without a signal."""
        if math.isnan(self.square) or self.square > 0:
            return self.variance / self.square
        return math.inf


@checked
def gradient_noise_scale(
    model: keras.Model,
    x: Any,
    y: Any,
    loss: Identifier | None = None,
    micro_batch_size: int = 1,
    training: bool = False,
) -> GradientNoise:
    """Estimates the simple noise scale from the gradients of micro-batches.

        B_simple = tr(S) / |G|^2

    with the covariance S of one sample's gradient and the expected gradient G. Batches
    much smaller than this are mostly noise; of much larger ones, doubling the batch
    hardly improves a step. For k micro-batches of b samples with gradients g_i and
    their mean g,

        tr(S) = b / (k - 1) sum_i |g_i - g|^2,    |G|^2 = |g|^2 - tr(S) / (b k)

    which are the unbiased estimates of the paper's appendix A.1 from the batch sizes b
    and b k. The loss has to be a mean over samples, as Keras's are.

    Example:

    >>> model = fixinit.models.ResidualMLP(2, 16, input_shape=(8,), seed=0)
    >>> x = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
    >>> noise = fixinit.diagnostics.gradient_noise_scale(model, x, np.arange(32) % 10)
    >>> noise.scale > 1
    True

    Args:
        model: `keras.Model`, built. It stays as it is.
        x: Batch of inputs.
        y: Their targets.
        loss: As `diagnose` takes it.
        micro_batch_size: int, b. Samples that do not fill a micro-batch are left out;
            two micro-batches must be filled.
        training: bool. Whether layers run in training mode. BatchNormalization then
            normalizes by the statistics of every micro-batch.

    Returns:
        `GradientNoise`.

    Raises:
        TypeError: If the model has no graph, or inputs of another kind than it takes.
        ValueError: If there are fewer than two micro-batches, or if inputs or weights
            are not finite.

    Reference:

    - [McCandlish et al., 2018](https://arxiv.org/abs/1812.06162), section 2.2 and
      appendix A.1.
    """
    size = check_positive_int("micro_batch_size", micro_batch_size)
    return noise_of(WeightFunction(model, x, y, loss, training), size)


def noise_of(function: WeightFunction, size: int) -> GradientNoise:
    """The `GradientNoise` of a `WeightFunction` at the model's own weights.

    Args:
        function: `WeightFunction`.
        size: int. Samples of a micro-batch.
    """
    count = function.num_samples // size
    if count < 2:
        raise ValueError(
            "Noise between gradients takes two micro-batches or more. Received: "
            f"{function.num_samples} samples with micro_batch_size={size}. Give more "
            "samples in `x`."
        )
    weights, total, squares = function.own_weights(), np.zeros(()), 0.0
    for start in range(0, count * size, size):
        _, gradients = function.loss_and_gradients(weights, slice(start, start + size))
        flat = flattened(gradients)
        total, squares = total + flat, squares + float(flat @ flat)
    mean = total / count
    square = float(mean @ mean)
    variance = size * (squares - count * square) / (count - 1)
    return GradientNoise(variance, square - variance / (size * count))


def flattened(tensors: Any) -> np.ndarray:
    """One long float64 array of a list of tensors."""
    parts = [ops.convert_to_numpy(ops.cast(t, "float32")).reshape(-1) for t in tensors]
    return np.concatenate(parts).astype("float64")

"""Correlation of the gradients at different inputs: whether they shatter."""

import dataclasses
from typing import Any

import keras
import numpy as np

from fixinit._checked import checked
from fixinit._typing import ArrayLike
from fixinit._validation import check_positive_int
from fixinit.diagnostics.geometry.model_function import ModelFunction

# Gradients that differ by less than this part of their size differ by rounding.
_ROUNDING = 1e-5


@dataclasses.dataclass(frozen=True)
class GradientCorrelation:
    """Gradients of one scalar at several inputs, and their correlations.

    Example:

    >>> gradients = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    >>> found = fixinit.diagnostics.GradientCorrelation(gradients)
    >>> round(found.mean, 3), round(found.effective_rank, 3)
    (0.333, 1.5)

    Attributes:
        gradients: Array of shape `(samples, n)`.
    """

    gradients: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """Array `(samples, samples)`: cosines between gradients.

        NaN where a gradient is zero.
        """
        lengths = np.linalg.norm(self.gradients, axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            unit = self.gradients / lengths
        return unit @ unit.T

    @property
    def mean(self) -> float:
        """float: the mean cosine over all pairs of different inputs."""
        pairs = np.triu_indices(len(self.gradients), 1)
        return float(np.nanmean(self.matrix[pairs]))

    @property
    def effective_rank(self) -> float:
        """float: the sum of the gradients' squared singular values over the largest.

        1 where all point along one line, `min(samples, n)` at most.
        """
        squares = np.linalg.svd(self.gradients, compute_uv=False) ** 2
        return float(squares.sum() / squares[0])

    @checked
    def autocorrelation(self, num_lags: int = 15) -> np.ndarray:
        """Computes the autocorrelation of the gradients along a line of inputs.

            r(k) = sum_i (g_i - g) . (g_(i+k) - g) / sum_i |g_i - g|^2

        with the mean gradient g. The inputs must be equidistant points of a line, in
        their order. White noise has 0 from lag 1 on, up to 1 / sqrt(samples). A
        gradient that is the same everywhere has 1 at every lag.

        Args:
            num_lags: int, less than the number of samples.

        Returns:
            Array of length `num_lags + 1`, which starts with 1.

        Raises:
            ValueError: If `num_lags` is no positive integer below the number of
                samples.
        """
        samples = len(self.gradients)
        check_positive_int("num_lags", num_lags)
        if num_lags >= samples:
            raise ValueError(
                f"Argument `num_lags` must be less than the number of samples, "
                f"{samples}. Received: num_lags={num_lags}. Pass more inputs."
            )
        # Of unit size, so that squares neither overflow nor vanish.
        gradients = self.gradients / np.abs(self.gradients).max()
        deviations = gradients - gradients.mean(axis=0)
        if np.abs(deviations).max() < _ROUNDING:
            return np.ones(num_lags + 1)
        products = [
            np.sum(deviations[: samples - lag] * deviations[lag:])
            for lag in range(num_lags + 1)
        ]
        return np.array(products) / products[0]


@checked
def gradient_correlation(
    model: keras.Model,
    x: Any,
    direction: ArrayLike | None = None,
    training: bool = False,
) -> GradientCorrelation:
    """Compares the gradients of a model's output at different inputs.

    In deep networks without shortcuts, gradients at inputs close to each other may
    become as unlike as white noise: they shatter. A step that is good for one input is
    then a random step for the next.

    Example:

    >>> model = fixinit.models.ResidualMLP(
    ...     4, 16, scheme="rezero", input_shape=(1,), classes=1, seed=0
    ... )
    >>> line = np.linspace(-2, 2, 64)[:, None]
    >>> correlation = fixinit.diagnostics.gradient_correlation(model, line)
    >>> correlation.gradients.shape, correlation.autocorrelation(4).shape
    ((64, 1), (5,))

    Args:
        model: `keras.Model`, built. It stays as it is.
        x: Batch of two or more inputs, floating-point. For `autocorrelation`, points
            of a line: `np.linspace(x_0, x_1, 256)`.
        direction: Array of the shape of one output. The gradient is that of the inner
            product with it. By default the output itself where it is one number, and
            otherwise Gaussian noise with a fixed seed: the plain sum of class
            probabilities, for one, would have no gradient.
        training: bool. `True` runs the model in training mode. Where layers such as
            BatchNormalization couple the samples, the gradient is that of the sum over
            the batch: it includes what an input does to the outputs of the others.

    Returns:
        `GradientCorrelation`.

    Raises:
        TypeError: If the model has no graph, or integers as inputs or outputs.
        ValueError: If there is one input only, if inputs or weights are not finite, or
            if the gradients overflow or are all zero.

    Reference:

    - [Balduzzi et al., 2017](https://arxiv.org/abs/1702.08591)
    """
    function = ModelFunction(model, x, training)
    if function.num_samples < 2:
        raise ValueError(
            "Argument `x` must hold two inputs or more, whose gradients are compared. "
            "Received one."
        )
    vector = _direction(direction, function.num_outputs_per_sample)
    vectors = np.tile(vector, (function.num_samples, 1))
    gradients = function.vjp(vectors.reshape(function.count, -1))
    _check(gradients)
    return GradientCorrelation(gradients.reshape(function.num_samples, -1))


def _direction(direction: ArrayLike | None, size: int) -> np.ndarray:
    if direction is None:
        return np.random.default_rng(0).normal(size=size) if size > 1 else np.ones(1)
    given = np.asarray(direction)
    if given.dtype.kind not in "biuf":
        raise ValueError(
            "Argument `direction` must hold real numbers. Received: "
            f"direction={direction!r}"
        )
    direction = given.astype("float64").reshape(-1)
    if direction.size != size:
        raise ValueError(
            f"Argument `direction` must hold the {size} numbers of one output. "
            f"Received: {direction.size}"
        )
    return direction


def _check(gradients: np.ndarray) -> None:
    if not np.isfinite(gradients).all():
        raise ValueError(
            "The gradient of `model` overflows. Measure fewer layers at once, "
            "keras.Model(start.output, end.output), or scale its branches down."
        )
    if not gradients.any():
        raise ValueError(
            "The gradient of `model` is zero at all inputs, so there is nothing to "
            "compare. If its last layer starts at zero, measure up to "
            "there: keras.Model(model.input, model.get_layer('head').input)."
        )

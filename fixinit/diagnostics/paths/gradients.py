"""Gradients along single paths through a residual network, by their length."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fixinit._checked import checked
from fixinit._typing import ArrayLike, Identifier, Tensor
from fixinit._validation import MOST_SAMPLES, check_positive_int, check_seed
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics.paths.chain_gradient import (
    ChainGradient,
    backward_only,
    spread_rows,
)


@dataclasses.dataclass(frozen=True)
class PathGradientNorms:
    """Gradient norms of single paths: arrays with one item per length.

    Example:

    >>> model = fixinit.models.ResidualMLP(4, 16, scheme="scaled_residual", seed=0)
    >>> x = np.ones((8, 40), "float32")
    >>> found = fixinit.diagnostics.path_gradients(model, x, lengths=[0, 4])
    >>> found.length.tolist(), found.norm.shape
    ([0, 4], (2,))

    Attributes:
        length: Number of branches in the path.
        log_paths: Logarithm of the number of such paths, n over k.
        norm: Mean norm of the gradient that one of them brings to one sample at the
            input of the first block.
        norm_error: The standard error of that mean.
        log_total: Logarithm of norm times number of paths.
        share: That total, as part of its sum over the lengths.
    """

    length: np.ndarray
    log_paths: np.ndarray
    norm: np.ndarray
    norm_error: np.ndarray
    log_total: np.ndarray
    share: np.ndarray


class PathGradients:
    """Measures the gradient along single paths, by the number of branches in them.

    Through n residual blocks lead 2^n paths, and n over k of them pass through k
    branches. To measure one, the forward pass is the whole network's; in the backward
    pass, k random blocks let the gradient through their branch alone, all others
    through their shortcut alone (Veit et al.). What arrives at the first block is the
    gradient of that path. Its mean norm, times the number of paths, is what Veit et
    al. take for the total of all paths of that length. `path_totals` measures what the
    total is: gradients have signs, and cancel.

    Every sample of the batch goes its own path, so that a batch of 100 measures 100
    paths in one pass. Layers run in inference mode, in which samples do not depend on
    each other.

    Made and compiled once per model, it can be called again as weights change.

    Example:

    >>> model = fixinit.models.ResidualMLP(4, 16, scheme="scaled_residual", seed=0)
    >>> measure = fixinit.diagnostics.PathGradients(model)
    >>> found = measure(np.ones((8, 40), "float32"))
    >>> np.exp(found.log_paths).round().tolist()
    [1.0, 4.0, 6.0, 4.0, 1.0]
    >>> bool(found.norm[4] < found.norm[0])
    True

    Args:
        model: `keras.Model`, built, with residual blocks one behind the other, in
            `fixinit.layers.Stack`s or not: functional, Sequential, or with a `call` of
            its own that is made of layers and `keras.ops`. Blocks inside of another
            block's branch are part of it.
        loss: Keras loss, its name, or a callable `(y_true, y_pred)`, a mean over the
            batch. `None` takes the loss that the model is compiled with; if it is not
            compiled, cross-entropy for integer targets, mean squared error for others.
        data: A batch of inputs on which a model with a `call` of its own is opened: see
            `fixinit.graph.opened`. By default the shapes that it was built with.

    Attributes:
        names: List of strings, the names of the n blocks.

    Raises:
        TypeError: If the model has no graph.
        ValueError: If it has no residual block, or if blocks stand side by side.

    Reference:

    - [Veit et al., 2016](https://arxiv.org/abs/1605.06431), section 5
    """

    @checked
    def __init__(
        self, model: keras.Model, loss: Identifier | None = None, data: Any = None
    ) -> None:
        self._gradient = ChainGradient(model, loss, _choose, data=data)
        self.names = self._gradient.chain.names

    @checked
    def __call__(
        self,
        x: Any,
        y: Any = None,
        lengths: ArrayLike | None = None,
        num_samples: int = 100,
        seed: int = 0,
    ) -> PathGradientNorms:
        """Measures on one batch.

        Args:
            x: Batch of inputs: an array, or a list or dict of arrays.
            y: Their targets. `None` measures the gradient of a weighted sum of the
                outputs, with fixed weights of both signs.
            lengths: Numbers of branches in a path, by default all from 0 to n.
            num_samples: int. Paths of each length.
            seed: int. Draws the paths.

        Returns:
            `PathGradientNorms`.

        Raises:
            ValueError: If an argument is outside its range, if the batch does not fit
                the model or is not finite, or if the gradient is not.
        """
        count = len(self.names)
        lengths = check_lengths(lengths, count)
        check_positive_int("num_samples", num_samples, maximum=MOST_SAMPLES)
        check_seed("seed", seed)
        rng = np.random.default_rng(seed)
        x, y = check_batch(self._gradient.subject, x, y, self._gradient.loss)
        gradient, size = self._gradient.on(x, y), len(x[0])
        drawn = np.repeat(lengths, num_samples)
        found = []
        for start in range(0, len(drawn), size):
            # The last batch is filled up, so that nothing is compiled twice.
            rows = np.resize(drawn[start : start + size], size)
            ranks = rng.random((size, count)).argsort(axis=1).argsort(axis=1)
            found.append(_row_norms(gradient((ranks < rows[:, None]).T)))
        norms = np.concatenate(found)[: len(drawn)].reshape(len(lengths), num_samples)
        return summarize(
            lengths, count, check_finite(norms, self._gradient.subject.model)
        )


@checked
def path_gradients(
    model: keras.Model,
    x: Any,
    y: Any = None,
    loss: Identifier | None = None,
    lengths: ArrayLike | None = None,
    num_samples: int = 100,
    seed: int = 0,
) -> PathGradientNorms:
    """Measures the gradient along single paths once: see `PathGradients`.

    Example:

    >>> model = fixinit.models.ResidualMLP(3, 16, scheme="scaled_residual", seed=0)
    >>> x = np.ones((8, 40), "float32")
    >>> fixinit.diagnostics.path_gradients(model, x).length.tolist()
    [0, 1, 2, 3]

    Args:
        model: `keras.Model`, built, with residual blocks one behind the
            other.
        x: Batch of inputs: an array, or a list or dict of arrays.
        y: Their targets. `None` measures the gradient of a weighted sum of the
            outputs.
        loss: Keras loss, its name, or a callable `(y_true, y_pred)`. `None` takes the
            loss that the model is compiled with, or one that fits the targets.
        lengths: Numbers of branches in a path, by default all from 0 to n.
        num_samples: int. Paths of each length.
        seed: int. Draws the paths.

    Returns:
        `PathGradientNorms`.

    Raises:
        TypeError: If the model has no graph.
        ValueError: If it has no residual block or blocks side by side, if an argument
            is outside its range, if the batch does not fit the model or is not finite,
            or if the gradient is not.
    """
    return PathGradients(model, loss, x)(x, y, lengths, num_samples, seed)


def log_binomial(n: int, k: int) -> float:
    """Logarithm of the number of ways to choose k of n blocks."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def check_lengths(lengths: ArrayLike | None, count: int) -> np.ndarray:
    """Checks lengths of paths, and returns them as an array; all by default."""
    if lengths is None:
        return np.arange(count + 1)
    lengths = np.asarray(lengths)
    if (
        lengths.ndim != 1
        or not lengths.size
        or not np.issubdtype(lengths.dtype, np.integer)
        or lengths.min() < 0
        or lengths.max() > count
    ):
        raise ValueError(
            f"Argument `lengths` must be a list of integers from 0 to {count}, the "
            f"number of blocks. Received: lengths={lengths.tolist()}"
        )
    return lengths


def check_finite(gradients: np.ndarray, model: keras.Model) -> np.ndarray:
    """Refuses gradients that are not finite, as of a diverged model."""
    if np.isfinite(gradients).all():
        return gradients
    raise ValueError(
        f"The gradient of `{model.name}` is not finite at its first block: weights, "
        "activations or the loss have overflowed, or hold NaN. Measure weights from "
        "before the model diverged."
    )


def check_gradient(square: float, model: keras.Model) -> float:
    """Refuses the square of a gradient that is 0."""
    if square > 0:
        return square
    raise ValueError(
        f"No gradient arrives at the first block of `{model.name}`, so that nothing "
        "can be shared out. Layers between it and the loss pass none: a head that "
        "starts at zero, units that are never active, or a loss that "
        "has underflowed. Train it for a step, or give another batch."
    )


def summarize(lengths: np.ndarray, count: int, norms: np.ndarray) -> PathGradientNorms:
    """Summarizes norms of shape `(lengths, samples)`."""
    mean, samples = norms.mean(axis=1), norms.shape[1]
    log_paths = np.array([log_binomial(count, k) for k in lengths.tolist()])
    with np.errstate(divide="ignore"):
        log_total = log_paths + np.log(mean)
    top = log_total.max()
    total = np.exp(log_total - top) if np.isfinite(top) else np.full(len(mean), np.nan)
    error = norms.std(axis=1, ddof=1) / samples**0.5 if samples > 1 else mean * np.nan
    return PathGradientNorms(
        length=lengths,
        log_paths=log_paths,
        norm=mean,
        norm_error=error,
        log_total=log_total,
        share=total / total.sum(),
    )


def _choose(tensors: Sequence[Tensor], shortcut: int, control: Tensor) -> list[Tensor]:
    """Passes the gradient to the branches where the control is 1, not 0."""
    chosen = []
    for index, x in enumerate(tensors):
        weights = spread_rows(1 - control if index == shortcut else control, x)
        chosen.append(backward_only(x, weights * x))
    return chosen


def _row_norms(gradient: np.ndarray) -> np.ndarray:
    rows = gradient.reshape(len(gradient), -1).astype("float64")
    return np.linalg.norm(rows, axis=1)

"""Total gradient of all paths of each length through a residual network."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit._checked import checked
from fixinit._typing import Identifier, Tensor
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics.paths.chain_gradient import ChainGradient, backward_only
from fixinit.diagnostics.paths.gradients import check_finite, check_gradient


@dataclasses.dataclass(frozen=True)
class PathShares:
    """Parts of the gradient by length of path: arrays with one item per length.

    Example:

    >>> model = fixinit.models.ResidualMLP(4, 16, scheme="scaled_residual", seed=0)
    >>> found = fixinit.diagnostics.path_totals(model, np.ones((8, 40), "float32"))
    >>> found.length.tolist(), bool(abs(found.share.sum() - 1) < 1e-5)
    ([0, 1, 2, 3, 4], True)

    Attributes:
        length: k, from 0 to n.
        norm: Norm of G_k, the sum of the gradients of all paths through k branches,
            over the batch.
        share: What G_k adds to the gradient g, `<G_k, g> / <g, g>`. Their sum is 1;
            negative ones work against the others.
    """

    length: np.ndarray
    norm: np.ndarray
    share: np.ndarray


class PathTotals:
    """Splits the gradient by the number of branches that it came through.

    The gradient at the first block is the sum over all 2^n paths. If every branch
    passes t times its gradient back, it becomes a polynomial in t,

        g(t) = G_0 + t G_1 + ... + t^n G_n

    whose coefficient G_k is the sum of the gradients of all paths through k branches,
    with their signs. Here g is measured at n + 1 points on the complex unit circle,
    of which a Fourier transform gives every G_k to the precision of the gradient
    itself: nothing is sampled. Two rows of a batch carry the real and the imaginary
    part, so that it takes n / 2 + 1 backward passes over a batch of twice the size.

    `path_gradients` measures single paths and multiplies by their number, which is the
    total only if none cancels another.

    Layers run in inference mode, in which samples do not depend on each other. Made
    and compiled once per model, it can be called again as weights change.

    Example:

    >>> model = fixinit.models.ResidualMLP(4, 16, scheme="scaled_residual", seed=0)
    >>> found = fixinit.diagnostics.PathTotals(model)(np.ones((8, 40), "float32"))
    >>> bool(abs(found.share.sum() - 1) < 1e-5)
    True

    Args:
        model: As `PathGradients` takes it.
        loss: As `PathGradients` takes it.
        data: As `PathGradients` takes it.

    Attributes:
        names: List of strings, the names of the n blocks.

    Raises:
        TypeError: If the model has no graph.
        ValueError: If it has no residual block, or if blocks stand side by side.

    Reference:

    - [Veit et al., 2016](https://arxiv.org/abs/1605.06431), for the question
    """

    @checked
    def __init__(
        self, model: keras.Model, loss: Identifier | None = None, data: Any = None
    ) -> None:
        self._gradient = ChainGradient(model, loss, _turn, twice=True, data=data)
        self.names = self._gradient.chain.names

    @checked
    def __call__(self, x: Any, y: Any = None) -> PathShares:
        """Measures on one batch.

        Args:
            x: Batch of inputs: an array, or a list or dict of arrays.
            y: Their targets. `None` measures the gradient of a weighted sum of the
                outputs, with fixed weights of both signs.

        Returns:
            `PathShares`.

        Raises:
            ValueError: If the batch does not fit the model or is not finite, or if
                the gradient is 0 or not finite.
        """
        x, y = check_batch(self._gradient.subject, x, y, self._gradient.loss)
        gradient, count = self._gradient.on(x, y), len(self.names)
        angles = 2 * np.pi * np.arange((count + 1) // 2 + 1) / (count + 1)
        turns = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        points = np.stack(
            [_complex(gradient(np.tile(turn, (count, 1)))) for turn in turns]
        )
        check_finite(points, self._gradient.subject.model)
        totals = _coefficients(points, count)
        whole = totals.sum(axis=0)
        square = check_gradient(np.vdot(whole, whole), self._gradient.subject.model)
        return PathShares(
            length=np.arange(count + 1),
            norm=np.linalg.norm(totals, axis=1),
            share=totals @ whole / square,
        )


@checked
def path_totals(
    model: keras.Model, x: Any, y: Any = None, loss: Identifier | None = None
) -> PathShares:
    """Splits the gradient by the length of its paths once: see `PathTotals`.

    Example:

    >>> model = fixinit.models.ResidualMLP(3, 16, scheme="skip_init", seed=0)
    >>> x = np.ones((8, 40), "float32")
    >>> fixinit.diagnostics.path_totals(model, x).share.round(5).tolist()
    [1.0, 0.0, 0.0, 0.0]

    Args:
        model: `keras.Model`, built, with residual blocks one behind the
            other.
        x: Batch of inputs: an array, or a list or dict of arrays.
        y: Their targets. `None` measures the gradient of a weighted sum of the
            outputs.
        loss: Keras loss, its name, or a callable `(y_true, y_pred)`. `None` takes the
            loss that the model is compiled with, or one that fits the targets.

    Returns:
        `PathShares`.

    Raises:
        TypeError: If the model has no graph.
        ValueError: If it has no residual block or blocks side by side, if the batch
            does not fit it or is not finite, or if the gradient is 0 or not finite.
    """
    return PathTotals(model, loss, x)(x, y)


def _turn(tensors: Sequence[Tensor], shortcut: int, control: Tensor) -> list[Tensor]:
    """Rotates the gradients of branches, pairs of rows, in the complex plane."""
    turned = []
    for index, x in enumerate(tensors):
        if index != shortcut:
            cosine, sine = ops.cast(control[0], x.dtype), ops.cast(control[1], x.dtype)
            real, imaginary = ops.split(x, 2)
            # The transpose of this is what gradients pass.
            crossed = ops.concatenate([imaginary, -real])
            x = backward_only(x, cosine * x + sine * crossed)
        turned.append(x)
    return turned


def _complex(gradient: np.ndarray) -> np.ndarray:
    """Makes complex numbers of the two halves of the batch."""
    real, imaginary = np.split(gradient.reshape(len(gradient), -1), 2)
    return (real + 1j * imaginary).ravel()


def _coefficients(points: np.ndarray, count: int) -> np.ndarray:
    """Returns a polynomial's real coefficients from its values on half the circle."""
    return np.fft.irfft(points.conj(), n=count + 1, axis=0)

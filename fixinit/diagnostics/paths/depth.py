"""Effective depth: the mean number of branches that signal and gradient pass."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import backend, graph
from fixinit._checked import checked
from fixinit._typing import Identifier, Tensor
from fixinit.diagnostics._shared.stateless import stateless
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics.paths.chain import Chain
from fixinit.diagnostics.paths.chain_gradient import ChainGradient, backward_only
from fixinit.diagnostics.paths.gradients import check_finite, check_gradient

# Standard deviations below this part of the largest value are those of float32.
_ROUNDING = 10 * float(np.finfo("float32").eps)


@dataclasses.dataclass(frozen=True)
class DepthShares:
    """Shares of every block in the output and in the gradient, and their sums.

    Example:

    >>> model = fixinit.models.ResidualMLP(4, 16, scheme="scaled_residual", seed=0)
    >>> x = np.random.default_rng(0).normal(size=(64, 40)).astype("float32")
    >>> found = fixinit.diagnostics.effective_depth(model, x, gradient=False)
    >>> found.share.shape, found.output_share.shape, found.gradient_depth
    ((4,), (5,), None)

    Attributes:
        share: Array of shape `(L,)`: of the variance that a block puts out, its
            branch's part. Negative where the branch takes variance away.
        variance_ratio: Array of shape `(L,)`: Var(F) / Var(y), which differs from it
            where branch and shortcut are correlated.
        output_share: Array of shape `(L + 1,)`: what the first block's input and every
            block contribute to the last block's output. The sum is 1.
        depth: float. Sum of `share`.
        gradient_share: Array of shape `(L,)`, or `None` where it was not measured.
        gradient_depth: float. Sum of `gradient_share`, or `None`.
    """

    share: np.ndarray
    variance_ratio: np.ndarray
    output_share: np.ndarray
    depth: float
    gradient_share: np.ndarray | None = None
    gradient_depth: float | None = None


class EffectiveDepth:
    """Measures what every block contributes, to the output and to the gradient.

    Forward, block l puts out y = shortcut + F, and the share of its branch is

        share_l = Cov(F, y) / Var(y)

    over batch and space, averaged over channels. Under BatchNorm at initialization
    every branch adds the same variance to what is there, so that it is 1 / (l + c),
    where c is the variance of the first block's input in units of a branch's (c = 1
    in De and Smith). Later blocks hand on 1 - share_j of it each: block l contributes
    share_l * prod_{j > l} (1 - share_j) of the network's output, and the rest is the
    first block's input.

    Backward, the share of block l is what is missing from the gradient g at the first
    block if l passes none through its branch (Veit et al. drop blocks, here in the
    backward pass alone):

        gradient_share_l = <g - g without branch l, g> / <g, g>

    Either way, the sum over the blocks is the mean number of branches on the paths
    through the network, where every path counts as much as it carries of the variance,
    or of the gradient: the *effective depth*, in blocks. Under BatchNorm it grows like
    the logarithm of L.

    Made and compiled once per model, it can be called again as weights change.

    Example:

    >>> model = fixinit.models.ResidualMLP(8, 256, scheme="batch_norm", seed=0)
    >>> measure = fixinit.diagnostics.EffectiveDepth(model, training=True)
    >>> x = np.random.default_rng(0).normal(size=(256, 40)).astype("float32")
    >>> found = measure(x, gradient=False)
    >>> bool(found.share[0] > 2 * found.share[7])
    True

    Args:
        model: As `PathGradients` takes it.
        loss: As `PathGradients` takes it.
        training: bool. `True` normalizes with the batch's own statistics where there
            are BatchNormalization layers. The model's running averages stay as they
            are.
        data: As `PathGradients` takes it.

    Attributes:
        names: List of strings, the names of the L blocks.

    Raises:
        TypeError: If the model has no graph.
        ValueError: If it has no residual block, or if blocks stand side by side.

    References:

    - [De and Smith, 2020](https://arxiv.org/abs/2002.10444) (variance)
    - [Veit et al., 2016](https://arxiv.org/abs/1605.06431), section 5 (gradient)
    """

    @checked
    def __init__(
        self,
        model: keras.Model,
        loss: Identifier | None = None,
        training: bool = False,
        data: Any = None,
    ) -> None:
        self._model, self._training = model, training
        self._gradient = ChainGradient(model, loss, _scale, training, data=data)
        self._subject, self._chain = self._gradient.subject, self._gradient.chain
        self._forward = backend.compiled(self._observe)
        self.names = self._chain.names

    @checked
    def __call__(self, x: Any, y: Any = None, gradient: bool = True) -> DepthShares:
        """Measures on one batch.

        Args:
            x: Batch of inputs: an array, or a list or dict of arrays. Two samples or
                more.
            y: Their targets. `None` measures the gradient of a weighted sum of the
                outputs, with fixed weights of both signs.
            gradient: bool. `False` leaves the backward shares out, which take L + 1
                backward passes.

        Returns:
            `DepthShares`.

        Raises:
            ValueError: If the batch does not fit the model, holds one sample or is
                not finite, if a block puts out the same for every sample, or if
                activations or gradients are not finite, or the gradient 0.
        """
        x, y = check_batch(self._subject, x, y, self._gradient.loss)
        if len(x[0]) < 2:
            raise ValueError(
                "Argument `x` must hold two samples or more: one has no variance. "
                "Received a batch of 1."
            )
        share, ratio = self._shares(x)
        backward = self._gradient_shares(x, y) if gradient else None
        return DepthShares(
            share=share,
            variance_ratio=ratio,
            output_share=output_shares(share),
            depth=float(share.sum()),
            gradient_share=backward,
            gradient_depth=None if backward is None else float(backward.sum()),
        )

    def _shares(self, x):
        values = [variable.value for variable in self._model.variables]
        measured = self._forward(values, [ops.convert_to_tensor(array) for array in x])
        moments = np.empty((len(self._chain), 3))
        for name, (_, indices) in self._chain.merges.items():
            moments[indices] = ops.convert_to_numpy(measured[name])
        covariance, branch, output = moments.T
        for name, moment in zip(self.names, moments, strict=True):
            if not np.isfinite(moment).all() or moment[2] < _ROUNDING**2:
                raise ValueError(
                    f"Block `{name}` of `{self._model.name}` puts out values that are "
                    "not finite, or the same ones for every sample, so that their "
                    "variance cannot be shared out. Measure weights from before the "
                    "model diverged, on samples that differ."
                )
        return covariance / output, branch / output

    def _observe(
        self, values: Sequence[Tensor], x: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        hook = _Moments(self._subject.graph, self._chain)
        with stateless(self._model.variables, values):
            _, found = graph.run(self._subject.graph, x, hook, None, self._training)
        return found

    def _gradient_shares(self, x: Sequence[np.ndarray], y: Any) -> np.ndarray:
        gradient, count = self._gradient.on(x, y), len(self.names)
        whole = gradient(np.ones(count)).astype("float64")
        check_finite(whole, self._model)
        square = check_gradient(np.vdot(whole, whole), self._model)
        shares = []
        for block in range(count):
            without = gradient(np.arange(count) != block)
            shares.append(1 - np.vdot(without, whole) / square)
        return np.array(shares)


@checked
def effective_depth(
    model: keras.Model,
    x: Any,
    y: Any = None,
    loss: Identifier | None = None,
    training: bool = False,
    gradient: bool = True,
) -> DepthShares:
    """Measures the effective depth of a residual network once: see `EffectiveDepth`.

    Example:

    >>> model = fixinit.models.ResidualMLP(4, 16, scheme="skip_init", seed=0)
    >>> x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    >>> abs(round(fixinit.diagnostics.effective_depth(model, x).depth, 5))
    0.0

    Args:
        model: `keras.Model`, built, with residual blocks one behind the
            other.
        x: Batch of inputs, two samples or more.
        y: Their targets. `None` measures the gradient of a weighted sum of the
            outputs.
        loss: Keras loss, its name, or a callable `(y_true, y_pred)`. `None` takes the
            loss that the model is compiled with, or one that fits the targets.
        training: bool. `True` normalizes with the batch's own statistics where there
            are BatchNormalization layers.
        gradient: bool. `False` leaves the backward shares out.

    Returns:
        `DepthShares`.

    Raises:
        TypeError: If the model has no graph.
        ValueError: If it has no residual block or blocks side by side, if the batch
            does not fit it, holds one sample or is not finite, or if activations or
            gradients are not finite, or the gradient 0.
    """
    return EffectiveDepth(model, loss, training, x)(x, y, gradient)


def output_shares(share: np.ndarray) -> np.ndarray:
    """Computes the shares of the input and of every block in the output; the sum is 1.

    Example:

    >>> output_shares(np.array([1 / 2, 1 / 3])).round(3).tolist()
    [0.333, 0.333, 0.333]

    Args:
        share: Array, what every block contributes to its own output.
    """
    handed_on = np.append(np.cumprod((1 - share)[::-1])[::-1], 1.0)
    return np.append(1.0, share) * handed_on


class _Moments(graph.Hook):
    """Observes covariance and variances of what blocks add and put out."""

    def __init__(self, model_graph: graph.Graph, chain: Chain) -> None:
        self.blocks = {name: block for name, (block, _) in chain.merges.items()}
        self.axes = {
            call.name: inner.channel_axes[call.outputs[0]]
            for inner, _ in model_graph.graphs()
            for call in inner.calls
            if call.name in self.blocks
        }

    def observation_shape(self, call: graph.Call) -> tuple[int, ...] | None:
        return (3,) if call.name in self.blocks else None

    def observe(
        self, call: graph.Call, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> Tensor:
        y = ops.cast(outputs[0], "float32")
        block = self.blocks[call.name]
        _, branch = block.addends([ops.cast(h, "float32") for h in inputs])
        # Squares of large activations overflow.
        peak = ops.max(ops.abs(y))
        y, branch = (_centered(h / peak, self.axes[call.name]) for h in (y, branch))
        return ops.stack([ops.mean(branch * y), ops.mean(branch**2), ops.mean(y**2)])


def _centered(h: Tensor, channel_axis: int) -> Tensor:
    channel_axis %= len(h.shape)
    axes = [axis for axis in range(len(h.shape)) if axis != channel_axis]
    return h - ops.mean(h, axis=axes, keepdims=True)


def _scale(tensors: Sequence[Tensor], shortcut: int, control: Tensor) -> list[Tensor]:
    """Multiplies the gradients of branches by the control."""
    return [
        x if index == shortcut else backward_only(x, ops.cast(control, x.dtype) * x)
        for index, x in enumerate(tensors)
    ]

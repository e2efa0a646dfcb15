"""The second moments of an activation map, over weights and inputs."""

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fixinit._checked import checked
from fixinit._validation import (
    check_factor,
    check_known_shape,
    check_number,
    check_sequence,
    check_size,
    check_variance,
)
from fixinit.theory.calculus import pairs, positions
from fixinit.theory.calculus.backward import Node
from fixinit.theory.gaussian.functions import Function

if TYPE_CHECKING:
    from fixinit.theory.calculus.chains import Linear, Step
    from fixinit.theory.calculus.scores import Scores
    from fixinit.theory.calculus.selecting import View


class Moments:
    """First and second moments of one tensor of a wide random network.

    With h the values of one channel, x and x' two independent inputs and p and p' two
    positions, all expectations over weights and inputs:

    * `mean`: `E[h(x, p)]`
    * `same`: `E[h(x, p) h(x, p')]`, whose diagonal is the mean square
    * `cross`: `E[h(x, p) h(x', p')]`, the part that all inputs have in common

    Channels that differ in distribution, as behind a concatenation, are groups. The
    positions of an axis are those of `fixinit.theory.calculus.positions`. Rules make
    one `Moments` from another with the functions of `fixinit.theory.calculus`.

    Example:

    >>> x = fixinit.theory.Moments.inputs((32, 32, 3), mean=0.5, variance=2.0)
    >>> x.mean_square, x.variance
    (2.25, 2.0)

    Args:
        shape: Sequence of ints, the sizes of the spatial axes.
        channels: Sequence of ints, how many channels each group has.
        mean: Array `(groups, *positions)`.
        same, cross: Arrays `(groups, *pairs of positions)`.
        sources: Frozenset of what the values were drawn from. Values without a common
            source have uncorrelated deviations from their means.

    Attributes:
        latent: `(Moments, Function)`: the Gaussian tensor that the values are an
            element-wise function of, and that function; `None` where there is none.
        linear: `Linear` of the module `chains`, for a Gaussian tensor that is a linear
            function of another one; `None` where there is none.
        terms: List of `(factor, Moments)`, what it was added up of; empty elsewhere.
        step: How it was made from that, a `Step` of the module `chains`.
        parts: List of `Moments` that it was concatenated of, where those are such
            functions, or `None`.
        levels: Tuple of `(node, nodes)`: the concatenations that these parts were made
            from, and their parts.
        view: `View` of the module `selecting`, for a selection of the positions of
            another tensor; `None` elsewhere.
        least: bool. Whether padding stands for minus infinity, as in front of a
            maximum, which it never is.
        scores: `Scores` of the module `scores`, for logits of attention.
        weighs: Those `Scores`, for their softmax.
        turned: `(Moments, order)`, the tensor whose channels were moved by a
            transposition, and the order of its axes.
        unfolded: `(Moments, sizes, order)`, the tensor whose channels were split into
            axes of some sizes, and for every axis of this tensor its place among those
            axes, or `None`; `None` elsewhere.
        batch: int, the place of the batch among the axes of the tensor; 0 but behind
            transpositions that move it, as those to queries, keys and values do.
        node: `Node`, its place in the graph that gradients go back through.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int] | np.ndarray,
        mean: np.ndarray,
        same: np.ndarray,
        cross: np.ndarray,
        sources: frozenset[Any] = frozenset(),
    ) -> None:
        self.shape = check_sequence("shape", shape, (32, 32))
        self.channels = np.asarray(channels)
        self.mean, self.same, self.cross = mean, same, cross
        self.sources = sources
        self.latent: tuple[Moments, Function] | None = None
        self.linear: Linear | None = None
        self.terms: list[tuple[float, Moments]] = []
        self.step: Step | None = None
        self.parts: list[Moments] | None = None
        self.levels: tuple[tuple[Node, list[Node]], ...] = ()
        self.view: View | None = None
        self.least = False
        self.scores: Scores | None = None
        self.weighs: Scores | None = None
        self.turned: tuple[Moments, list[int]] | None = None
        self.unfolded: tuple[Moments, Sequence[int], list[int | None]] | None = None
        self.batch = 0
        self.node = Node()

    @classmethod
    def inputs(
        cls,
        shape: Sequence[int],
        mean: float = 0.0,
        variance: float = 1.0,
        between_inputs: float = 0.0,
        in_space: float = 0.0,
    ) -> "Moments":
        """The moments of a batch of inputs with independent channels.

        Args:
            shape: Tuple of ints, without the batch: `(*space, channels)`.
            mean: float, of every element; 0 by default.
            variance: float, of every element, at least 0; 1 by default. Infinite
                where a network has overflowed.
            between_inputs: float in `[0, 1]`. Correlation of two inputs' values.
            in_space: float in `[0, 1]`. Correlation of two positions of one input.

        Returns:
            `Moments` with a source of its own.
        """
        sizes = check_known_shape("shape", shape, (32, 32, 3))
        if not sizes:
            raise ValueError(
                "Argument `shape` must be (*space, channels), such as (32, 32, 3). "
                "Received: shape=()"
            )
        *space, channels = sizes
        mean = check_factor("mean", mean)
        if not (isinstance(variance, float) and variance == math.inf):
            variance = check_variance("variance", variance)
        for name, value in (("between_inputs", between_inputs), ("in_space", in_space)):
            check_number(name, value, "a number in [0, 1]", lambda x: 0 <= x <= 1)
        sizes = tuple(positions.size(n) for n in space)
        equal = pairs.equal_positions(sizes)

        def shared(correlation: float) -> float:
            # An infinite variance has no part that is 0 times as large.
            return variance * correlation if correlation else 0.0

        common = mean**2 + shared(between_inputs)
        alike = shared(max(in_space, between_inputs))
        same = mean**2 + np.where(equal, variance, alike)
        return cls(
            space,
            [channels],
            np.full((1, *sizes), float(mean)),
            same,
            np.full(equal.shape, float(common)),
            frozenset([object()]),
        )

    @functools.cached_property
    def total_channels(self) -> int:
        """The number of channels of all groups."""
        return int(self.channels.sum())

    @functools.cached_property
    def shares(self) -> np.ndarray:
        """The share of the channels that each group has: array `(groups,)`."""
        return self.channels / self.total_channels

    @property
    def squares(self) -> np.ndarray:
        """The mean square of every group and position: `(groups, *positions)`."""
        return pairs.diagonal(self.same, self.shape)

    @property
    def mean_value(self) -> float:
        """The mean over channels and positions."""
        return self._over_channels(self.average(self.mean))

    @property
    def mean_square(self) -> float:
        """The uncentred second moment over channels and positions."""
        return self._over_channels(self.average(self.squares))

    @property
    def variance(self) -> float:
        """The variance over many inputs and over space, averaged over channels."""
        return self.batch_variance()

    @property
    def correlation(self) -> float:
        """`E[h(x) h(x')] / E[h(x)^2]` at one position: 1 for a constant network."""
        square = self.mean_square
        equal = pairs.diagonal(self.cross, self.shape)
        common = self._over_channels(self.average(equal))
        return common / square if square > 0 else math.nan

    def _over_channels(self, values: np.ndarray) -> float:
        if len(values) == 1:
            return float(values[0])
        return float(self.shares @ values)

    @checked
    def batch_variance(self, batch_size: int | None = None) -> float:
        """The variance over a batch and over space, averaged over channels.

        Args:
            batch_size: int, infinite by default.
        """
        if batch_size is not None:
            check_size("batch_size", batch_size)
        mixture = self.batch_mixture(batch_size)
        common = self._over_channels(self.pair_average(mixture))
        return max(self.mean_square - common, 0.0)

    def batch_mixture(self, batch_size: int | None = None) -> np.ndarray:
        """Moments of pairs that are drawn from a batch, the own input included."""
        if batch_size is None:
            return self.cross
        return self.same / batch_size + self.cross * (1 - 1 / batch_size)

    def average(self, values: np.ndarray) -> np.ndarray:
        """The average of `(groups, *positions)` over positions: `(groups,)`."""
        return pairs.position_average(values, self.shape)

    def pair_average(self, values: np.ndarray) -> np.ndarray:
        """The average of `(groups, *pairs)` over all pairs of positions."""
        return pairs.pair_average(values, self.shape)

    def like(
        self,
        mean: np.ndarray,
        same: np.ndarray,
        cross: np.ndarray,
        sources: frozenset[Any] | None = None,
    ) -> "Moments":
        """Other moments of a tensor of the same shape."""
        sources = self.sources if sources is None else sources
        return Moments(self.shape, self.channels, mean, same, cross, sources)

"""The second moments of an activation map, over weights and inputs."""

import functools
import math

import numpy as np

from fixinit.theory.calculus import positions
from fixinit.theory.calculus.backward import Node
from fixinit.theory.calculus.pairs import diagonal, others, position_average


class Moments:
    """What is known of one tensor of a wide random network.

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

    Attributes:
        shape: Tuple of ints, the spatial axes.
        channels: Integer array `(groups,)`: how many channels each group has.
        mean: Array `(groups, *positions)`.
        same, cross: Arrays `(groups, *pairs of positions)`.
        sources: Frozenset of what the values were drawn from. Values without a common
            source have uncorrelated deviations from their means.
    """

    def __init__(self, shape, channels, mean, same, cross, sources=frozenset()):
        self.shape = tuple(shape)
        self.channels = np.asarray(channels)
        self.mean, self.same, self.cross = mean, same, cross
        self.sources = sources
        # What the values are an element-wise function of, and that function.
        self.latent = None
        # How it was made from that, a `fixinit.theory.calculus.chains.Step`.
        self.step = None
        # What it was concatenated of, where those are such functions.
        self.parts = None
        # The concatenations that these parts were made from: nodes of them and parts.
        self.levels = ()
        self.node = Node()

    @classmethod
    def inputs(cls, shape, mean=0.0, variance=1.0, between_inputs=0.0, in_space=0.0):
        """The moments of a batch of inputs with independent channels.

        Args:
            shape: Tuple of ints, without the batch: `(*space, channels)`.
            mean, variance: floats.
            between_inputs: float in `[0, 1]`. Correlation of two inputs' values.
            in_space: float in `[0, 1]`. Correlation of two positions of one input.
        """
        *space, channels = shape
        sizes = [positions.size(n) for n in space]
        pairs = [m * m for m in sizes]
        equal = np.ones((1, *pairs), bool)
        for axis, m in enumerate(sizes):
            on_diagonal = np.arange(m * m) % (m + 1) == 0
            equal &= np.expand_dims(on_diagonal, others(axis, len(sizes)))
        common = mean**2 + variance * between_inputs
        same = mean**2 + variance * np.where(equal, 1.0, max(in_space, between_inputs))
        return cls(
            space,
            [channels],
            np.full((1, *sizes), float(mean)),
            same,
            np.full((1, *pairs), float(common)),
            frozenset([object()]),
        )

    @functools.cached_property
    def total_channels(self):
        return int(self.channels.sum())

    @functools.cached_property
    def shares(self):
        """The share of the channels that each group has."""
        return self.channels / self.total_channels

    @property
    def squares(self):
        """The mean square of every group and position: `(groups, *positions)`."""
        return diagonal(self.same, self.shape)

    @property
    def mean_value(self):
        """The mean over channels and positions, a float."""
        return self._over_channels(self.average(self.mean))

    @property
    def mean_square(self):
        """The uncentred second moment over channels and positions, a float."""
        return self._over_channels(self.average(self.squares))

    @property
    def variance(self):
        """The variance over many inputs and over space, averaged over channels."""
        return self.batch_variance()

    @property
    def correlation(self):
        """`E[h(x) h(x')] / E[h(x)^2]` at one position: 1 for a constant network."""
        square = self.mean_square
        common = self._over_channels(self.average(diagonal(self.cross, self.shape)))
        return common / square if square > 0 else math.nan

    def _over_channels(self, values):
        if len(values) == 1:
            return float(values[0])
        return float(self.shares @ values)

    def batch_variance(self, batch_size=None):
        """The variance over a batch and over space, averaged over channels.

        Args:
            batch_size: int, infinite by default.
        """
        mixture = self.batch_mixture(batch_size)
        common = self._over_channels(self.pair_average(mixture))
        return max(self.mean_square - common, 0.0)

    def batch_mixture(self, batch_size=None):
        """Moments of pairs that are drawn from a batch, the own input included."""
        if batch_size is None:
            return self.cross
        return self.same / batch_size + self.cross * (1 - 1 / batch_size)

    def average(self, values):
        """The average of `(groups, *positions)` over positions."""
        return position_average(values, self.shape)

    def pair_average(self, values):
        """The average of `(groups, *pairs)` over all pairs of positions."""
        for n in self.shape:
            values = np.tensordot(values, positions.pair_weights(n), (1, 0))
        return values

    def like(self, mean, same, cross, sources=None):
        """Other moments of a tensor of the same shape."""
        sources = self.sources if sources is None else sources
        return Moments(self.shape, self.channels, mean, same, cross, sources)

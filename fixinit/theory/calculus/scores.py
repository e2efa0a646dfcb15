"""Scores of attention: products of queries and keys, before softmax."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fixinit.theory.calculus import pairs, positions
from fixinit.theory.calculus.alignment import Dependent
from fixinit.theory.calculus.backward import Node
from fixinit.theory.calculus.latents import same_latent
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.sites import sites
from fixinit.theory.errors import NoRuleError


@dataclasses.dataclass(frozen=True)
class Scores:
    """Logits of attention, for queries and keys whose last spatial axis is attended.

    Attributes:
        query, key: `Moments` of shapes `(*rows, T)` and `(*rows, S)`, the rows
            broadcast against each other.
        dim: int, how many channels of them a score is the sum of.
        factor: float, what the sum is multiplied by.
        mask: Bool array that broadcasts against `(*rows, T, S)`, the keys that a query
            sees, or `None` for all of them.
        added: float, the variance over keys of what was added to the scores.
        mean: Array that broadcasts against `(*rows, T, S)`, the mean scores before
            the factor.
        keep: float, the share of weights that dropout keeps.
        nodes: Nodes of the tensors of scores and of weights, whose gradients are told.
    """

    query: Moments
    key: Moments
    dim: int
    factor: float = 1.0
    mask: np.ndarray | None = None
    added: float = 0.0
    mean: np.ndarray | None = None
    keep: float = 1.0
    nodes: tuple[Node, ...] = ()

    def __post_init__(self) -> None:
        check_rows(self.query, self.key)

    @property
    def gain(self) -> float:
        """What products of moments of queries and keys are multiplied by."""
        return self.factor**2 * self.dim

    @property
    def rows(self) -> tuple[int, ...]:
        """The spatial axes in front of those that are attended."""
        both = zip(self.query.shape[:-1], self.key.shape[:-1], strict=True)
        return tuple(max(pair) for pair in both)

    def masked(self, mask: np.ndarray | None) -> "Scores":
        """The same scores, of the keys that are seen."""
        if mask is None:
            return self
        whole = (*self.rows, self.query.shape[-1], self.key.shape[-1])
        if not _broadcasts(mask.shape, whole):
            raise NoRuleError(
                "No variance rule for attention with a mask that does not broadcast "
                "against (*rows, queries, keys) of one input. Received: mask of "
                f"shape {mask.shape} for {whole}"
            )
        mask = mask if self.mask is None else self.mask & mask
        return dataclasses.replace(self, mask=mask)

    def moments(self) -> Moments:
        """The scores as a tensor of positions `(*rows, T)` and S channels."""
        x, y = self.query, self.key
        keys = y.shape[-1]
        n = sites(keys).counts
        found = []
        for a, b in ((x.same, y.same), (x.cross, y.cross)):
            own = over_groups(y, b)[..., :: positions.size(keys) + 1]
            average = sites(keys).spread(own) @ n / n.sum()
            spread = self.gain * over_groups(x, a) * average[..., None]
            found.append(spread + self.added * (a is x.same))
        mean = np.zeros(sizes(self.rows, 1) + (positions.size(x.shape[-1]),))[None]
        if self.mean is not None:
            level = np.broadcast_to(self.mean, (*self.mean.shape[:-1], len(n))) @ n
            level = sites(x.shape[-1]).gather(level / n.sum())
            mean = mean + level
            found = [v + pairs.outer(mean, (*self.rows, x.shape[-1])) for v in found]
        full = (1, *sizes(self.rows, 2), positions.size(x.shape[-1]) ** 2)
        same, cross = (np.broadcast_to(v, full) for v in found)
        result = Moments(
            (*self.rows, x.shape[-1]), [keys], mean, same, cross, x.sources | y.sources
        )
        result.scores = self
        return result


def scores_of(query: Moments, key: Moments) -> Scores:
    """Inner products over all channels, of independent values or of one tensor.

    A query that is its own key has the mean score of its length.
    """
    check_rows(query, key)
    mean = None
    slope = 1.0 if query is key else _slope(query, key)
    if slope is not None:
        space = key.shape[:-1]
        index = np.arange(int(np.prod(sizes(space, 1)))).reshape(1, *sizes(space, 1))
        own = pairs.first(index, space) == pairs.second(index, space)
        same = over_groups(key, key.same)[own]
        mean = slope * key.total_channels * sites(key.shape[-1]).spread_pairs(same)
        mean = mean.reshape(*sizes(space, 1), *mean.shape[-2:])
    elif query.sources & key.sources:
        raise Dependent(
            "multiplies values that depend on the same weights in different ways, "
            "whose covariance is not known"
        )
    return Scores(query, key, key.total_channels, mean=mean)


def _slope(query: Moments, key: Moments) -> float | None:
    """What a key is multiplied by to be its query, if that is so."""
    if query.shape != key.shape or query.latent or key.latent:
        return None
    joined = same_latent([query, key])
    if joined is None:
        return None
    slopes = [float(f(1.0)) - float(f(0.0)) for f in joined[1]]
    shifts = [float(f(0.0)) for f in joined[1]]
    return slopes[0] / slopes[1] if slopes[1] and not any(shifts) else None


def check_axes(*xs: Moments) -> None:
    """Refuses queries, keys and values of different numbers of axes, or of none.

    Raises:
        NoRuleError: If that is so.
    """
    shapes = [x.shape for x in xs]
    if len({len(shape) for shape in shapes}) > 1 or not all(shapes):
        raise NoRuleError(
            "No variance rule for attention but of queries, keys and values of as many "
            "axes, (*rows, positions, channels) of one input. Received: spatial axes "
            f"{shapes}"
        )


def check_rows(*xs: Moments) -> None:
    """Refuses queries, keys and values without common rows.

    Raises:
        NoRuleError: If they have other numbers of axes, or rows that do not broadcast.
    """
    check_axes(*xs)
    shapes = [x.shape for x in xs]
    rows = zip(*(shape[:-1] for shape in shapes), strict=True)
    if any(len({*sizes} - {1}) > 1 for sizes in rows):
        raise NoRuleError(
            "No variance rule for attention but of queries, keys and values whose rows "
            f"broadcast. Received: spatial axes {shapes}"
        )


def _broadcasts(shape: Sequence[int], into: Sequence[int]) -> bool:
    """Whether an array of one shape broadcasts into another one."""
    pairs_of_sizes = zip(shape[::-1], into[::-1], strict=False)
    return len(shape) <= len(into) and all(n in (1, m) for n, m in pairs_of_sizes)


def over_groups(x: Moments, values: np.ndarray) -> np.ndarray:
    """The average over groups of channels, `(1, ...)`."""
    return np.tensordot(x.shares, values, (0, 0))[None]


def sizes(shape: Sequence[int], power: int) -> tuple[int, ...]:
    """The sizes of axes of positions, or of pairs where `power` is 2."""
    return tuple(positions.size(n) ** power for n in shape)

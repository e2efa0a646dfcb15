"""Attention at initialization: scores, what softmax makes of them, and their averages.

With queries and keys of d channels the scores of one query are Gaussian,
`a_ts = c sum_i q_ti k_si`. What the keys have in common is the same in all scores of a
query, and softmax takes it out: of `E[k_s k_s']` counts what is left when the averages
over keys are subtracted, `K_c(s, s')`. The scores then have the variance
`v = c^2 d E[q_t^2] K_c(s, s)`, and the weights of n keys the moments of a softmax of
n independent logits (`fixinit/theory/gaussian/sums_of_exponentials.py`).

For two queries t, t' and two keys, weights are taken to be log-normal,
`E[p_ts p_t's'] = m m' exp(sqrt(L L') rho_q(t, t') rho_k(s, s'))` with
`L = log(E[p^2] / m^2)`, and their sum over keys to be 1. The output is the average
`E[o_t o_t'] = sum_ss' E[p_ts p_t's'] E[v_s v_s']`: values that all keys have in common
pass, and of what differs the share `sum_s E[p_ts^2]`, one over the effective number of
keys.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fixinit.theory.calculus import pairs, positions
from fixinit.theory.calculus.backward import Node
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.scores import Scores, check_rows, over_groups, sizes
from fixinit.theory.calculus.sites import sites
from fixinit.theory.calculus.softmax_rows import softmax_rows

# Terms of the exponential series that are left out weigh less.
_LEFT_OUT = 1e-5
_MOST_TERMS = 40


def attend(
    scores: Scores, value: Moments, keep: float = 1.0, width: int | None = None
) -> Moments:
    """The average of values, weighted with the softmax of scores.

    Mean squares of gradients go back to values by `sum_t E[p_ts^2]`, and to queries and
    keys by the derivatives of the softmax.

    Example:

    >>> from fixinit.theory.calculus.attention import attend
    >>> from fixinit.theory.calculus.scores import Scores
    >>> q, k, v = (fixinit.theory.Moments.inputs((10, 64)) for _ in range(3))
    >>> y = attend(Scores(q, k, dim=64, factor=0.0), v)
    >>> round(y.mean_square, 9)  # averages of ten
    0.1

    Args:
        scores: `Scores`.
        value: `Moments` of shape `(*rows, S)`.
        keep: float, the share of weights that dropout keeps; 1 by default.
        width: int. How many channels the tensor has that keys and values are both made
            from. Values whose keys are alike are alike too, by one over this number.

    Returns:
        `Moments` of shape `(*rows, T)` and the channels of the value.
    """
    return _Attention(scores, value, keep, width).output()


def weights(scores: Scores) -> Moments:
    """The softmax of scores over keys: positions `(*rows, T)` and S channels.

    Args:
        scores: `Scores`.
    """
    ones = Moments.inputs(
        (*(1 for _ in scores.rows), scores.key.shape[-1], 1), 1.0, 0.0
    )
    return _Attention(scores, ones).weights()


class _Attention:
    """The arrays of one attention, with axes of rows flattened.

    Combinations of rows that have the same moments are computed once.
    """

    def __init__(
        self,
        scores: Scores,
        value: Moments,
        keep: float = 1.0,
        width: int | None = None,
    ) -> None:
        self.scores, self.value, self.keep = scores, value, keep
        x, y, v = scores.query, scores.key, value
        check_rows(x, y, v)
        shapes = [m.shape[:-1] for m in (x, y, v)]
        self.rows = tuple(max(same) for same in zip(*shapes, strict=True))
        self.queries, self.keys = sites(x.shape[-1]), sites(y.shape[-1])
        count = int(np.prod(sizes(self.rows, 1)))
        index = np.arange(count).reshape(1, *sizes(self.rows, 1))
        self.first = pairs.first(index, self.rows).ravel()
        self.second = pairs.second(index, self.rows).ravel()
        # Arrays `(pairs of rows, classes of pairs)`.
        self.q = [self._flat(x, a, 2) for a in (x.same, x.cross)]
        self.k = [self._flat(y, a, 2) for a in (y.same, y.cross)]
        self.v = [self._flat(v, a, 2, groups=True) for a in (v.same, v.cross)]
        self.level = self._flat(v, v.mean, 1, groups=True)
        own = np.flatnonzero(self.first == self.second)
        self.own = own[np.argsort(self.first[own])]
        self._weigh()
        self.alike = self._alike(width)

    def _flat(
        self, x: Moments, values: np.ndarray, power: int, groups: bool = False
    ) -> np.ndarray:
        """`(pairs of rows, classes)`, behind groups of channels if they count."""
        kept = values if groups else over_groups(x, values)
        shape = (len(kept), *sizes(self.rows, power), kept.shape[-1])
        full = np.broadcast_to(kept, shape)
        flat = full.reshape(len(kept), -1, kept.shape[-1])
        return flat if groups else flat[0]

    def _weigh(self) -> None:
        """Mean and mean square of the weights, of every row: `(rows, T, S)`."""
        size = positions.size(self.queries.n) + 1
        squares = self.queries.spread(self.q[0][self.own][:, ::size])
        centered, self.common = self._centered(self.k[0][self.own])
        own = np.maximum(np.diagonal(centered, axis1=1, axis2=2), 0.0)
        self.spread_of_keys, self.squares = own, squares
        shape = (len(own), len(self.queries.counts), len(self.keys.counts))
        variance = self.scores.gain * squares[..., None] * own[:, None]
        variance = np.broadcast_to(variance + self.scores.added, shape)
        seen = self._per_row(self.scores.mask, shape, True)
        mean = self.scores.factor * self._per_row(self.scores.mean, shape, 0.0)
        self.p, self.p2, self.slope = softmax_rows(
            mean, variance, seen, self.keys.counts, self.scores.dim
        )
        ratio = np.where(self.p > 0, self.p2 / np.maximum(self.p, 1e-150) ** 2, 1.0)
        self.spread = np.sqrt(np.log(np.maximum(ratio, 1.0)))

    def _per_row(
        self, values: np.ndarray | None, shape: tuple[int, ...], default: Any
    ) -> np.ndarray:
        """An array that broadcasts against `(*rows, T, S)`, as `(rows, T, S)`."""
        if values is None:
            return np.broadcast_to(default, shape)
        full = np.asarray(values)
        full = full.reshape((1,) * (len(self.rows) + 2 - full.ndim) + full.shape)
        for axis, n in ((-1, self.keys), (-2, self.queries)):
            if full.shape[axis] == n.n > 1:
                full = np.take(full, n.index, axis=axis)
        for axis, n in enumerate(self.rows):
            if full.shape[axis] == n > 1:
                classes = np.diag(positions.pair_classes(positions.shortened(n)))
                first = np.unique(classes, return_index=True)[1]
                full = np.take(full, first, axis=axis)
        full = np.broadcast_to(full, (*sizes(self.rows, 1), *shape[1:]))
        return full.reshape(shape)

    def _centered(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`(..., S, S)` without what all keys have in common, and that."""
        full, n = self.keys.spread_pairs(values), self.keys.counts
        total = n.sum()
        own = np.diagonal(full, axis1=-2, axis2=-1)
        rows = (self.keys.repeated(full) @ n - own) / max(total - 1, 1)
        level = (rows @ n / total)[..., None, None]
        if total == 1:
            return np.zeros_like(full), full[..., 0, 0]
        return full - rows[..., None] - rows[..., None, :] + level, level[..., 0, 0]

    def output(self) -> Moments:
        v, groups = self.value, len(self.value.channels)
        same = self._pairs(0)
        cross = self._pairs(1)
        mean = np.einsum("bts,s,gbs->gbt", self.p, self.keys.counts, self._values())
        own = self._own_squares()
        size = positions.size(self.queries.n)
        same[:, self.own, :: size + 1] = self.queries.gather(own)
        shape = (*self.rows, self.queries.n)
        y = Moments(
            shape,
            v.channels,
            self.queries.gather(mean).reshape(groups, *sizes(self.rows, 1), size),
            same.reshape(groups, *sizes(self.rows, 2), size**2),
            cross.reshape(groups, *sizes(self.rows, 2), size**2),
            v.sources | self.scores.query.sources | self.scores.key.sources,
        )
        parents = (self.scores.query, self.scores.key, v)
        y.node.link(parents, self._pull, self._report if self.scores.nodes else None)
        return y

    def weights(self) -> Moments:
        """What the values are averaged with."""
        n, shape = self.keys.n, (*self.rows, self.queries.n)
        each = self.keys.counts / n
        mean, square = (
            self.queries.gather(values @ each).reshape(1, *sizes(shape, 1))
            for values in (self.p, self.p2)
        )
        spread = np.sqrt(np.log(np.maximum(square / mean**2, 1.0)))
        own = pairs.diagonal(self.q[0].reshape(1, *sizes(shape, 2)), shape)
        scale = np.maximum(np.sqrt(pairs.outer(own, shape)), 1e-300)
        together = pairs.outer(spread, shape)
        found = [
            pairs.outer(mean, shape)
            * np.exp(np.clip(q.reshape(scale.shape) / scale, -1, 1) * share * together)
            for q, share in zip(self.q, (1.0, self._shared()), strict=True)
        ]
        pairs.set_diagonal(found[0], shape, square)
        x, y = self.scores.query, self.scores.key
        sources = x.sources | y.sources
        result = Moments(shape, [n], mean, found[0], found[1], sources)
        result.weighs = self.scores
        return result

    def _shared(self) -> float:
        """What keys of two inputs have in common, of what differs between keys."""
        crossed = np.diagonal(self._centered(self.k[1][self.own])[0], axis1=1, axis2=2)
        own = self.spread_of_keys.mean()
        return float(np.clip(crossed.mean() / own, -1, 1)) if own > 0 else 0.0

    def _values(self) -> np.ndarray:
        return self.keys.spread(self.level)

    def _alike(self, width: int | None) -> np.ndarray:
        """What values gain because they are alike where keys are: `(groups, b, T)`.

        Products of two vectors of `width` numbers vary by one over this number. Where
        they do, weights vary by `exp` of them, and values with them.
        """
        n = self.keys.counts
        if width is None:
            return np.zeros((len(self.level), *self.p.shape[:2]))
        apart = np.einsum("bts,s,gbs->gbt", self.p, n, self._apart())
        share = 1 - np.einsum("bts,s->bt", self.p2, n)
        spread = np.einsum("bts,bts,s->bt", self.p, self.spread**2, n)
        return apart * share * spread / width

    def _apart(self) -> np.ndarray:
        """What is left of values without what those of all keys share: `(g, b, S)`."""
        full = self.keys.spread_pairs(self.v[0][:, self.own])
        own, n = np.diagonal(full, axis1=-2, axis2=-1), self.keys.counts
        common = self.keys.repeated(full) @ n - own
        return np.maximum(own - common / max(n.sum() - 1, 1), 0.0)

    def _own_squares(self) -> np.ndarray:
        """`E[o_t^2]`, in which the weights of one query sum to 1: `(groups, b, T)`."""
        n = self.keys.counts
        full = self.keys.spread_pairs(self.v[0][:, self.own])
        diagonal = np.diagonal(full, axis1=-2, axis2=-1)
        # What dropout of weights adds is in the squares alone.
        p2 = self.p2 / self.keep
        first = np.einsum("bts,s,gbs->gbt", p2, n, diagonal)
        everything = self.keys.repeated(full)
        weighted = self.p * n
        both = np.einsum("bts,gbsu,btu->gbt", weighted, everything, weighted)
        both -= np.einsum("bts,s,gbs->gbt", self.p**2, n, diagonal)
        share = 1 - np.einsum("bts,s->bt", self.p2, n)
        whole = 1 - np.einsum("bts,s->bt", self.p**2, n)
        ratio = np.where(whole > 1e-12, share / np.maximum(whole, 1e-12), 0.0)
        return first + both * np.maximum(ratio, 0.0) + self.alike

    def _pairs(self, kind: int) -> np.ndarray:
        """`E[o_t o_t']` by classes of pairs, in one input (0) or in two (1)."""
        groups = len(self.value.channels)
        weights = [np.round(w.reshape(len(w), -1), 12) for w in (self.p, self.spread)]
        _, kinds = np.unique(np.concatenate(weights, 1), axis=0, return_inverse=True)
        kinds = kinds.ravel()
        rows = [self.q[kind], self.k[kind], *self.v[kind]]
        ends = [kinds[self.first][:, None], kinds[self.second][:, None]]
        keys = np.concatenate([*rows, *ends], axis=1)
        _, index, inverse = np.unique(
            keys, axis=0, return_index=True, return_inverse=True
        )
        found = np.stack([self._pair(kind, i) for i in index])
        return np.moveaxis(found[inverse.ravel()], 1, 0).reshape(
            groups, len(self.first), -1
        )

    def _pair(self, kind: int, i: int) -> np.ndarray:
        """The same for one pair of rows: `(groups, classes of pairs)`."""
        a, b = self.first[i], self.second[i]
        n = self.keys.counts
        similar = self.queries.spread_pairs(self.q[kind][i])
        scale = np.sqrt(np.outer(self.squares[a], self.squares[b]))
        rho_q = np.clip(similar / np.maximum(scale, 1e-300), -1, 1)
        centered, _ = self._centered(self.k[kind][i])
        own = np.sqrt(np.outer(self.spread_of_keys[a], self.spread_of_keys[b]))
        rho_k = np.clip(centered / np.maximum(own, 1e-300), -1, 1)
        values = [self.keys.spread_pairs(v[i]) for v in self.v[kind]]
        kernels = np.stack([np.ones_like(rho_k), *values])
        left, right = self.p[a] * n, self.p[b] * n
        largest = float(self.spread[a].max() * self.spread[b].max())
        total = own_part = np.zeros(())
        term, power = 1.0, np.ones_like(rho_q)
        for order in range(_MOST_TERMS):
            full = self.keys.repeated(kernels * rho_k**order)
            made = left @ full @ right.T
            total = total + power * made
            alone = np.diagonal(kernels, axis1=1, axis2=2) * np.diag(rho_k) ** order
            own_part = own_part + power * ((left * (alone / n)[:, None]) @ right.T)
            term *= largest / (order + 1)
            if term < _LEFT_OUT:
                break
            left, right = left * self.spread[a], right * self.spread[b]
            power = power * rho_q / (order + 1)
        others = total - own_part
        # The weights of every query sum to 1.
        share = np.clip(1 - own_part[0], 0.0, None) / np.maximum(others[0], 1e-300)
        made = own_part[1:] + others[1:] * np.where(others[0] > 1e-12, share, 0.0)
        alike = np.sqrt(self.alike[:, a, :, None] * self.alike[:, b, None, :])
        return self.queries.gather_pairs(made + alike * rho_q)

    def _pull(self, g: np.ndarray) -> list[np.ndarray]:
        x, y, v = self.scores.query, self.scores.key, self.value
        at_weights, at_scores, g = self._inside(g)
        n, m = self.keys.counts, self.queries.counts
        # Shares of groups and of channels: a key or a query has the channels of all.
        to_value = np.einsum("bts,t,gbt->gbs", self.p2 / self.keep, m, g)
        gain = self.scores.factor**2
        to_query = gain * np.einsum("bts,s,bs->bt", at_scores, n, self.spread_of_keys)
        to_key = gain * np.einsum("bts,t,bt->bs", at_scores, m, self.squares)
        return [
            self._back(x, self.queries.gather(to_query)[None]),
            self._back(y, self.keys.gather(to_key)[None]),
            self._back(v, self.keys.gather(to_value)),
        ]

    def _inside(self, g: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradients at the weights and the scores `(b, T, S)`, and at the outputs."""
        v = self.value
        g = self.queries.spread(g.reshape(len(v.channels), len(self.own), -1))
        size = positions.size(self.keys.n) + 1
        squares = self.keys.spread(self.v[0][:, self.own][..., ::size])
        # One head has so many of the channels.
        channels = v.channels * self.heads_share()
        at_weights = np.einsum("g,gbt,gbs->bts", channels, g, squares)
        spread = np.einsum("g,gbt,gbs->bts", channels, g, self._apart())
        at_scores = self.slope * spread
        return at_weights, at_scores, g

    def heads_share(self) -> float:
        """The share of the channels that are averaged with the same weights."""
        return min(1.0, self.scores.dim / self.scores.query.total_channels)

    def _back(self, x: Moments, g: np.ndarray) -> np.ndarray:
        """A gradient `(groups, rows, classes)` at a tensor that may be broadcast."""
        full = g.reshape(len(g), *sizes(self.rows, 1), g.shape[-1])
        for axis, (n, size) in enumerate(zip(x.shape[:-1], self.rows, strict=True)):
            if n == 1 < size:
                weights = positions.position_weights(size) * size
                full = np.expand_dims(
                    np.tensordot(full, weights, (axis + 1, 0)), axis + 1
                )
        return np.broadcast_to(full, x.mean.shape)

    def _report(self, g: np.ndarray) -> Sequence[tuple[Node, np.ndarray, bool]]:
        at_weights, at_scores, _ = self._inside(g)
        found = []
        for node, values in zip(
            self.scores.nodes, (at_scores, at_weights), strict=False
        ):
            level = values @ self.keys.counts / self.keys.n
            shape = (1, *sizes(self.rows, 1), -1)
            found.append((node, self.queries.gather(level).reshape(shape), False))
        return found

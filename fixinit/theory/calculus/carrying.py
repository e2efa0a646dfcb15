"""States that are carried from step to step: `c_t = f_t c_(t-1) + n_t`."""

from collections.abc import Sequence

import numpy as np

from fixinit.theory.calculus import positions
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import first, second
from fixinit.theory.calculus.sites import sites

# Longer sequences have settled: their steps are those of this length.
_LONGEST = 128


def carry(
    factor: Moments,
    new: Moments,
    start: Moments | None = None,
    backwards: bool = False,
    shared: bool = False,
) -> Moments:
    """Computes `c_t = f_t c_(t-1) + n_t` along the first axis.

    Factors are taken to be independent of what has been carried so far. Pairs of steps
    t < u covary by `E[c_t c_u] = E[f_u] E[c_t c_(u-1)] + E[c_t n_u]` and
    `E[c_t n_u] = E[f_t] E[c_(t-1) n_u] + E[n_t n_u]`. Gradients go back by
    `g_t + E[f_(t+1)^2] d_(t+1)`.

    Example:

    >>> from fixinit.theory.calculus.carrying import carry
    >>> half = fixinit.theory.Moments.inputs((3, 8), 0.5, 0.0)
    >>> carry(half, fixinit.theory.Moments.inputs((3, 8))).squares.tolist()
    [[1.0, 1.25, 1.3125]]

    Args:
        factor, new: `Moments` of one shape, the steps as first axis.
        start: `Moments` without this axis, what is carried into the first step; zeros
            by default.
        backwards: bool. Whether the last step comes first.
        shared: bool. Whether `n_t = (1 - f_t) g_t`, with the same f. Where means are
            not zero, `E[f_t (1 - f_u)]` counts instead of `E[f_t] E[1 - f_u]`.

    Returns:
        `Moments` of that shape.
    """
    return _Carry(factor, new, start, backwards, shared).output()


class _Carry:
    """Arrays `(steps, steps, pairs of other positions)` of one carried state."""

    def __init__(
        self,
        factor: Moments,
        new: Moments,
        start: Moments | None,
        backwards: bool,
        shared: bool,
    ) -> None:
        self.factor, self.new, self.start, self.shared = factor, new, start, shared
        self.space = new.shape[1:]
        self.sites = sites(min(new.shape[0], _LONGEST))
        self.turn = slice(None, None, -1 if backwards else 1)
        # Means at both positions of a pair: `(steps, pairs)`.
        self.f = self._at_ends(self._at(factor.mean))

    def _at_ends(self, values: np.ndarray) -> list[np.ndarray]:
        return [self._steps(end(values, self.space)) for end in _ENDS]

    def _at(self, values: np.ndarray) -> np.ndarray:
        """`(1, steps, *others)` as `(all steps, *others)`."""
        return np.moveaxis(self.sites.spread(np.moveaxis(values[0], 0, -1)), -1, 0)

    def _steps(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(len(values), -1)[self.turn]

    def _pairs(self, x: Moments, values: np.ndarray) -> np.ndarray:
        moved = np.moveaxis(values[0], 0, -1)
        full = np.moveaxis(self.sites.spread_pairs(moved), (-2, -1), (0, 1))
        return full.reshape(*full.shape[:2], -1)[self.turn, self.turn]

    def output(self) -> Moments:
        x, y = self.factor, self.new
        found = []
        for kind in ("same", "cross"):
            f, n = (self._pairs(m, getattr(m, kind)) for m in (x, y))
            start = getattr(self.start, kind).ravel() if self.start else 0.0
            if self.shared:
                n = n - self._counted_twice(f)
            found.append(self._carried(f, n, start, kind == "same"))
        sources = x.sources | y.sources | (self.start.sources if self.start else set())
        result = Moments(
            y.shape,
            y.channels,
            self._mean(),
            self._gathered(found[0]),
            self._gathered(found[1]),
            sources,
        )
        result.node.link(
            (x, y, *((self.start,) if self.start else ())),
            lambda g: self._pull(g, result.squares),
        )
        return result

    def _mean(self) -> np.ndarray:
        return self._gathered_steps(self._means()[0])

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        """The means of what has been carried, of every step and of the one before."""
        factor, new = (self._steps(self._at(m.mean)) for m in (self.factor, self.new))
        made, before = np.empty_like(new), np.empty_like(new)
        last = self.start.mean.ravel() if self.start else np.zeros_like(new[0])
        for t, n in enumerate(new):
            before[t] = last
            made[t] = last = factor[t] * last + n
        return made, before

    def _counted_twice(self, f: np.ndarray) -> np.ndarray:
        """The covariance of `f c` and `(1 - f) g` that independence leaves out."""
        _, before = self._means()
        shape = [positions.size(n) for n in self.space]
        before = before[self.turn].reshape(-1, *shape)
        c = self._at_ends(before)
        new = self._at_ends(self._at(self.new.mean))
        g = [n / np.maximum(1 - f, 1e-300) for n, f in zip(new, self.f, strict=True)]
        spread = f - self.f[0][:, None] * self.f[1][None]
        return spread * (c[0][:, None] * g[1][None] + g[0][:, None] * c[1][None])

    def _carried(
        self, f: np.ndarray, n: np.ndarray, start: np.ndarray | float, own: bool
    ) -> np.ndarray:
        """Moments of pairs of steps of the carried state.

        Args:
            f, n: Those of the factors and of what is added.
            start: Those of what is carried into the first step.
            own: bool. Whether both steps are of one input.
        """
        count = len(n)
        low, high = self.f
        # Of c_t with n_u, and of n_t with c_u.
        ahead, behind = n.copy(), n.copy()
        for t in range(1, count):
            ahead[t] += low[t][None] * ahead[t - 1]
            behind[:, t] += high[t][None] * behind[:, t - 1]
        c, first_held = np.zeros_like(n), np.broadcast_to(start, n.shape[2:])
        for t in range(count):
            c[t, t] = f[t, t] * (c[t - 1, t - 1] if t else first_held) + n[t, t]
            if t:
                c[t, t] += low[t] * ahead[t - 1, t] + high[t] * behind[t, t - 1]
            if own:
                # Of the steps before with this one, and the other way around.
                c[:t, t] = high[t] * c[:t, t - 1] + ahead[:t, t]
                c[t, :t] = low[t] * c[t - 1, :t] + behind[t, :t]
                continue
            before = np.zeros_like(n[t])
            before[1:] = c[t - 1, :-1] if t else 0.0
            made = f[t] * before + n[t]
            if t:
                made += low[t] * ahead[t - 1]
            made[1:] += high[1:] * behind[t, :-1]
            made[t] = c[t, t]
            c[t] = made
        return c

    def _gathered(self, values: np.ndarray) -> np.ndarray:
        values = values[self.turn, self.turn]
        shape = [positions.size(n) ** 2 for n in self.space]
        moved = np.moveaxis(values, (0, 1), (-2, -1))
        made = self.sites.gather_pairs(moved)
        return np.moveaxis(made, -1, 0).reshape(1, made.shape[-1], *shape)

    def _gathered_steps(self, values: np.ndarray) -> np.ndarray:
        values = values[self.turn]
        shape = [positions.size(n) for n in self.space]
        made = self.sites.gather(np.moveaxis(values, 0, -1))
        return np.moveaxis(made, -1, 0).reshape(1, made.shape[-1], *shape)

    def _pull(self, g: np.ndarray, squares: np.ndarray) -> Sequence[np.ndarray]:
        flow = self._steps(self._at(g)).copy()
        factors = self._steps(self._at(self.factor.squares))
        for t in range(len(flow) - 1, 0, -1):
            flow[t - 1] += factors[t] * flow[t]
        start = self.start.squares.ravel() if self.start else 0.0
        carried = self._steps(self._at(squares))
        before = np.concatenate(
            [np.broadcast_to(start, carried[:1].shape), carried[:-1]]
        )
        found = [self._gathered_steps(flow * before), self._gathered_steps(flow)]
        if self.start:
            found.append((factors[0] * flow[0]).reshape(self.start.mean.shape))
        return found


_ENDS = (first, second)

"""Element-wise functions of two independent Gaussian tensors."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from fixinit.theory.calculus.alignment import aligned, check_independent
from fixinit.theory.calculus.backward import Node
from fixinit.theory.calculus.latents import same_latent
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import first, second, set_diagonal
from fixinit.theory.gaussian import quadrature
from fixinit.theory.gaussian.functions import Function
from fixinit.theory.gaussian.two_variables import Expansion, expand, joint_moment

# Of the square, that two grids may differ.
_SETTLED = 0.02
_NEAR = 1e-11
_OTHER = (-2.3, -1.3, -0.55, -0.11, -0.013, 0.007, 0.07, 0.31, 0.83, 1.7)


@dataclasses.dataclass(frozen=True)
class TwoLatents:
    """Values of one shape, each of which is a function of one of two Gaussian tensors.

    Attributes:
        bases: The two, `Moments`.
        xs: List of `Moments`, the values.
        places: List of ints, which of the bases each of them is a function of.
        functions: List of `Function`s.
    """

    bases: tuple[Moments, Moments]
    xs: list[Moments]
    places: list[int]
    functions: list[Function]

    def apply(self, value: Callable, partials: Callable) -> Moments | None:
        """A function of the values, `None` if its integrals depend on the nodes.

        Args:
            value: Callable from one array for each of the values to an array.
            partials: Callable from these to the derivative with respect to each.
        """

        def at(u: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
            pair = u, v
            pairs = zip(self.functions, self.places, strict=True)
            return [function(pair[place]) for function, place in pairs]

        def slopes(u: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
            found, pair = partials(*at(u, v)), (u, v)
            at_bases = [np.zeros_like(u), np.zeros_like(u)]
            for d, function, i in zip(found, self.functions, self.places, strict=True):
                at_bases[i] = at_bases[i] + d * function.derivative(pair[i])
            return [*at_bases, *found]

        kinks = [
            tuple(
                kink
                for function, i in zip(self.functions, self.places, strict=True)
                for kink in function.kinks
                if i == place
            )
            for place in (0, 1)
        ]

        def of(u: np.ndarray, v: np.ndarray) -> np.ndarray:
            return value(*at(u, v))

        y = function_of_two(self.bases, of, slopes, self.xs, kinks)
        others = [(*k, *_OTHER) for k in kinks]
        point = [
            (x.mean.flat[0], np.sqrt(max(x.squares.flat[0] - x.mean.flat[0] ** 2, 0.0)))
            for x in self.bases
        ]
        means, deviations = zip(*point, strict=True)
        again = expand(of, lambda u, v: (), means, deviations, others, _NEAR).square
        settled = np.isclose(again, y.squares.flat[0], rtol=_SETTLED)
        return y if settled else None


def two_latents(xs: Sequence[Moments]) -> TwoLatents | None:
    """Values as functions of two independent Gaussian tensors, `None` if they are not.

    Values without a Gaussian behind them are taken to be Gaussian of their moments.
    """
    clusters: list[list[int]] = []
    for i, x in enumerate(xs):
        for members in clusters:
            if same_latent([*(xs[j] for j in members), x]):
                members.append(i)
                break
        else:
            clusters.append([i])
    if len(clusters) != 2:
        return None
    check_independent([_together([xs[i] for i in c]) for c in clusters])
    fitted = aligned(xs) if len(xs) == 2 else list(xs)
    if len({(x.shape, tuple(x.channels)) for x in fitted}) > 1:
        return None
    places = [0 if i in clusters[0] else 1 for i in range(len(xs))]
    bases: list[Moments] = []
    functions: dict[int, Function] = {}
    for members in clusters:
        joined = same_latent([fitted[i] for i in members])
        assert joined is not None
        bases.append(joined[0])
        functions.update(zip(members, joined[1], strict=True))
    ordered = [functions[i] for i in range(len(xs))]
    return TwoLatents((bases[0], bases[1]), fitted, places, ordered)


def _together(xs: Sequence[Moments]) -> Moments:
    """One of some values, with the sources of all."""
    (x, *_), sources = xs, frozenset().union(*(x.sources for x in xs))
    return x.like(x.mean, x.same, x.cross, sources)


def function_of_two(
    bases: Sequence[Moments],
    value: Callable[[np.ndarray, np.ndarray], np.ndarray],
    slopes: Callable[[np.ndarray, np.ndarray], Sequence[np.ndarray]],
    xs: Sequence[Moments] = (),
    kinks: Sequence[Sequence[float]] = ((), ()),
) -> Moments:
    """Applies a function of two Gaussian tensors of one shape, by two-dimensional
    quadrature.

    Gradients are multiplied by the mean squares of the derivatives.

    Example:

    >>> from fixinit.theory.calculus.two_bases import function_of_two
    >>> u, v = (fixinit.theory.Moments.inputs((4, 100)) for _ in range(2))
    >>> y = function_of_two([u, v], np.arctan2, lambda u, v: [u, v])
    >>> round(y.mean_square, 3)  # an angle: pi^2 / 3
    3.29

    Args:
        bases: Two `Moments`, independent, of the same shape and groups.
        value: Callable from arrays u and v to an array.
        slopes: Callable from these to a list of derivatives: with respect to both, and
            with respect to each of `xs`.
        xs: Functions of the bases by way of which the function is one of them.
        kinks: Points where the function jumps along u, and along v.
    """
    a, b = bases
    found, index = _expansions(bases, value, slopes, kinks)
    mean, square = (
        np.array(values)[index]
        for values in (
            [e.coefficients[0, 0] for e in found],
            [e.square for e in found],
        )
    )
    same, cross = (_pairs(bases, name, found, index) for name in ("same", "cross"))
    set_diagonal(same, a.shape, square)
    y = a.like(mean, same, cross, a.sources | b.sources)
    factors = [
        np.array(s)[index] for s in zip(*(e.squares for e in found), strict=True)
    ]
    at_bases, at_xs = factors[:2], factors[2:]

    def report(g: np.ndarray) -> list[tuple[Node, np.ndarray, bool]]:
        pairs = zip(xs, at_xs, strict=True)
        return [(x.node, g * f, True) for x, f in pairs if x.latent]

    has_steps = any(x.latent for x in xs)
    y.node.link(
        bases, lambda g: [g * f for f in at_bases], report if has_steps else None
    )
    return y


def _expansions(
    bases: Sequence[Moments], value: Callable, slopes: Callable, kinks: Sequence
) -> tuple[list[Expansion], np.ndarray]:
    """What is known for each pair of distributions, and which one a position has."""
    deviations = [np.sqrt(np.maximum(x.squares - x.mean**2, 0.0)) for x in bases]
    rows = np.stack([bases[0].mean, bases[1].mean, *deviations]).reshape(4, -1)
    keys = quadrature.rounded(rows, 10)
    _, index, inverse = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    found = [expand(value, slopes, rows[:2, i], rows[2:, i], kinks) for i in index]
    return found, inverse.reshape(bases[0].mean.shape)


def _pairs(
    bases: Sequence[Moments], name: str, found: list[Expansion], index: np.ndarray
) -> np.ndarray:
    """The moments of pairs of positions."""
    shape = bases[0].shape
    correlations = []
    for x in bases:
        deviation = np.sqrt(np.maximum(x.squares - x.mean**2, 0.0))
        scale = first(deviation, shape) * second(deviation, shape)
        covariance = getattr(x, name) - first(x.mean, shape) * second(x.mean, shape)
        rho = np.clip(covariance / np.maximum(scale, 1e-300), -1, 1)
        correlations.append(np.where(scale > 0, rho, 0.0))
    places = [first(index, shape), second(index, shape)]
    rows = np.stack([a.ravel() for a in (*places, *correlations)])
    _, chosen, inverse = np.unique(
        np.round(rows, 10), axis=1, return_index=True, return_inverse=True
    )
    rows = rows[:, chosen]
    made = np.empty(len(chosen))
    for i, j in {(int(i), int(j)) for i, j in zip(*rows[:2], strict=True)}:
        own = (rows[0] == i) & (rows[1] == j)
        made[own] = joint_moment(found[i], found[j], rows[2, own], rows[3, own])
    return made[inverse.ravel()].reshape(correlations[0].shape)

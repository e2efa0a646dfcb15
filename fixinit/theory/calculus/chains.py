"""Gradients at the tensors between a Gaussian one and a function of it.

A function of a function of a Gaussian u is one function of u, and takes gradients back
to u at once. For a tensor m that it passes over, the gradient has the mean square
`E[(dy/dm)^2]`, by the chain rule at every point u.
"""

import copy
import functools
from collections.abc import Callable, Sequence

import numpy as np

from fixinit.theory.calculus.backward import Node, Reporter
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.gaussian.functions import Function, compose, expectations

_FURTHEST = 8


class Step:
    """A record of how one tensor was made from others, all functions of one u.

    Args:
        x: `Moments`, the tensor.
        parents: Sequence of `Moments` that it was made from. None where it is itself a
            function of u that was not made by a step, as behind zero padding.
        partials: Callable from points u to the derivatives with respect to the parents.
    """

    __slots__ = ("node", "parents", "partials", "kinks")

    def __init__(
        self,
        x: Moments,
        parents: Sequence[Moments] = (),
        partials: Callable[[np.ndarray], Sequence] = lambda u: (),
    ) -> None:
        self.node, self.partials = x.node, partials
        self.parents = tuple(_step(parent) for parent in parents)
        self.kinks = x.latent[1].kinks if x.latent else ()

    @property
    def goes_on(self) -> bool:
        """Is true if gradients at this tensor go on through its layer."""
        return not self.parents

    def of(self, inner: Function, base: "Step") -> "Step":
        """The same step for points u of another Gaussian, of which this one is made.

        Args:
            inner: `Function`, from those points to the ones of this step.
            base: The step of the Gaussian of this step.
        """
        step, partials = copy.copy(self), self.partials
        step.partials = lambda u: partials(inner(u))
        step.parents = tuple(
            base if parent is None else parent.of(inner, base)
            for parent in self.parents
        )
        shift, slope = float(inner(0.0)), float(inner(1.0)) - float(inner(0.0))
        step.kinks = tuple((k - shift) / slope for k in self.kinks) if slope else ()
        return step


class Linear:
    """A Gaussian tensor as a linear function of another one.

    Args:
        base: `Moments`, the other one.
        function: `Function` of it.

    Attributes:
        bases: List of `Moments`, the base, what that is a linear function of, and so
            on. All of them would keep every tensor of a deep network; a few are enough.
    """

    __slots__ = ("function", "bases")

    def __init__(self, base: Moments, function: Function) -> None:
        self.function = function
        before: list[Moments] = base.linear.bases if base.linear else []
        self.bases: list[Moments] = [base]
        if len(before) < _FURTHEST:
            self.bases += before


def seen_from(x: Moments, root: Moments) -> Moments:
    """A tensor as a function of what its Gaussian is a linear function of.

    Args:
        x: `Moments`, a Gaussian or a function of one.
        root: `Moments`, that Gaussian or one of its `linear.bases`.
    """
    base = x.latent[0] if x.latent else x
    while base is not root:
        assert base.linear is not None
        outer = base.linear.function
        (slope,) = np.ravel(outer.derivative(np.zeros(1)))
        step = _step(x)
        own = Step(base)
        own.parents = (_step(base.linear.bases[0]),)
        own.partials = functools.partial(_constant, float(slope))
        changed = copy.copy(x)
        changed.step = own if step is None else step.of(outer, own)
        inner = outer if x.latent is None else compose(x.latent[1], outer)
        changed.latent = (base.linear.bases[0], inner)
        x, base = changed, base.linear.bases[0]
    return x


def _constant(slope: float, u: np.ndarray) -> list[float]:
    return [slope]


def _step(x: Moments) -> Step | None:
    if x.latent is None:
        return None
    return x.step or Step(x)


def between(
    last: Step, mean: np.ndarray, variance: np.ndarray
) -> tuple[list[Step], list[np.ndarray]]:
    """The steps before the last one, and `E[(dy/dm)^2]` for the tensor m of each.

    Args:
        last: `Step`, of y.
        mean, variance: Arrays, of the Gaussian.
    """
    found: dict[int, Step] = {}
    pending: list[Step | None] = [last]
    while pending:
        step = pending.pop()
        if step is not None and step.node.serial not in found:
            found[step.node.serial] = step
            pending.extend(step.parents)
    steps = [found[serial] for serial in sorted(found, reverse=True)]

    def squares(u: np.ndarray) -> list[np.ndarray]:
        derivatives, found = {last.node.serial: np.ones_like(u)}, []
        for step in steps:
            derivative = derivatives.pop(step.node.serial)
            found.append(derivative**2)
            for parent, partial in zip(step.parents, step.partials(u), strict=True):
                if parent is not None:
                    before = derivatives.get(parent.node.serial, 0.0)
                    derivatives[parent.node.serial] = before + derivative * partial
        return found[1:]

    kinks = tuple(sorted({kink for step in steps for kink in step.kinks}))
    return steps[1:], expectations(squares, mean, variance, kinks)


def reporter(last: Step, mean: np.ndarray, variance: np.ndarray) -> Reporter:
    """A function from the gradient of y to those of every step before it."""

    def report(gradient: np.ndarray) -> list[tuple[Node, np.ndarray, bool]]:
        if all(parent is None for parent in last.parents):
            return []
        steps, squares = between(last, mean, variance)
        return [
            (step.node, gradient * square, step.goes_on)
            for step, square in zip(steps, squares, strict=True)
        ]

    return report

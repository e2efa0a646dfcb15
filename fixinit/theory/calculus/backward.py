"""Mean squares of gradients, from the outputs of a network back to every tensor."""

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from fixinit.theory.calculus.moments import Moments

_SERIAL = itertools.count()

# From the gradient at a tensor to the gradients at those that it was made from.
Pull: TypeAlias = Callable[[np.ndarray], Sequence[np.ndarray]]
# From the gradient at a tensor to `(node, gradient, goes_on)` of those passed over.
Reporter: TypeAlias = Callable[[np.ndarray], Sequence[tuple["Node", np.ndarray, bool]]]


class Node:
    """A tensor in the graph that gradients go back through; light enough to keep.

    Attributes:
        serial: int. A tensor has a larger one than those that it was made from.
        parents: Tuple of nodes that gradients go back to.
        pull: Callable from the gradient here to the list of the parents' gradients.
        report: Callable from the gradient here to `(node, gradient, goes_on)` for the
            tensors that it passes over on its way to the parents: it is known there,
            and goes back no further, or where `goes_on` to other such tensors only.
        beside: Tuple of `(node, factor)`, tensors that are zero and were added to this
            one. Their gradient is this tensor's times the factor, even if that is
            reported.
    """

    __slots__ = ("serial", "parents", "pull", "report", "beside")

    def __init__(self) -> None:
        self.serial = next(_SERIAL)
        self.parents: tuple[Node, ...] = ()
        self.pull: Pull | None = None
        self.report: Reporter | None = None
        self.beside: tuple[tuple[Node, float], ...] = ()

    def link(
        self, parents: Sequence["Moments"], pull: Pull, report: Reporter | None = None
    ) -> None:
        """Says what takes gradients back, and to which tensors."""
        self.parents, self.pull = tuple(x.node for x in parents), pull
        self.report = report


def gradients(outputs: Sequence["Moments"]) -> dict[int, np.ndarray]:
    """The mean square of the gradient at every tensor that the outputs come from.

    Args:
        outputs: List of `Moments`. Gradients of mean square 1 start at each.

    Returns:
        Dict from the serial numbers of nodes to arrays `(groups, *positions)`.
    """
    way = _Way()
    for output in outputs:
        way.receive(output.node, np.ones_like(output.mean), way.passing)
    way.go()
    return way.found


class _Way:
    """Gradients on their way back, from younger to older tensors.

    Attributes:
        found: Dict, the whole gradient at every tensor.
        passing: Dict, the part of it that goes on.
        reported: Dict, the part that goes on to reported tensors only.
    """

    def __init__(self) -> None:
        self.found: dict[int, np.ndarray] = {}
        self.passing: dict[int, np.ndarray] = {}
        self.reported: dict[int, np.ndarray] = {}
        self._pending: list[tuple[int, Node]] = []

    def receive(
        self,
        node: Node,
        gradient: np.ndarray,
        into: dict[int, np.ndarray] | None = None,
    ) -> None:
        """Adds to the gradient at a tensor, and to a part of it that goes on."""
        if node.serial not in self.found:
            heapq.heappush(self._pending, (-node.serial, node))
        for sums in (self.found, into) if into is not None else (self.found,):
            sums[node.serial] = sums.get(node.serial, 0.0) + np.asarray(gradient)

    def go(self) -> None:
        # Every tensor is younger than what it was made from.
        while self._pending:
            _, node = heapq.heappop(self._pending)
            whole = self.passing.pop(node.serial, None)
            told = self.reported.pop(node.serial, None)
            for other, factor in node.beside:
                self.receive(other, factor * self.found[node.serial], self.passing)
            if whole is not None:
                self._pull(node, whole, self.passing)
            if node.report is not None:
                self._report(node, whole, told)
            elif told is not None:
                self._pull(node, told, self.reported)

    def _pull(
        self, node: Node, gradient: np.ndarray, into: dict[int, np.ndarray]
    ) -> None:
        if node.pull is not None:
            for parent, g in zip(node.parents, node.pull(gradient), strict=True):
                self.receive(parent, g, into)

    def _report(
        self, node: Node, whole: np.ndarray | None, told: np.ndarray | None
    ) -> None:
        if whole is None or told is None:
            total = told if whole is None else whole
        else:
            total = whole + told
        # Long chains of blocks that start at zero have nothing to report.
        if node.report is not None and total is not None and np.any(total):
            for member, gradient, goes_on in node.report(total):
                self.receive(member, gradient, self.reported if goes_on else None)

"""The way back: mean squares of gradients, from the outputs to every tensor."""

import heapq
import itertools

import numpy as np

_SERIAL = itertools.count()


class Node:
    """A tensor's place on the way that gradients take back; light enough to keep.

    Attributes:
        parents: Tuple of nodes that gradients go back to.
        pull: Callable from the gradient here to the list of the parents' gradients.
        report: Callable from the gradient here to `(node, gradient, goes_on)` for the
            tensors that it passes over on its way to the parents: it is known there,
            and goes back no further, or where `goes_on` to other such tensors only.
        beside: Tuple of `(node, factor)`. What was added to this tensor and is zero: it
            has this tensor's gradient times the factor, even if that is reported.
    """

    __slots__ = ("serial", "parents", "pull", "report", "beside")

    def __init__(self):
        self.serial = next(_SERIAL)
        self.parents, self.pull, self.report, self.beside = (), None, None, ()

    def link(self, parents, pull, report=None):
        self.parents, self.pull = tuple(x.node for x in parents), pull
        self.report = report


def gradients(outputs):
    """The mean square of the gradient at every tensor that the outputs come from.

    Args:
        outputs: List of `Moments`. Gradients of mean square 1 start at each.

    Returns:
        Dict from the serial numbers of nodes to arrays `(groups, *positions)`.
    """
    found, passing, reported, pending = {}, {}, {}, []

    def receive(node, gradient, into=None):
        if node.serial not in found:
            heapq.heappush(pending, (-node.serial, node))
        for sums in (found, into) if into is not None else (found,):
            sums[node.serial] = sums.get(node.serial, 0.0) + np.asarray(gradient)

    for output in outputs:
        receive(output.node, np.ones_like(output.mean), passing)
    # Every tensor is younger than what it was made from.
    while pending:
        _, node = heapq.heappop(pending)
        whole, told = passing.pop(node.serial, None), reported.pop(node.serial, None)
        for other, factor in node.beside:
            receive(other, factor * found[node.serial], passing)
        if node.pull is None:
            continue
        if whole is not None:
            _pull(node, whole, receive, passing)
        if node.report is None:
            if told is not None:
                _pull(node, told, receive, reported)
        elif whole is not None or told is not None:
            total = sum(part for part in (whole, told) if part is not None)
            # Long chains of blocks that start at zero have nothing to report.
            told = node.report(total) if np.any(total) else ()
            for member, gradient, goes_on in told:
                receive(member, gradient, reported if goes_on else None)
    return found


def _pull(node, gradient, receive, into):
    for parent, part in zip(node.parents, node.pull(gradient), strict=True):
        receive(parent, part, into)

"""The way back: mean squares of gradients, from the outputs to every tensor."""

import heapq

import numpy as np

from fixinit.theory.calculus.channels import Reported


def gradients(outputs):
    """The mean square of the gradient at every tensor that the outputs come from.

    Args:
        outputs: List of `Moments`. Gradients of mean square 1 start at each.

    Returns:
        Dict from the serial numbers of nodes to arrays `(groups, *positions)`.
    """
    found, passing, pending = {}, {}, []

    def receive(node, gradient):
        if node.serial not in found:
            heapq.heappush(pending, (-node.serial, node))
        found[node.serial] = found.get(node.serial, 0.0) + np.asarray(gradient)
        if not isinstance(gradient, Reported):
            passing[node.serial] = passing.get(node.serial, 0.0) + gradient

    for output in outputs:
        receive(output.node, np.ones_like(output.mean))
    # Every tensor is younger than what it was made from.
    while pending:
        _, node = heapq.heappop(pending)
        gradient = passing.pop(node.serial, None)
        if node.pull is None or gradient is None:
            continue
        for parent, part in zip(node.parents, node.pull(gradient), strict=True):
            receive(parent, part)
    return found

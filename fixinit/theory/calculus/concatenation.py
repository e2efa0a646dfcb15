"""Channels side by side, and functions of each part by itself."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fixinit._checked import checked
from fixinit.theory.calculus.backward import Node
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError


@checked
def concatenate(xs: Sequence[Moments]) -> Moments:
    """Concatenates values along the channels.

    The groups of the result are those of all `xs`; gradients are split.

    Example:

    >>> a = fixinit.theory.Moments.inputs((3,), variance=1.0)
    >>> b = fixinit.theory.Moments.inputs((1,), variance=5.0)
    >>> y = fixinit.theory.calculus.concatenate([a, b])
    >>> y.total_channels, y.mean_square  # (3 * 1 + 1 * 5) / 4
    (4, 2.0)

    Args:
        xs: Sequence of `Moments` of one spatial shape.

    Returns:
        `Moments` of as many channels as all of them.

    Raises:
        NoRuleError: If the spatial shapes differ.
    """
    if not xs:
        raise ValueError("Argument `xs` must hold at least one value. Received: xs=()")
    if len({x.shape for x in xs}) > 1:
        raise NoRuleError(
            "Values that are concatenated must have the same spatial axes. Received: "
            f"{[x.shape for x in xs]}"
        )
    y = Moments(
        xs[0].shape,
        np.concatenate([x.channels for x in xs]),
        np.concatenate([x.mean for x in xs]),
        np.concatenate([x.same for x in xs]),
        np.concatenate([x.cross for x in xs]),
        frozenset().union(*(x.sources for x in xs)),
    )
    if any(x.latent or x.parts for x in xs):
        y.parts = [part for x in xs for part in x.parts or [x]]
    ends = np.cumsum([len(x.channels) for x in xs])[:-1]
    y.node.link(xs, lambda g: np.split(g, ends))
    return y


def by_parts(x: Moments, function: Callable[[Moments], Moments]) -> Moments:
    """A function of each of the parts that `x` was concatenated of."""
    before = x.parts or []
    parts = [function(part) for part in before]
    y = concatenate(parts)
    nodes, split = [part.node for part in parts], y.node.pull
    assert split is not None
    y.levels = ((x.node, [part.node for part in before]), *x.levels)
    levels = y.levels

    def report(g: np.ndarray) -> list[tuple[Node, np.ndarray, bool]]:
        # Gradients go on from part to part, past the concatenations.
        earlier = [_earlier(*pair) for pair in zip(nodes, split(g), strict=True)]
        found: list[tuple[Node, np.ndarray, bool]] = []
        for node, level in levels:
            serials = [part.serial for part in level]
            if not all(s in e for s, e in zip(serials, earlier, strict=True)):
                # The last concatenation that was reached reports the others.
                found[-1] = (*found[-1][:2], True)
                break
            both = zip(serials, earlier, strict=True)
            values = np.concatenate([gradients[s] for s, gradients in both])
            found.extend(reversed([*_inside(node, values, serials)]))
        return found

    y.node.report = report
    return y


def _earlier(node: Node, gradient: np.ndarray) -> dict[int, np.ndarray]:
    """Gradients at the tensors that one tensor was made from, by serial number."""
    pulled = node.pull(gradient) if node.pull else ()
    found = dict(zip(node.parents, pulled, strict=True))
    if node.report is not None:
        found |= {member: g for member, g, _ in node.report(gradient)}
    return {member.serial: g for member, g in found.items()}


def _inside(
    node: Node, gradient: np.ndarray, parts: Sequence[int], nested: bool = False
) -> Iterator[tuple[Node, np.ndarray, bool]]:
    """Gradients at a concatenation, and at those that are parts of it."""
    yield node, gradient, nested and node.report is not None
    if node.report is None and node.pull is not None:
        for parent, part in zip(node.parents, node.pull(gradient), strict=True):
            if parent.serial not in parts:
                yield from _inside(parent, part, parts, nested=True)

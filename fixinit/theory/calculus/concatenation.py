"""Channels side by side."""

import numpy as np

from fixinit.theory.calculus.moments import Moments


def concatenate(xs):
    """Channels side by side."""
    y = Moments(
        xs[0].shape,
        np.concatenate([x.channels for x in xs]),
        *(
            np.concatenate([getattr(x, name) for x in xs])
            for name in ("mean", "same", "cross")
        ),
        frozenset().union(*(x.sources for x in xs)),
    )
    if any(x.latent or x.parts for x in xs):
        y.parts = [part for x in xs for part in x.parts or [x]]
    ends = np.cumsum([len(x.channels) for x in xs])[:-1]
    y.node.link(xs, lambda g: np.split(g, ends))
    return y


def by_parts(x, function):
    """A function of each of the parts that `x` was concatenated of."""
    parts = [function(part) for part in x.parts]
    y = concatenate(parts)
    nodes, split = [part.node for part in parts], y.node.pull
    y.levels = ((x.node, [part.node for part in x.parts]), *x.levels)
    levels = y.levels

    def report(g):
        # Gradients go on from part to part, past the concatenations.
        earlier = [_earlier(*pair) for pair in zip(nodes, split(g), strict=True)]
        found = []
        for node, before in levels:
            serials = [part.serial for part in before]
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


def _earlier(node, gradient):
    """Gradients at the tensors that one tensor was made from, by serial number."""
    found = dict(zip(node.parents, node.pull(gradient), strict=True))
    if node.report is not None:
        found |= {member: g for member, g, _ in node.report(gradient)}
    return {member.serial: g for member, g in found.items()}


def _inside(node, gradient, parts, nested=False):
    """Gradients at a concatenation, and at those that are parts of it."""
    yield node, gradient, nested and node.report is not None
    if node.report is None:
        for parent, part in zip(node.parents, node.pull(gradient), strict=True):
            if parent.serial not in parts:
                yield from _inside(parent, part, parts, nested=True)

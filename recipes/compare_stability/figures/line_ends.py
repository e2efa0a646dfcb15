"""Names beside the ends of lines, moved apart where they would overlap."""

import numpy as np

from recipes.common.plotting.style import scheme_style


def label_line_ends(axis, ends, gap=0.07):
    """Names written to the right of the lines that they belong to.

    Args:
        axis: The axes, whose limits are final.
        ends: A list of `(scheme, y, text)`, y in data units.
        gap: float. Smallest distance between two labels, as part of the height.
    """
    to_axes = axis.transData + axis.transAxes.inverted()
    x_end = axis.get_xlim()[1]
    heights = [to_axes.transform((x_end, y))[1] for _, y, _ in ends]
    # Where heights are equal, the first scheme is written on top.
    order = sorted(range(len(ends)), key=lambda i: (round(heights[i], 3), -i))
    spread = _spread([heights[i] for i in order], gap)
    for i, position in zip(order, spread, strict=True):
        scheme, _, text = ends[i]
        axis.annotate(
            text,
            xy=(1.0, heights[i]),
            xytext=(1.07, position),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": scheme_style(scheme)["color"],
                "linewidth": 1.4,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def _spread(heights, gap):
    """Moves sorted heights apart until neighbors differ by `gap`, as little as can be.

    Groups that touch are merged and stay centered on where they wanted to be.
    """
    groups = []
    for height in heights:
        groups.append(([height], height))
        while len(groups) > 1 and _top(groups[-2], gap) > _bottom(groups[-1], gap):
            members = groups[-2][0] + groups[-1][0]
            groups[-2:] = [(members, float(np.mean(members)))]
    return [
        center + (i - (len(members) - 1) / 2) * gap
        for members, center in groups
        for i in range(len(members))
    ]


def _top(group, gap):
    return group[1] + len(group[0]) * gap / 2


def _bottom(group, gap):
    return group[1] - len(group[0]) * gap / 2

"""What the arms of an experiment are called, and how they are drawn."""

import dataclasses

from matplotlib import colormaps
from matplotlib.colors import to_hex

from recipes.common.plotting.style import scheme_style


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of the things that an experiment compares.

    Attributes:
        label: str. What people call it.
        color, linestyle, marker: How it is drawn, as Matplotlib has it.
        options: dict. What makes it, for the experiment alone.
    """

    label: str
    color: str
    linestyle: str = "-"
    marker: str = ""
    options: dict = dataclasses.field(default_factory=dict)

    @property
    def look(self):
        """Arguments of `plot`."""
        return {
            "color": self.color,
            "linestyle": self.linestyle,
            "marker": self.marker,
            # A star's area is small for its width.
            "markersize": 9.0 if self.marker == "*" else 5.5,
            "markeredgecolor": "white",
            "markeredgewidth": 0.6,
        }


def variant(label, color, linestyle="-", marker="", **options):
    """A `Variant` with options.

    Example:

    >>> variant("Plain", "#1a1a1a", scheme="batch_norm", plain=True).options
    {'scheme': 'batch_norm', 'plain': True}
    """
    return Variant(label, color, linestyle, marker, options)


class Schemes(dict):
    """Variants by the name of a scheme, in the style that it has everywhere.

    Example:

    >>> Schemes()["fixup"].label
    'Fixup'
    """

    def __missing__(self, name):
        return Variant(**scheme_style(name))


def shades(values, label="{}"):
    """Variants for an ordered quantity, from light to dark.

    Args:
        values: The values, in their order.
        label: str with a place for the value, or a function of it.
    """
    label = label if callable(label) else label.format
    step = 0.6 / max(1, len(values) - 1)
    colors = [to_hex(colormaps["YlGnBu"](0.4 + step * i)) for i in range(len(values))]
    return {
        value: Variant(label(value), color)
        for value, color in zip(values, colors[-len(values) :], strict=True)
    }

"""What stands on the axes of a declared panel beside its lines."""

from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from recipes.common.plotting.style import MUTED

_LEVEL = {"color": MUTED, "linewidth": 0.9}
_LEVEL_STYLES = (":", "--", "-.")
_STRIP = {"color": "#ececec", "linewidth": 0}
# More ticks on an axis would run into each other.
_MAX_TICKS = 8


def set_axes(axis, given, counted=False):
    """Sets scales, titles and limits.

    Args:
        axis: `matplotlib.axes.Axes`, with the lines on it.
        given: dict. Arguments of `Axes.set`, where the scale may be "log2".
        counted: bool. Whether x is an index, so that ticks are integers.
    """
    plain = {k: v for k, v in given.items() if v != "log2"}
    for side in ("x", "y"):
        if given.get(f"{side}scale") == "log2":
            _set_log2(axis, side, f"{side}ticks" in plain)
    axis.set(**plain)
    if counted and given.keys().isdisjoint({"xscale", "xticks"}):
        axis.xaxis.get_major_locator().set_params(integer=True)
    if "xscale" in given:
        axis.xaxis.set_minor_locator(NullLocator())


def mark(axis, levels, strips, results):
    """Draws the levels and strips of a panel.

    Args:
        axis: `matplotlib.axes.Axes`.
        levels, strips: As `Panel` has them.
        results: dict. The content of results.json.

    Returns:
        dict. The entries of the legend by their labels.
    """
    handles = {}
    for index, (name, level) in enumerate(levels.items()):
        look = _LEVEL | {"linestyle": _LEVEL_STYLES[index % len(_LEVEL_STYLES)]}
        axis.axhline(level(results) if callable(level) else level, **look)
        handles[name] = Line2D([], [], **look, label=name)
    for name, strip in strips.items():
        ends = strip(results) if callable(strip) else strip
        axis.axvspan(*ends, zorder=0, **_STRIP)
        handles[name] = Line2D([], [], **_STRIP | {"linewidth": 7}, label=name)
    handles.pop("", None)
    return handles


def _set_log2(axis, side, has_ticks):
    getattr(axis, f"set_{side}scale")("log", base=2)
    ticks = sorted({float(x) for line in axis.lines for x in line.get_xdata()})
    if side == "y" or has_ticks or len(ticks) > _MAX_TICKS:
        getattr(axis, f"{side}axis").set_major_formatter(lambda v, _: f"{v:g}")
    else:
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])

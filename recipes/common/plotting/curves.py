"""Curves over arms, declared: what stands on the axes, and what is one line."""

import dataclasses
from collections.abc import Callable

import numpy as np

from recipes.common.experiment.reading import band_of, mean_of, numbers
from recipes.common.plotting.axes import mark, set_axes
from recipes.common.plotting.panels import Line2D, legend_below, staggered
from recipes.common.plotting.style import INK, new_figure
from recipes.common.plotting.variants import Schemes


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of every arm, or through all arms of a series.

    `x` and `y` are names of what an arm holds or of flags, or functions of a dict with
    both. Lists make a line of every arm; one number of each arm makes a line through
    the arms. Lists of lists are runs: their mean is drawn, and a band from the lowest
    to the highest. So are lists over a single `x`, with bars of a standard deviation.

    Attributes:
        y: What is drawn. What is missing from an arm is not drawn.
        x: Over what; by default the index of `y`.
        label: str. What the legend calls lines of this kind, drawn with `look`.
        look: dict. Arguments of `plot` that replace the series' own.
        first: int. The first index where there is no `x`.
    """

    y: str | Callable
    x: str | Callable | None = None
    label: str = ""
    look: dict = dataclasses.field(default_factory=dict)
    first: int = 0


@dataclasses.dataclass(frozen=True)
class Panel:
    """Axes, and the lines on them.

    Attributes:
        lines: `Line`s, or one.
        axes: dict. Arguments of `Axes.set`; the scale "log2" is a logarithmic one of
            base 2 with a tick at every value of `x`, if these are few.
        levels: dict. Horizontal lines by their labels, the first dotted, the second
            dashed; functions of the results, or numbers.
        strips: dict. Vertical strips by their labels; functions of the results, or
            pairs of numbers.
        only: Function of what an arm holds and the flags that says whether to draw it.
    """

    lines: Line | tuple
    axes: dict = dataclasses.field(default_factory=dict)
    levels: dict = dataclasses.field(default_factory=dict)
    strips: dict = dataclasses.field(default_factory=dict)
    only: Callable = bool


@dataclasses.dataclass(frozen=True)
class Curves:
    """A figure of curves: call it with the content of results.json.

    Attributes:
        panels: `Panel`s side by side, or one that `facet` repeats.
        series: str. The argument of an arm that decides color and label.
        variants: dict. `Variant` of every value of `series`, in order of the legend;
            or a function of the values that are there, such as `shades`.
        facet: str. The argument of an arm that has a panel for every value. Where it
            is that of `series`, titles name them and the legend does not.
        facet_title: Function of a value of `facet`; or a dict of `Variant`.
        facets: int. The most panels that a facet may make.
        columns: int. Panels in a row; all in one by default.
        row_height: float. In inches.
        share: Which axes are the same in all panels: "y", "x", "xy" or "".
        stagger: bool. Whether earlier series are drawn wider, with larger markers, so
            that they show behind later ones.
    """

    panels: Panel | tuple
    series: str = "scheme"
    variants: dict | Callable = dataclasses.field(default_factory=Schemes)
    facet: str = ""
    facet_title: Callable | dict = str
    facets: int = 4
    columns: int = 0
    row_height: float = 3.2
    share: str = "y"
    stagger: bool = True

    def __call__(self, results):
        panels = self._panels(results)
        if not panels:
            return None
        columns = self.columns or len(panels)
        figure, grid = new_figure(
            -(-len(panels) // columns),
            columns,
            row_height=self.row_height,
            sharex="x" in self.share,
            sharey="y" in self.share,
        )
        variants = self._variants(results)
        handles = {}
        for axis, (panel, arms) in zip(grid.flat, panels, strict=False):
            self._draw(axis, panel, arms, variants)
            counted = any(line.x is None for line in _lines(panel))
            set_axes(axis, panel.axes, counted)
            handles |= mark(axis, panel.levels, panel.strips, results)
        for axis in grid.flat[len(panels) :]:
            axis.set_visible(False)
        if "y" in self.share:
            for axis in grid[:, 1:].flat:
                axis.set_ylabel("")
        legend_below(figure, [*self._handles(panels, variants), *handles.values()])
        return figure

    def _panels(self, results):
        """`(panel, arms)` of every panel that has arms."""
        panels = self._declared()
        if self.facet:
            (panel,) = panels
            every = self._arms(results)
            values = dict.fromkeys(arm[self.facet] for arm in every)
            panels = [
                dataclasses.replace(panel, axes={"title": self._title(v)} | panel.axes)
                for v in list(values)[: self.facets]
            ]
            arms = [[arm for arm in every if arm[self.facet] == v] for v in values]
        else:
            arms = [self._arms(results)] * len(panels)
        found = [
            (panel, [arm for arm in of_panel if panel.only(arm)])
            for panel, of_panel in zip(panels, arms, strict=False)
        ]
        return found if any(arms for _, arms in found) else []

    def _title(self, value):
        if callable(self.facet_title):
            return self.facet_title(value)
        return self.facet_title[value].label

    def _declared(self):
        return self.panels if isinstance(self.panels, tuple) else (self.panels,)

    def _arms(self, results):
        """The arms that any panel draws, each with the flags beside what it holds."""
        config, panels = results["config"], self._declared()
        arms = [{**config, **arm} for arm in results["arms"] if self.series in arm]
        return [arm for arm in arms if any(panel.only(arm) for panel in panels)]

    def _variants(self, results):
        values = list(dict.fromkeys(arm[self.series] for arm in self._arms(results)))
        known = self.variants(values) if callable(self.variants) else self.variants
        order = [*(v for v in known if v in values), *(v for v in values)]
        return {value: known[value] for value in dict.fromkeys(order)}

    def _draw(self, axis, panel, arms, variants):
        for index, (value, variant) in enumerate(variants.items()):
            of_series = [arm for arm in arms if arm[self.series] == value]
            look = variant.look
            if self.stagger:
                earlier = 1 - index / max(1, len(variants) - 1)
                look["linewidth"] = 1.4 + 1.2 * earlier
                look["markersize"] *= 0.9 + 0.6 * earlier
            for line in _lines(panel):
                _plot(axis, line, of_series, look | line.look, (index, len(variants)))

    def _handles(self, panels, variants):
        drawn = {arm[self.series] for _, arms in panels for arm in arms}
        series = [
            Line2D([], [], **variant.look, label=variant.label)
            for value, variant in variants.items()
            if value in drawn
        ]
        kinds = {
            line.label: Line2D([], [], **{"color": INK} | line.look, label=line.label)
            for panel, _ in panels
            for line in _lines(panel)
            if line.label
        }
        is_named = len(series) > 1 and self.facet != self.series
        return [*(series if is_named or not kinds else []), *kinds.values()]


def _lines(panel):
    return panel.lines if isinstance(panel.lines, tuple) else (panel.lines,)


def _value(source, arm):
    return source(arm) if callable(source) else arm.get(source)


def _is_missing(y):
    """Whether there is nothing to draw; runs differ in length where some diverged."""
    return y is None or (np.iterable(y) and not any(map(np.size, y)))


def _plot(axis, line, arms, look, place):
    """Draws one `Line` of one series."""
    points = []
    for arm in arms:
        y = _value(line.y, arm)
        x = None if line.x is None else _value(line.x, arm)
        if _is_missing(y):
            continue
        if x is not None and np.ndim(x) == 0:
            points.append((x, y))
        else:
            _plot_curve(axis, x, y, look, line.first, place)
    if not points:
        return
    points.sort(key=lambda point: point[0])
    x, y = zip(*points, strict=True)
    if np.ndim(y[0]):
        means, spreads = [np.mean(v) for v in y], [np.std(v, ddof=1) for v in y]
        axis.errorbar(x, means, spreads, capsize=3, zorder=3, **look)
    else:
        axis.plot(x, numbers(y), zorder=3, **look)


def _plot_curve(axis, x, y, look, first, place):
    """A curve of one arm, or the mean of its runs with a band."""
    runs = y if np.ndim(y[0]) else [y]
    runs = [numbers(run) for run in runs]
    mean = mean_of(runs)
    x = np.arange(first, first + len(mean)) if x is None else np.asarray(x)[: len(mean)]
    if len(runs) > 1:
        low, high = band_of(runs)
        axis.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
    look = {"markevery": staggered(len(mean), *place)} | look
    axis.plot(x, mean, zorder=3, **look)

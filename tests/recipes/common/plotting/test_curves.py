import math

import numpy as np
import pytest

from recipes.common.plotting.curves import Curves, Line, Panel

ARMS = [
    {"scheme": "fixup", "depth": 2, "shares": [[0.5, 0.25], [0.5, 0.75]]},
    {"scheme": "rezero", "depth": 2, "shares": [[0.5, 0.5], [0.5, 0.5]]},
    {"scheme": "batch_norm", "depth": 2},
]
RESULTS = {"arms": ARMS, "config": {"depth": 2}}
PANEL = Panel(
    (Line("shares", label="share", first=1),),
    levels={"": 0, "half": 0.5},
    strips={"all": lambda results: (1, results["config"]["depth"])},
    only=lambda arm: "shares" in arm,
)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_legend_names_series_kinds_levels_and_strips():
    figure = Curves(PANEL)(RESULTS)
    (axis,) = figure.axes
    assert legend(figure) == ["Fixup", "ReZero", "share", "half", "all"]
    assert axis.lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.5]]
    # The strip begins where it should, whatever Matplotlib makes it of.
    assert axis.patches[0].get_window_extent().x0 == axis.transData.transform((1, 0))[0]
    assert all(tick.is_integer() for tick in axis.get_xticks())


def test_arms_that_are_not_drawn_have_no_panel():
    figure = Curves(PANEL, facet="depth")(RESULTS | {"arms": ARMS[2:]})
    assert figure is None
    figure = Curves(PANEL, facet="scheme", facet_title=str.upper)(RESULTS)
    assert [axis.get_title() for axis in figure.axes] == ["FIXUP", "REZERO"]
    # Titles say which is which.
    assert legend(figure) == ["share", "half", "all"]


LOSSES = [
    {"scheme": "fixup", "loss": [3.0, 2.0, 1.0], "runs": [[1.0, 2.0], [3.0]]},
    {"scheme": "rezero", "loss": [3.0, math.inf, 2.0], "runs": [[], []]},
]
RUNS = {"config": {"rates": [1, 2, 8]}, "arms": LOSSES}


def draw(lines, axes=None, levels=None, arms=LOSSES, **options):
    panel = Panel(lines, axes or {}, levels or {})
    return Curves(panel, **options)(RUNS | {"arms": arms})


def test_x_may_be_a_flag():
    figure = draw(Line("loss", x="rates"), {"xscale": "log2"})
    (axis,) = figure.axes
    assert [line.get_xdata().tolist() for line in axis.lines] == [[1, 2, 8]] * 2
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1", "2", "8"]
    assert not axis.get_xticks(minor=True).size
    assert legend(figure) == ["Fixup", "ReZero"]


def test_what_is_drawn_may_depend_on_flags():
    deepest = Panel(Line("shares"), only=lambda arm: arm["depth"] == max(arm["depths"]))
    arms = [ARMS[0], ARMS[1] | {"depth": 4}]
    figure = Curves(deepest)({"arms": arms, "config": {"depths": [2, 4]}})
    assert legend(figure) == ["ReZero"]


def test_ticks_do_not_run_into_each_other():
    many = Line(lambda arm: np.ones(20), x=lambda arm: np.arange(1, 21))
    (axis,) = draw(many, {"xscale": "log2"}).axes
    assert len(axis.get_xticks()) < 12


def test_short_logarithmic_axes_keep_their_minor_ticks():
    (axis,) = draw(Line("loss", x="rates"), {"xscale": "log2", "yscale": "log"}).axes
    assert axis.get_yticks(minor=True).size


def test_runs_may_end_early():
    (axis,) = draw(Line("runs", first=1)).axes
    (line,) = axis.lines
    assert line.get_xdata().tolist() == [1, 2]
    assert line.get_ydata().tolist() == [2, 2]


def test_a_line_may_mark_every_point():
    (axis,) = draw(Line("loss", look={"markevery": 1})).axes
    assert [line.get_markevery() for line in axis.lines] == [1, 1]


def test_levels_differ_in_their_dashes():
    figure = draw(Line("loss"), levels={"guess": 2.3, "bar": lambda results: 2.0})
    assert legend(figure) == ["Fixup", "ReZero", "guess", "bar"]
    *_, guess, bar = figure.axes[0].lines
    assert (guess.get_linestyle(), bar.get_linestyle()) == (":", "--")


@pytest.mark.parametrize("stagger", [False, True])
def test_earlier_series_show_behind_later_ones(stagger):
    (axis,) = draw(Line("loss"), stagger=stagger).axes
    first, last = axis.lines
    assert (first.get_markersize() > last.get_markersize()) == stagger
    assert (first.get_linewidth() > last.get_linewidth()) == stagger


def test_without_arms_there_is_no_figure():
    assert draw(Line("loss"), arms=[]) is None

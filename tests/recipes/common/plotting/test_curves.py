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

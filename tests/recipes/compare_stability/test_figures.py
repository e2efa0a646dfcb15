import numpy as np
import pytest
from matplotlib.image import imread

from recipes.common.experiment import reading as arms
from recipes.common.plotting import figure as plots
from recipes.common.plotting import panels, style
from recipes.compare_stability import figures
from recipes.compare_stability.figures.lines import cross_handle
from tests.marks import mostly_slow

SMALL = {"schemes": ("unnormalized", "batch_norm", "fixup"), "depths": (22, 302)}


def always(*_):
    return 0


def draw(results, path):
    return plots.draw_all(figures.ALL, results, path)


def check(drawn):
    for _, path in drawn:
        image = imread(path)[..., :3]
        assert min(image.shape[:2]) > 150, path
        # Neither blank nor all ink.
        assert 0.01 < np.mean(image.min(axis=-1) < 0.9) < 0.9, path


@pytest.mark.slow
def test_every_figure_is_written(make_results, tmp_path):
    drawn = draw(make_results(**SMALL), tmp_path / "new")
    assert [figure for figure, _ in drawn] == list(figures.ALL)
    assert all(path == tmp_path / "new" / f"{f.name}.png" for f, path in drawn)
    check(drawn)


@pytest.mark.filterwarnings("error")
@mostly_slow(
    "changes",
    [
        {"schemes": ("fixup",), "depths": (22,), "seeds": (0,)},
        {"schemes": ("unnormalized",), "depths": (302,), "seeds": (0,)},
        {"schemes": ("fixup", "rezero"), "depths": (22,), "diverges": always},
        {"schemes": ("mine", "yours"), "depths": (4,), "epochs": 1},
        {"schemes": ("fixup",), "depths": (22,), "learning_rates": (0.03,)},
    ],
    quick=2,
    ids=["one of each", "overflow", "all diverged", "one block", "one rate"],
)
def test_unusual_results_are_drawn(make_results, tmp_path, changes):
    drawn = draw(make_results(**changes), tmp_path)
    assert len(drawn) == len(figures.ALL)
    check(drawn)


@pytest.mark.slow
def test_many_schemes_and_depths(make_results, tmp_path):
    results = make_results(
        schemes=("fixup", *(f"a_scheme_with_a_long_name_{i}" for i in range(9))),
        depths=(4, 6, 8, 10, 12, 14),
        learning_rates=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
        seeds=(0,),
    )
    check(draw(results, tmp_path))


def test_deepest_network_always_has_a_panel():
    depths = list(range(10, 110, 10))
    picked = figures.variance_growth.lines.pick_depths(depths)
    assert len(picked) == 4 and (picked[0], picked[-1]) == (10, 100)


@pytest.mark.parametrize(
    "kinds, expected",
    [
        (("train",), {"variance_growth", "gradient_norms", "training_curves"}),
        (("map",), {"learning_rate_map"}),
        ((), set()),
    ],
)
def test_figure_without_data_is_left_out(make_results, tmp_path, kinds, expected):
    results = make_results(schemes=("fixup",), depths=(22,), kinds=kinds)
    assert {figure.name for figure, _ in draw(results, tmp_path)} == expected


def test_null_and_nonfinite_fields(make_results, tmp_path):
    results = make_results(schemes=("fixup", "rezero"), depths=(22,))
    first, second, third, *_ = arms.select(results, "train", "fixup")
    first["initial"] = None
    second["initial"]["predicted"] = None
    second["initial"]["branch_gradient_norms"] = None
    third["epochs"][2] = dict.fromkeys(third["epochs"][2]) | {"train_loss": "inf"}
    check(draw(results, tmp_path))


def lines(axis):
    return [line for line in axis.lines if len(line.get_xdata()) > 1]


def test_measured_and_predicted_growth_are_drawn(make_results):
    results = make_results(schemes=("batch_norm",), depths=(22,), seeds=(0,))
    axis = figures.variance_growth.draw(results).axes[0]
    measured, predicted = lines(axis)
    assert predicted.get_linestyle() == "--" and predicted.get_color() == "black"
    np.testing.assert_allclose(predicted.get_ydata(), np.arange(11) + 1.0)
    expected = results["arms"][-1]["initial"]["mean_square"]
    np.testing.assert_allclose(measured.get_ydata(), expected)
    assert axis.get_yscale() == "log"


def test_diverged_seeds_are_named_and_crossed(make_results):
    results = make_results(schemes=("unnormalized",), depths=(302,))
    figure = figures.training_curves.draw(results)
    legend = figure.axes[1].get_legend().get_texts()
    assert "diverged (3 of 3 seeds)" in legend[0].get_text()
    assert "x" in [line.get_marker() for line in figure.axes[0].lines]


def test_stable_region_is_below_the_loss_of_guessing(make_results):
    results = make_results(schemes=("fixup",), depths=(22,), seeds=(0,))
    runs = arms.select(results, "map")
    runs[0]["epochs"][-1]["train_loss"] = 2.31
    rates = [run["learning_rate"] for run in runs]
    cells = figures.learning_rate_map._cells(results, "fixup", [22], rates)
    assert [cells[0, i][2] for i in range(5)] == [False, True, True, True, False]


@pytest.mark.parametrize("length", [5, 30, 300])
def test_the_legend_fits_into_the_figure(length):
    figure, _ = style.new_figure(1, 1)
    panels.legend_below(figure, [cross_handle("x" * length)] * 5)
    (legend,) = figure.legends
    width = legend.get_window_extent(figure.canvas.get_renderer()).width
    assert width <= figure.bbox.width or legend._ncols == 1
    # Short entries stand side by side.
    assert legend._ncols == 5 or length > 5

import math

import numpy as np
import pytest

from recipes.common.experiment import reading as arms
from recipes.compare_stability import summary
from recipes.compare_stability.reading import chance_loss


def row_of(results, scheme, depth):
    (row,) = [
        row
        for row in summary.summarize(results)
        if (row["scheme"], row["depth"]) == (scheme, depth)
    ]
    return row


def test_numbers_agree_with_the_arms(make_results):
    results = make_results()
    row = row_of(results, "scaled_residual", 74)
    runs = arms.select(results, "train", "scaled_residual", 74)
    accuracy = [run["epochs"][-1]["test_accuracy"] for run in runs]
    assert row["test_accuracy"] == pytest.approx(np.mean(accuracy))
    assert row["test_accuracy_std"] == pytest.approx(np.std(accuracy, ddof=1))
    growth = [
        r["initial"]["mean_square"][-1] / r["initial"]["mean_square"][0] for r in runs
    ]
    assert row["growth"] == pytest.approx(np.mean(growth))
    assert row["predicted_growth"] == pytest.approx((1 + 1 / 36) ** 36)
    assert (row["seeds"], row["num_diverged"], row["trained"]) == (3, 0, True)


def test_rows_go_by_depth_then_in_the_order_of_the_flag(make_results):
    schemes = ("rezero", "fixup", "batch_norm")
    results = make_results(schemes=schemes, depths=(74, 22), kinds=("train",))
    results["arms"].reverse()
    rows = summary.summarize(results)
    assert [(row["depth"], row["scheme"]) for row in rows] == [
        (depth, scheme) for depth in (22, 74) for scheme in schemes
    ]


def test_diverged_seeds_are_counted_and_left_out(make_results):
    results = make_results(schemes=("fixup",), depths=(22,))
    run = arms.select(results, "train")[0]
    run["diverged"] = {"step": 7, "epoch": 3, "reason": "loss is not finite"}
    run["epochs"][-1]["test_accuracy"] = 0.0
    row = row_of(results, "fixup", 22)
    assert (row["num_diverged"], row["diverged_steps"]) == (1, [7])
    assert row["test_accuracy"] > 0.5 and not row["trained"]
    assert summary.format_cell(row, "diverged") == "1 of 3"


def test_overflow_is_infinite_growth(make_results):
    row = row_of(make_results(), "unnormalized", 302)
    assert math.isinf(row["growth"]) and math.isinf(row["gradient_norm"])
    assert summary.format_cell(row, "growth") == "overflow"
    # What is compared is what is finite on both sides.
    assert 1 <= row["disagreement"] < 3 and row["disagreement_block"] < 128


def test_a_network_that_guesses_has_not_trained(make_results):
    results = make_results(schemes=("batch_norm",), depths=(22,))
    for run in arms.select(results, "train"):
        run["epochs"][-1]["train_loss"] = 2.303
    assert not row_of(results, "batch_norm", 22)["trained"]


def test_chance_loss():
    assert chance_loss({"num_classes": 3}) == math.log(3)
    assert chance_loss({"config": {"dataset": "mnist1d"}}) is None


def test_only_a_map_gives_its_best_rate(make_results):
    results = make_results(schemes=("fixup",), depths=(22,), kinds=("map",))
    row = row_of(results, "fixup", 22)
    losses = {
        run["learning_rate"]: run["epochs"][-1]["train_loss"]
        for run in results["arms"]
        if not run["diverged"]
    }
    assert row["learning_rate"] == min(losses, key=losses.get)
    assert row["seeds"] == 0 and summary.format_cell(row, "diverged") == "–"


def test_table_fits_a_terminal(make_results):
    rows = summary.summarize(make_results())
    lines = summary.format_table(rows).splitlines()
    assert max(map(len, lines)) <= 100
    for row, line in zip(rows, [x for x in lines[2:] if x], strict=True):
        assert row["label"] in line
        assert summary.format_cell(row, "test_accuracy") in line


def test_table_without_rows_has_a_heading():
    assert "scheme" in summary.format_table([])


def test_null_fields_are_unknown(make_results):
    results = make_results(schemes=("fixup",), depths=(22,), kinds=("train",))
    for run in results["arms"]:
        run |= {"initial": None, "peak_memory_mb": None, "steps_per_second": None}
        run["epochs"][-1] = dict.fromkeys(run["epochs"][-1])
    row = row_of(results, "fixup", 22)
    for key in ("growth", "gradient_norm", "peak_memory_mb", "test_accuracy"):
        assert math.isnan(row[key]) and summary.format_cell(row, key) == "–"

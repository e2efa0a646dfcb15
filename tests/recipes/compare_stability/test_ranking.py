import math

import pytest

from recipes.compare_stability import ranking
from recipes.compare_stability.comparison import next_rate


@pytest.mark.parametrize(
    ("rates", "best", "expected"),
    [
        ((0.01, 0.03, 0.1, 0.3), 0.3, 1.0),
        ((0.01, 0.03, 0.1, 0.3), 0.01, 0.003),
        ((0.003, 0.01, 0.03), 0.003, 0.001),
        ((0.01, 0.03, 0.1, 0.3), 0.1, None),
        ((0.03, 0.3), 0.3, 3.0),
        ((0.1,), 0.1, None),
    ],
)
def test_rates_go_on_in_the_same_steps(rates, best, expected):
    assert next_rate(rates, best) == expected


def row(scheme, accuracy, std=0.01, depth=10, lost=0):
    return {
        "scheme": scheme,
        "depth": depth,
        "seeds": 5,
        "num_diverged": lost,
        "test_accuracy": accuracy,
        "test_accuracy_std": std,
        "learning_rate": 0.1,
        "steps_per_second": 200.0,
        "peak_memory_mb": 512.0,
    }


def arm(scheme, rate, loss, depth=10):
    lost = {"step": 3, "reason": "nan"} if math.isinf(loss) else None
    return {
        "kind": "map",
        "scheme": scheme,
        "depth": depth,
        "learning_rate": rate,
        "diverged": lost,
        "epochs": [] if lost else [{"train_loss": loss}],
    }


RESULTS = {
    "num_classes": 10,
    "arms": [
        arm("fixup", 0.01, 2.0),
        arm("fixup", 0.1, 1.0),
        arm("fixup", 1.0, math.inf),
        arm("rezero", 0.1, 2.0),
        arm("batch_norm", 0.1, 2.31),
    ],
}


def test_schemes_that_do_not_differ_share_a_place():
    rows = [
        row("rezero", 0.60),
        row("fixup", 0.603),
        row("batch_norm", 0.5),
        row("fixup", 0.9, depth=30),
    ]
    found = ranking.ranking(RESULTS, rows)
    assert [(x["depth"], x["place"], x["scheme"]) for x in found] == [
        (10, 1, "fixup"),
        (10, 1, "rezero"),
        (10, 3, "batch_norm"),
        (30, 1, "fixup"),
    ]
    assert found[0]["step"] == "5.00" and found[0]["memory"] == "512"
    assert found[0]["test_accuracy"] == "60.3 ± 1.0"


def test_lost_seeds_count():
    rows = [row("fixup", 0.5), row("rezero", 0.9, lost=4), row("x", math.nan, lost=5)]
    found = ranking.ranking(RESULTS, rows)
    assert [x["scheme"] for x in found] == ["fixup", "rezero", "x"]


def test_rates_that_train():
    stable = ranking.stable_rates
    assert stable(RESULTS, "fixup", 10) == "0.01- to 0.1"
    assert stable(RESULTS, "rezero", 10) == "0.1- to 0.1+"
    # At the loss of a guess nothing is learned.
    assert stable(RESULTS, "batch_norm", 10) == "none"


def test_table_for_a_terminal():
    text = ranking.format_table(ranking.ranking(RESULTS, [row("fixup", 0.6)]))
    assert "Fixup" in text and "0.01- to 0.1" in text

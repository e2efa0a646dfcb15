"""Degradation, with networks whose errors are known beforehand."""

import numpy as np
import pytest

from recipes import degradation
from recipes.degradation import EXPERIMENT, Settings
from tests.marks import on_torch


class FakeRuns:
    """Errors that grow with the depth of plain networks and fall with residual ones."""

    def __init__(self, build, data, batch_size, seed, scheme, jit_compile):
        self.model = build(seed)
        names = [layer.name for layer in self.model.layers]
        self.plain = any(getattr(x, "plain", False) for x in _blocks(self.model))
        self.depth = sum(getattr(layer, "depth", 0) for layer in self.model.layers)
        assert self.depth, names

    def run(self, learning_rate, seed, epochs):
        error = 0.4 + (0.01 if self.plain else -0.005) * self.depth + 0.001 * seed
        curve = np.linspace(0.9, error, epochs)
        found = [{"train_accuracy": 1 - e, "test_accuracy": 0.9 - e} for e in curve]
        return found, None


def _blocks(model):
    for layer in model.layers:
        yield getattr(layer, "block", layer)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(degradation, "Runs", FakeRuns)


@pytest.mark.slow
def test_what_is_promised_of_every_experiment_holds(fake, check_experiment):
    content = check_experiment(EXPERIMENT, "--num_blocks=8,2", "--epochs=6")
    assert [claim["held"] for claim in content["claims"]] == [True] * 4
    assert [arm["num_blocks"] for arm in content["arms"]] == [2, 8] * 3
    deep = {a["network"]: a for a in content["arms"] if a["num_blocks"] == 8}
    assert deep["plain"]["train_error"] == pytest.approx(0.481)
    # 0.9, 0.7922, 0.6844, 0.5766, 0.4688.
    assert deep["fixup"]["epochs_to_target"] == [5, 5, 5]
    assert "+6.0 ± 0.1 points" in content["claims"][0]["evidence"]


def test_errors_of_a_run_that_diverged_are_those_of_failure():
    assert degradation.errors([{"a": 0.75}], "a", 3) == [0.25, 1.0, 1.0]


def test_target_that_is_not_reached_is_a_dash(fake):
    arm = degradation.measure(Settings(target=0.01), "plain", 2)
    assert arm["epochs_to_target"] == [None] * 3
    config = {"target": 0.01, "num_blocks": [2]}
    row = {"network": "plain", "num_blocks": 2} | arm
    (table,) = degradation.tables({"arms": [row], "config": config})
    assert table.cells()[0][-1] == "–, –, –"


def test_one_depth_is_refused():
    with pytest.raises(ValueError, match="two depths"):
        Settings(num_blocks=(4,))


@on_torch
def test_networks_are_trained(check_experiment):
    arguments = ("--num_blocks=1,2", "--units=16", "--epochs=2", "--runs=2")
    content = check_experiment(EXPERIMENT, *arguments)
    for arm in content["arms"]:
        assert 0.3 < arm["train_error"] < 0.95
        assert all(np.diff(arm["train_errors"]) < 0)

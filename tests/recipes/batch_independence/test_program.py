"""Splits of a batch, on networks of one block."""

import numpy as np
import pytest

import fixinit
from recipes.batch_independence import __main__ as batch_independence
from recipes.batch_independence.__main__ import EXPERIMENT, SPLITS, Settings
from recipes.common.data.datasets import Dataset
from tests.marks import mostly_slow

SETTINGS = Settings(batch_size=8, parts=2, steps=3, company_sizes=(2,))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 8)).astype("float32")
    y = (x @ rng.standard_normal((8, 3))).argmax(1).astype("int32")
    return Dataset("points", x[:32], y[:32], x[32:], y[32:], 3)


def builder(scheme):
    def build(seed):
        return fixinit.models.ResidualMLP(
            1, 8, scheme=scheme, input_shape=(8,), classes=3, seed=seed
        )

    return build


def distance(data, scheme, split):
    a, b = (
        batch_independence.trajectory(SETTINGS, data, builder(scheme), name)
        for name in ("whole", split)
    )
    assert len(a) == SETTINGS.steps + 1 and np.all(a[0] == b[0])
    return np.linalg.norm(a[-1] - b[-1]) / np.linalg.norm(a[-1] - a[0])


@mostly_slow("split", SPLITS, quick=1)
def test_splits_change_nothing_without_normalization(data, split):
    assert distance(data, "fixup", split) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("split", ["accumulated", "data_parallel"])
def test_splits_train_another_network_with_batch_norm(data, split):
    assert distance(data, "batch_norm", split) > 0.01


def test_company_matters_with_batch_norm_alone(data):
    model = builder("batch_norm")(0)
    # Fixup's head starts at zero, and with it all outputs.
    free = builder("scaled_residual")(0)
    kernel = free.get_layer("head").kernel
    kernel.assign(np.random.default_rng(1).standard_normal(kernel.shape))
    kernel = model.get_layer("head").kernel
    kernel.assign(np.random.default_rng(1).standard_normal(kernel.shape))
    before = model.get_weights()
    coupled = batch_independence.modes(SETTINGS, data, model)
    assert coupled["company"][0] > 0.01 and coupled["changed"][0] > 0
    independent = batch_independence.modes(SETTINGS, data, free)
    assert independent["company"][0] < 1e-5 and independent["changed"] == [0]
    for a, b in zip(before, model.get_weights(), strict=True):
        assert a.shape == b.shape


@pytest.mark.slow
def test_what_is_promised_of_every_experiment_holds(monkeypatch, check_experiment):
    def trajectory(settings, data, build, split):
        weights = np.arange(1.0, settings.steps + 2)[:, None] * np.ones(4)
        is_coupled = "batch_norm" in build(0).name
        return weights * (1 + (0.5 if is_coupled else 1e-7) * (split == "accumulated"))

    class FakeRuns:
        def __init__(self, build, data, batch_size, seed, scheme):
            self.model = build(seed)
            is_coupled = "batch_norm" in self.model.name
            self.accuracy = 0.1 if is_coupled and batch_size == 1 else 0.5

        def run(self, rate, seed, epochs):
            return [{"train_accuracy": self.accuracy}] * epochs, None

    monkeypatch.setattr(batch_independence, "trajectory", trajectory)
    monkeypatch.setattr(batch_independence, "Runs", FakeRuns)
    small = ("--num_blocks=1", "--units=8", "--company_sizes=50", "--steps=3")
    content = check_experiment(EXPERIMENT, "--schemes=batch_norm,rezero", *small)
    assert len(content["claims"]) == 4
    assert content["claims"][3]["held"]
    assert "from 50.0 % to 10.0 %" in content["claims"][3]["evidence"]


def test_unequal_parts_are_refused():
    with pytest.raises(ValueError, match="--parts must divide --batch_size=32"):
        Settings(parts=5)


@pytest.mark.slow
def test_networks_are_trained(check_experiment):
    arguments = ("--quick", "--schemes=fixup,batch_norm", "--units=16", "--steps=4")
    content = check_experiment(EXPERIMENT, *arguments)
    assert [claim["held"] for claim in content["claims"]] == [True] * 4

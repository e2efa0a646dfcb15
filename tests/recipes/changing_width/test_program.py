"""Networks that change their width: shapes, parameters, growth."""

import keras
import numpy as np
import pytest

from recipes.changing_width import __main__ as changing_width
from recipes.changing_width import networks
from recipes.changing_width.__main__ import EXPERIMENT, Settings
from recipes.changing_width.networks import WAYS
from recipes.common.data.datasets import Dataset
from tests.marks import mostly_slow

SMALL = Settings(num_blocks=3, units=4, draws=2, runs=2, epochs=2)


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).standard_normal((64, 40)).astype("float32")
    return Dataset("noise", x, np.zeros(64, "int32"), x, np.zeros(64, "int32"), 10)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_ends_at_four_times_the_width(way, data):
    model, taps = networks.build(SMALL, way, data, seed=0)
    shapes = [tap.shape[-1] for tap in taps]
    assert shapes == networks.widths(SMALL, way)
    assert (shapes[0], shapes[-1]) == (4, 16)
    projections = [v for v in model.weights if "projection" in v.path]
    assert len(projections) == (2 if way.startswith("projection") else 0)
    again, _ = networks.build(SMALL, way, data, seed=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@mostly_slow("way", WAYS, quick=2)
def test_growth_is_the_closed_form(way, data):
    settings = Settings(num_blocks=6, units=128)
    squares = []
    for seed in range(4):
        model, taps = networks.build(settings, way, data, seed)
        outputs = keras.Model(model.input, taps)(data.x_train)
        squares.append([float(keras.ops.mean(keras.ops.square(h))) for h in outputs])
    growth = np.mean([np.array(s) / s[0] for s in squares], axis=0)
    # A layer of width n scatters by about sqrt(5/n) in a forward pass of ReLU nets;
    # over 12 layers of at least 128 units and 4 networks that is 0.35.
    np.testing.assert_allclose(growth, networks.predicted(settings, way), rtol=0.35)


class FakeRuns:
    """Networks with more parameters are better, and the first diverges."""

    def __init__(self, build, data, batch_size, seed):
        self.size = build(seed).count_params()

    def run(self, learning_rate, seed, epochs):
        accuracy = 0.3 + self.size / 1e5 + 0.001 * seed
        epoch = {"train_loss": 1 - accuracy, "test_accuracy": accuracy}
        return [epoch] * epochs, None


@pytest.mark.slow
def test_what_is_promised_of_every_experiment_holds(monkeypatch, check_experiment):
    monkeypatch.setattr(changing_width, "Runs", FakeRuns)
    arguments = ("--num_blocks=3", "--units=4", "--draws=2", "--runs=2", "--epochs=2")
    content = check_experiment(EXPERIMENT, *arguments)
    assert [arm["way"] for arm in content["arms"]] == list(WAYS)
    sizes = {arm["way"]: arm["parameters"] for arm in content["arms"]}
    # Two projections of 4 to 8 and of 8 to 16 units.
    assert sizes["projection"] - sizes["zero_padding"] == 4 * 8 + 8 * 16
    assert content["claims"][1]["held"]


def test_a_run_that_diverged_counts_as_nothing_learned():
    arm = {"test_accuracy": [[0.5, 0.6], [0.4]]}
    assert changing_width.final(arm).tolist() == [0.6, 0.0]


def test_blocks_that_do_not_make_three_stages_are_refused():
    with pytest.raises(ValueError, match="divisible by 3"):
        Settings(num_blocks=8)


@pytest.mark.slow
def test_networks_are_trained(check_experiment):
    arguments = ("--quick", "--units=8", "--num_blocks=3", "--learning_rate=0.05")
    content = check_experiment(EXPERIMENT, *arguments)
    for arm in content["arms"]:
        assert np.mean([run[-1] for run in arm["test_accuracy"]]) > 0.15

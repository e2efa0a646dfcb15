import keras
import numpy as np
import pytest

from recipes.common.data.datasets import Dataset
from recipes.compare_stability.settings import Settings
from recipes.compare_stability.trainer import Trainer


def _dataset():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    return Dataset("some", x[:64], y[:64], x[64:], y[64:], num_classes=2)


def _trainer(scheme="fixup", depth=6, **settings):
    settings = Settings(units=8, depths=(depth,), batch_size=16, **settings)
    return Trainer(settings, _dataset(), scheme, depth)


def _without_cost(arm):
    cost = ("steps_per_second", "peak_memory_mb", "seconds")
    epochs = [{k: v for k, v in e.items() if k != "seconds"} for e in arm["epochs"]]
    return {**{k: v for k, v in arm.items() if k not in cost}, "epochs": epochs}


@pytest.fixture(scope="module")
def trained():
    """An arm, then one of a map, then the first again, all with one trainer."""
    trainer = _trainer("batch_norm")
    first = trainer.train("a", "train", 0.1, seed=0, epochs=3)
    other = trainer.train("b", "map", 0.5, seed=1, epochs=1)
    return first, other, trainer.train("a", "train", 0.1, seed=0, epochs=3)


@pytest.mark.slow
def test_arm_holds_what_the_schema_asks_for(trained):
    arm, *_ = trained
    assert arm["num_blocks"] == 2 and arm["parameters"] > 0
    assert arm["diverged"] is None and arm["steps_per_second"] > 0
    assert [epoch["epoch"] for epoch in arm["epochs"]] == [1, 2, 3]
    assert arm["epochs"][2]["train_loss"] < arm["epochs"][0]["train_loss"]
    assert all(epoch["gradient_norm"] > 0 for epoch in arm["epochs"])
    initial = arm["initial"]
    assert initial["blocks"] == ["input", "block1", "block2"]
    assert len(initial["variance"]) == len(initial["mean_square"]) == 3
    assert initial["predicted"][0] == initial["mean_square"][0]
    assert len(initial["branch_gradient_norms"]) == 2
    assert 0 < initial["branch_gradient_norms"][0] < initial["gradient_norm"]


@pytest.mark.slow
@pytest.mark.every_backend
def test_result_does_not_depend_on_the_arms_before(trained):
    first, _, again = trained
    assert _without_cost(first) == _without_cost(again)


@pytest.mark.slow
def test_another_trainer_gives_the_same_result(trained):
    keras.utils.set_random_seed(123)
    trainer = _trainer("batch_norm", seeds=(2, 1, 0))
    arm = trainer.train("a", "train", 0.1, seed=0, epochs=3)
    assert _without_cost(arm) == _without_cost(trained[0])


def test_map_arm_is_not_measured(trained):
    arm = trained[1]
    assert arm["initial"] is None
    assert arm["epochs"][0]["gradient_norm"] is None


@pytest.mark.every_backend
def test_diverged_arm_is_stopped_and_the_next_one_is_not_harmed():
    trainer = _trainer("unnormalized", divergence_loss=50.0)
    arm = trainer.train("a", "train", 1e6, seed=0, epochs=5)
    assert arm["diverged"]["epoch"] == 1 and arm["epochs"] == []
    # The first step is harmless: its loss is that of the initialization.
    assert arm["diverged"]["step"] == 2
    assert arm["steps_per_second"] is None
    arm = trainer.train("b", "train", 0.001, seed=0, epochs=2)
    assert arm["diverged"] is None and len(arm["epochs"]) == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_scalars_train_at_a_tenth_of_the_rate(optimizer):
    trainer = _trainer(optimizer=optimizer)
    trainer.runs.reset(0.02, seed=0)
    found = trainer.runs.model.optimizer.optimizers
    rates = [float(keras.ops.convert_to_numpy(g.learning_rate)) for g in found]
    np.testing.assert_allclose(rates, [0.02, 0.002], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mixed_precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(mixed_precision):
    trainer = _trainer(mixed_precision=mixed_precision)
    assert trainer.runs.model.get_layer("block1").compute_dtype == mixed_precision[6:]
    first = trainer.train("a", "train", 0.1, seed=0, epochs=2)
    again = trainer.train("a", "train", 0.1, seed=0, epochs=2)
    assert first["diverged"] is None
    assert _without_cost(first) == _without_cost(again)


def test_prediction_only_for_blocks_that_it_describes():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 16, 1)).astype("float32"), np.zeros(8, "int32")
    data = Dataset("some", x, y, x, y, num_classes=2)
    settings = Settings(model="resnet1d", units=4, depths=(8,), batch_size=4)
    arm = Trainer(settings, data, "fixup", 8).train("a", "train", 0.1, 0, epochs=0)
    assert arm["initial"]["predicted"] is None
    assert len(arm["initial"]["mean_square"]) == 4

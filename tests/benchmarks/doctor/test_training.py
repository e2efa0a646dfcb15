"""How good a network is, whatever its loss and the form of its targets."""

import math

import keras
import numpy as np
import pytest

from benchmarks.doctor import training
from benchmarks.doctor.training import Truth

CLASSES = np.array([0, 2, 1, 2])
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
SCORES = np.array([[3, 1, 0], [0, 1, 2], [5, 1, 1], [0, 0, 9.0]])  # three are right
BINARY = np.array([[0], [1], [1], [0.0]])


@pytest.mark.parametrize("y", [CLASSES, CLASSES[:, None], CLASSES * 1.0, ONE_HOT])
def test_accuracy_of_classes_does_not_depend_on_how_they_are_written(y):
    assert Truth.of(y).quality(SCORES, y, logits=False) == 0.75


def test_one_unit_for_several_classes_is_right_where_it_is_near_them():
    outputs = np.array([[0.2], [1.8], [1.7], [1.0]])
    assert Truth.of(CLASSES).quality(outputs, CLASSES, logits=False) == 0.5


@pytest.mark.parametrize(("logits", "accuracy"), [(False, 1.0), (True, 0.75)])
def test_one_unit_for_two_classes_is_parted_by_its_middle(logits, accuracy):
    outputs = np.array([[0.3], [0.7], [0.9], [-2]])
    assert Truth.of(BINARY).quality(outputs, BINARY, logits) == accuracy


def test_two_units_may_take_the_place_of_one():
    outputs = np.array([[1, 0], [0, 1], [0, 1], [0, 1.0]])
    assert Truth.of(BINARY).quality(outputs, None, logits=False) == 0.75


def test_several_labels_count_one_by_one():
    y = np.array([[1, 1, 0], [0, 0, 0.0]])
    outputs = np.array([[0.9, 0.1, 0.2], [0.1, 0.6, 0.3]])
    assert Truth.of(y).quality(outputs, y, logits=False) == pytest.approx(4 / 6)


def test_r_squared_is_that_of_rescaled_targets():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(50, 2))
    outputs = y + 0.5 * rng.normal(size=y.shape)
    quality = Truth.of(y).quality(outputs, y, logits=False)
    assert quality == pytest.approx(0.75, abs=0.1)
    rescaled = Truth.of(y).quality(1e4 * outputs + 7, 1e4 * y + 7, logits=False)
    assert rescaled == pytest.approx(quality)


def test_the_mean_explains_nothing():
    y = np.arange(10.0)[:, None] / 3
    assert Truth.of(y).quality(np.full_like(y, y.mean()), y, False) == 0


def test_what_is_not_finite_is_worst():
    outputs = np.where(SCORES > 8, np.nan, SCORES)
    assert Truth.of(CLASSES).quality(outputs, CLASSES, False) == -math.inf


def test_of_two_that_end_alike_the_faster_is_better():
    assert training.is_better((0.9, 0.5), (0.8, 0.7))
    assert training.is_better((1.0, 0.9), (1.0, 0.8))
    assert not training.is_better((1.0, 0.8), (1.0, 0.8))
    assert not training.is_better((-math.inf, -math.inf), (-math.inf, -math.inf))


def test_batches_are_full_and_take_all_samples_in_turn():
    x = np.arange(10)
    drawn, targets = training.batches(x, -x, batch=4, steps=5, seed=0)
    assert len(drawn) == 20
    np.testing.assert_array_equal(targets, -drawn)
    for turn in (drawn[:10], drawn[10:]):
        assert sorted(turn) == list(x)
    assert list(drawn[:10]) != list(drawn[10:])


def test_trains_so_many_steps_and_judges_the_end_and_the_way():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.linspace(-1, 1, 12, dtype="float32")[:, None]
    y = 2 * x + 1
    end, way = training.learning(model, x, y, Truth.of(y), batch=4, steps=22, seed=0)
    assert int(model.optimizer.iterations) == 22
    assert way < end
    assert end == pytest.approx(Truth.of(y).quality(model.predict(x), y, False))


@pytest.mark.parametrize(
    ("loss", "logits"),
    [
        ("mse", False),
        (keras.losses.BinaryCrossentropy(from_logits=True), True),
        (keras.losses.SparseCategoricalCrossentropy(), False),
    ],
)
def test_knows_whether_a_loss_takes_logits(loss, logits):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", loss)
    assert training.takes_logits(model) is logits

import keras

from tests.diagnostics.doctor.rules.programs import (
    NUMBERS,
    X,
    compiled,
    found,
    layers,
    mended,
)
from tests.marks import ON_TORCH

pytestmark = ON_TORCH

FAR = 5 * X + 20


def normalized(momentum=0.99):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.BatchNormalization(momentum=momentum, name="bn"),
            layers.Dense(16, "relu"),
            layers.Dense(1),
        ]
    )
    return compiled(model, "mse")


def test_statistics_that_training_has_not_reached():
    model = normalized(momentum=0.9999)
    # What training brings up to date is no finding before it.
    assert not found("normalization_batch", model, FAR, NUMBERS)
    model.train_on_batch(FAR, NUMBERS)
    after, _, _ = mended(
        "normalization_batch", model, FAR, NUMBERS, severity="warning", where="bn"
    )
    assert after.get_layer("bn").momentum == 0.9


def test_statistics_of_the_data_are_no_finding():
    model = normalized(momentum=0.5)
    for _ in range(10):
        model.train_on_batch(FAR, NUMBERS)
    assert not found("normalization_batch", model, FAR, NUMBERS)


def test_frozen_statistics_as_they_are_made():
    model = normalized()
    model.get_layer("bn").trainable = False
    after, _, _ = mended("normalization_batch", model, FAR, NUMBERS, severity="error")
    assert after.get_layer("bn").trainable
    model.get_layer("bn").trainable = False
    assert not found("normalization_batch", model, X, NUMBERS)

import keras
import pytest

from tests.diagnostics.doctor.rules.programs import (
    NUMBERS,
    X,
    compiled,
    found,
    layers,
    mended,
    net,
)
from tests.marks import ON_TORCH

pytestmark = ON_TORCH

regularizers = keras.regularizers


def regularized(**options):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(16, "relu", name="hidden", **options),
            layers.Dense(1),
        ]
    )
    return compiled(model, "mse")


def test_penalties_of_weights_that_outweigh_the_loss():
    model = regularized(kernel_regularizer=regularizers.L2(100.0))
    (finding,) = found("regularization", model, X, NUMBERS)
    assert finding.value > 100
    mended("regularization", model, X, NUMBERS, severity="error")
    healthy = regularized(kernel_regularizer=regularizers.L2(1e-3))
    assert not found("regularization", healthy, X, NUMBERS)


def test_penalties_of_activations_that_outweigh_the_loss():
    model = regularized(activity_regularizer=regularizers.L1(200.0))
    after, _, _ = mended(
        "regularization", model, X, NUMBERS, severity="error", where="hidden"
    )
    assert after.get_layer("hidden").activity_regularizer is None
    healthy = regularized(activity_regularizer=regularizers.L1(1e-4))
    assert not found("regularization", healthy, X, NUMBERS)


@pytest.mark.parametrize("decay, severity", [(200.0, "error"), (20.0, "warning")])
def test_decay_of_much_of_a_weight_in_each_step(decay, severity):
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=decay)
    model = net(layers.Dense(1), loss="mse", optimizer=optimizer)
    (finding,) = found("regularization", model, X, NUMBERS)
    assert finding.severity == severity
    names = {"model": model, "keras": keras}
    exec(finding.remedy, names)
    assert names["model"].optimizer.weight_decay == 0.01
    assert not found("regularization", names["model"], X, NUMBERS)


def test_dropout_of_nearly_all_units():
    mended(
        "regularization",
        net(layers.Dropout(0.95, name="drop"), layers.Dense(1), loss="mse"),
        X,
        NUMBERS,
        where="drop",
    )
    model = net(layers.Dropout(0.8), layers.Dense(1), loss="mse")
    assert not found("regularization", model, X, NUMBERS)

import keras
import numpy as np
import pytest

from tests.diagnostics.doctor.rules.programs import (
    RNG,
    compiled,
    found,
    layers,
    mended,
)
from tests.marks import ON_TORCH

pytestmark = ON_TORCH

STEPS = RNG.normal(size=(16, 40, 2)).astype("float32")
LAST = (STEPS[:, -1, :1] > 0).astype("float32")
Normal, Constant = keras.initializers.RandomNormal, keras.initializers.Constant


def recurrent(layer):
    model = keras.Sequential([keras.Input((40, 2)), layer, layers.Dense(1, "sigmoid")])
    return compiled(model, "binary_crossentropy")


FORGETFUL = {
    "rnn": lambda: layers.SimpleRNN(
        16, recurrent_initializer=Normal(0.02), name="memory"
    ),
    "lstm": lambda: layers.LSTM(
        8, unit_forget_bias=False, bias_initializer=Constant(-1), name="memory"
    ),
    "gru": lambda: layers.GRU(8, bias_initializer=Constant(-2), name="memory"),
}


@pytest.mark.parametrize("name", FORGETFUL)
def test_gradients_that_vanish_within_few_steps(name):
    model = recurrent(FORGETFUL[name]())
    (finding,) = found("vanishing", model, STEPS, LAST)
    assert (finding.severity, finding.where) == ("warning", "memory")
    assert 1 <= finding.value < 7
    names = {"model": model, "keras": keras, "np": np}
    exec(finding.remedy, names)
    assert not found("vanishing", model, STEPS, LAST)


EXPLOSIVE = {"relu": 0.5, "linear": 0.3}


@pytest.mark.parametrize("activation", EXPLOSIVE)
def test_states_that_grow_with_every_step(activation):
    start = Normal(EXPLOSIVE[activation], seed=0)
    layer = layers.SimpleRNN(32, activation, recurrent_initializer=start, name="state")
    model = recurrent(layer)
    mended("exploding", model, STEPS, LAST, severity="error", where="state")


HEALTHY = {
    "lstm": layers.LSTM,
    "gru": layers.GRU,
    "rnn": layers.SimpleRNN,
    "backwards": lambda units: layers.GRU(units, go_backwards=True),
    "both ways": lambda units: layers.Bidirectional(layers.LSTM(units)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_recurrent_layers_as_keras_draws_them(name):
    model = recurrent(HEALTHY[name](8))
    findings = [
        finding
        for kind in ("vanishing", "exploding")
        for finding in found(kind, model, STEPS, LAST)
    ]
    assert not [finding for finding in findings if finding.severity != "note"]


def test_long_sequences_are_worth_a_note():
    x = np.concatenate([STEPS] * 5, axis=1)
    model = keras.Sequential([keras.Input((200, 2)), layers.LSTM(8), layers.Dense(1)])
    (finding,) = found("vanishing", compiled(model, "mse"), x, LAST)
    assert finding.severity == "note" and 7 < finding.value < 50

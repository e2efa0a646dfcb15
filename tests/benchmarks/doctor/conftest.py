"""A small faulty program, and a doctor who knows nothing but its disease."""

import types

import keras
import numpy as np
import pytest

REMEDY = """
config = model.get_config()
config["layers"][-1]["config"]["activation"] = "sigmoid"
model = keras.Sequential.from_config(config)
model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
"""


def program(activation):
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, activation, name="head")]
    )
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
    return model, x, (x[:, :1] > 0).astype("float32")


def finding(kind, remedy="", severity="error"):
    return types.SimpleNamespace(
        kind=kind,
        severity=severity,
        where="head",
        value=1.0,
        cause="The head has one unit.",
        remedy=remedy,
    )


@pytest.fixture
def doctor():
    """Sees a softmax over one unit, and that there are few samples, which is a note."""

    def doctor(model, x, y):
        found = [finding("batch", severity="note")] if len(x) < 100 else []
        if model.layers[-1].activation is keras.activations.softmax:
            found.insert(0, finding("last_activation", REMEDY))
        return found

    return doctor


@pytest.fixture
def faulty():
    return lambda: program("softmax")


@pytest.fixture
def repaired():
    return lambda: program("sigmoid")

"""The check in front of `fit`: what it prints, and that its remedies end."""

import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics import check
from tests.marks import slow_on_tensorflow

RNG = np.random.default_rng(0)


def program():
    x = RNG.uniform(0, 255, size=(96, 20)).astype("float32")
    y = (x.sum(axis=1, keepdims=True) > 2550).astype("float32")
    layers = [
        keras.layers.Dense(16, "tanh", name="hidden"),
        keras.layers.Dense(1, "softmax", name="head"),
    ]
    model = keras.Sequential([keras.Input((20,)), *layers])
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    return model, x, y


@slow_on_tensorflow
@pytest.mark.every_backend
def test_remedies_applied_as_printed_end_in_health(capsys):
    model, x, y = program()
    weights = model.get_weights()
    findings = check(model, x, y)
    kinds = [finding.kind for finding in findings]
    assert {"input_scale", "last_activation", "saturated"} <= set(kinds)
    printed = capsys.readouterr().out
    assert printed.startswith("error input_scale: ")
    assert all(finding.remedy.splitlines()[0] in printed for finding in findings[:2])
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    names = {"model": model, "x": x, "y": y}
    names |= {"keras": keras, "np": np, "fixinit": fixinit}
    for _ in range(4):
        findings = check(names["model"], names["x"], names["y"])
        claims = [f for f in findings if f.severity != "note" and f.remedy]
        if not claims:
            break
        exec(claims[0].remedy, names)
    capsys.readouterr()
    assert check(names["model"], names["x"], names["y"]) == []
    assert capsys.readouterr().out == ""
    history = names["model"].fit(names["x"], names["y"], epochs=12, verbose=0)
    assert history.history["loss"][-1] < 0.7 * history.history["loss"][0]


@slow_on_tensorflow
def test_as_many_samples_as_the_model_is_built_for():
    layers = [keras.layers.LSTM(4, stateful=True), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((5, 3), batch_size=8), *layers])
    model.compile("adam", "mse")
    x = RNG.normal(size=(40, 5, 3)).astype("float32")
    assert check(model, x, x[:, 0, :1]) == []


@slow_on_tensorflow
def test_sequential_models_are_built_as_fit_builds_them():
    x = RNG.normal(size=(64, 6)).astype("float32")
    made = []
    for asks in (True, False):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        if asks:
            assert check(model, x, x[:, :1]) == []
        model.fit(x, x[:, :1], batch_size=16, verbose=0, shuffle=False)
        made.append(model)
    for one, two in zip(*(model.get_weights() for model in made), strict=True):
        np.testing.assert_array_equal(one, two)
    # Built on batches of 16, one takes others.
    model = keras.Sequential([keras.layers.BatchNormalization(), *made[0].layers])
    model(x[:2])
    model.compile("adam", "mse")
    assert check(model, x, x[:, :1]) == []


class Counting(keras.Model):
    """A model with a `call` of its own that notes the sizes of its batches."""

    def __init__(self):
        super().__init__()
        self.dense, self.sizes = keras.layers.Dense(1), []

    def call(self, x):
        self.sizes.append(x.shape[0])
        return self.dense(x)


@slow_on_tensorflow
def test_models_of_ones_own_are_never_called_on_all_data():
    x = RNG.normal(size=(400, 6)).astype("float32")
    model = Counting()
    model.compile("adam", "mse")
    assert check(model, x, x[:, :1]) == []
    assert max(size or 0 for size in model.sizes) < 400

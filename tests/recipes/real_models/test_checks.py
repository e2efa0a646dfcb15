"""Each check finds what it looks for."""

import keras
import numpy as np
import pytest
from keras import layers

from recipes.common.training import conversion
from recipes.real_models import checks
from recipes.real_models.batches import batch


def network():
    x = inputs = keras.Input((8,))
    x = layers.Dense(8, name="stem")(x)
    h = layers.LayerNormalization(name="norm")(x)
    h = layers.Dense(16, "relu", bias_initializer="ones", name="first")(h)
    x = layers.add([x, layers.Dense(8, name="last")(h)], name="sum")
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


def findings(model, free, blocks=1):
    x = batch(model, seed=0)
    targets = np.ones((len(x), 2), "float32")
    original = checks.Original.of(model, x, targets)
    found, measured = checks.silent_changes(original, free, blocks, x, targets)
    assert measured["blocks"] == 1
    return [text.partition(":")[0] for text in found]


def test_a_good_conversion_has_none():
    model = network()
    assert findings(model, conversion.convert(model, "fixup", seed=0)) == []


def test_normalization_that_is_left():
    model = network()
    free = conversion.convert(model, "fixup", seed=0, keep="norm")
    assert findings(model, free) == ["normalization left"]


def test_other_blocks():
    model = network()
    free = conversion.convert(model, "fixup", seed=0)
    assert findings(model, free, blocks=2) == ["blocks"]


def test_a_bias_that_changes():
    model = network()
    free = conversion.convert(model, "scaled_residual", seed=0)
    free.get_layer("first").bias.assign(np.zeros(16))
    free.conversion["assumptions"].clear()
    assert findings(model, free) == ["bias changed"]


def test_a_size():
    model = network()
    free = conversion.convert(model, "fixup", seed=0)
    free.get_layer("stem").kernel.assign(100 * np.eye(8))
    assert findings(model, free) == ["size"]


@pytest.mark.slow
def test_a_variable_that_never_trains():
    model = network()
    free = conversion.convert(model, "fixup", seed=0)
    free.get_layer("stem").trainable = False
    assert findings(model, free) == ["variable lost"]
    free = conversion.convert(model, "rezero", seed=0)
    # Behind a multiplier of zero.
    free.get_layer("last").kernel.assign(np.zeros((16, 8)))
    assert findings(model, free) == ["never trains"]


@pytest.mark.parametrize("name", ["a", "b/kernel", "e"])
def test_names_that_are_said(name):
    texts = ["Layers stay: a, b, c, d and 2 more.", "Others: x."]
    assert checks._unsaid(["a", "b/kernel", "c", "d", "e", "f"], texts) == []
    assert checks._unsaid([name, "y"], texts[1:]) == [name, "y"]
    assert checks._unsaid(["y"], texts) == ["y"]


def test_batches_standardize_what_the_network_reads():
    inputs = keras.Input((16, 16, 3))
    x = (inputs - np.array([0.4, 0.5, 0.6], "float32")) / np.float32(0.2)
    model = keras.Model(inputs, layers.Flatten()(x))
    y = keras.ops.convert_to_numpy(model(batch(model, seed=0)))
    assert abs(y.mean()) < 0.05 and y.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("slow, found", [(1e-5, []), (1e3, ["never trains"])])
def test_sigmoids_that_the_first_step_saturates_are_no_finding(
    monkeypatch, slow, found
):
    monkeypatch.setattr(checks, "RATE", 1e3)
    monkeypatch.setattr(checks, "SLOW", slow)
    inner = network()
    outputs = layers.Activation("sigmoid")(inner.output)
    model = keras.Model(inner.inputs, outputs)
    assert findings(model, conversion.convert(model, "fixup", seed=0)) == found

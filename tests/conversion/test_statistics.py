"""Constants in the place of the statistics of layer, RMS and group normalization."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.layers import ChannelAffine
from tests.conversion.helpers import NORMALIZATIONS
from tests.marks import on_torch, slow_where_compiled

NORMALIZED = (
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.GroupNormalization,
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def fold(model, data, **options):
    """The folded model, and what is said of it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        free = fixinit.convert(model, weights="fold", data=data, **options)
    texts = [str(x.message) for x in said]
    return free, " ".join(x for x in texts if x.startswith("Constants"))


def spread(model, seed=0):
    """Draws all weights, so that scales and shifts are none of 1 and 0."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.3 * rng.normal(size=variable.shape))
    return model


def left(model):
    return [x for x in model._flatten_layers() if isinstance(x, NORMALIZATIONS)]


def constant(layer, x):
    """The output of a normalization with averages, by its definition."""
    x = x.astype("float64")
    weights = [ops.convert_to_numpy(w).astype("float64") for w in layer.weights]
    scale, shift = [*weights, np.zeros(x.shape[-1])][:2]
    if isinstance(layer, layers.GroupNormalization):
        groups = x.reshape(len(x), -1, layer.groups, x.shape[-1] // layer.groups)
        mean = groups.mean((1, 3)).mean(0)
        deviation = np.sqrt(groups.var((1, 3)) + layer.epsilon).mean(0)
        size = x.shape[-1] // layer.groups
        return scale * (x - np.repeat(mean, size)) / np.repeat(deviation, size) + shift
    if isinstance(layer, layers.LayerNormalization):
        x = x - x.mean(-1, keepdims=True)
    square = np.mean(x**2, axis=-1)
    return scale * x / np.mean(np.sqrt(square + layer.epsilon)) + shift


KINDS = {
    "layer": lambda: layers.LayerNormalization(name="norm"),
    "rms": lambda: layers.RMSNormalization(name="norm"),
    "group": lambda: layers.GroupNormalization(2, name="norm"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", ["dense", "dense without a bias", "other"])
def test_is_a_constant_times_the_channels(kind, behind):
    inputs = keras.Input((5, 8))
    x = KINDS[kind]()(inputs)
    last = layers.Dense(3, use_bias=behind == "dense", name="last")
    outputs = layers.ReLU()(x) if behind == "other" else last(x)
    model = spread(keras.Model(inputs, outputs))
    # Sizes that differ: constants matter.
    data = normal(6, 5, 8) * np.array([1, 2, 3, 1, 2, 3]).reshape(6, 1, 1)
    free, said = fold(model, data)
    assert not left(free)
    affine = [x for x in free.layers if isinstance(x, ChannelAffine)]
    assert len(affine) == (behind == "other")
    y = constant(model.get_layer("norm"), data)
    if behind == "other":
        expected = np.maximum(y, 0)
    else:
        kernel, *bias = map(ops.convert_to_numpy, last.weights)
        expected = y @ kernel + (bias[0] if bias else 0)
    found = free.predict(data, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    before = model.predict(data, verbose=0)
    moved = np.sqrt(np.sum((found - before) ** 2) / np.sum(before**2))
    assert f"{100 * moved:.2g} %" in said
    assert said in " ".join(free.conversion["assumptions"])


def test_every_constant_is_measured_behind_the_others():
    inputs = keras.Input((6,))
    x = layers.LayerNormalization(name="first")(inputs)
    x = layers.ReLU()(layers.Dense(6, name="dense")(x))
    outputs = layers.RMSNormalization(name="second")(x)
    model = spread(keras.Model(inputs, outputs))
    data = normal(32, 6) * np.linspace(0.5, 3, 32)[:, None].astype("float32")
    free, _ = fold(model, data)
    x = constant(model.get_layer("first"), data).astype("float32")
    x = np.maximum(ops.convert_to_numpy(model.get_layer("dense")(x)), 0)
    expected = constant(model.get_layer("second"), x)
    np.testing.assert_allclose(free.predict(data, verbose=0), expected, rtol=1e-3)


@slow_where_compiled
@pytest.mark.every_backend
@pytest.mark.parametrize("scheme", ["pre_layer_norm", "pre_rms_norm"])
def test_language_models_stacked_and_not(scheme):
    data = np.random.default_rng(0).integers(0, 20, (8, 12))
    outputs = []
    for stacked in (False, True):
        model = fixinit.models.LanguageModel(
            20, 12, 3, 16, 4, scheme=scheme, stacked=stacked, seed=0
        )
        free, said = fold(model, data)
        assert not left(free) and "%" in said
        outputs.append(free.predict_on_batch(data))
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-6)
    before = model.predict_on_batch(data)
    assert np.corrcoef(before.ravel(), outputs[0].ravel())[0, 1] > 0.9


@on_torch
def test_stacked_blocks_have_the_constants_of_separate_ones():
    data = normal(16, 40)
    outputs = []
    for stacked in (False, True):
        model = fixinit.models.ResidualMLP(
            4, 12, scheme="pre_layer_norm", stacked=stacked, seed=0
        )
        model.get_layer("head").kernel.assign(normal(12, 10))
        free, _ = fold(model, data)
        assert not left(free)
        outputs.append(free.predict(data, verbose=0))
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)


def test_a_shared_normalization_has_the_average_of_its_calls():
    inputs = keras.Input((6,))
    norm = layers.LayerNormalization(name="norm")
    x = norm(inputs)
    model = keras.Model(inputs, norm(layers.Rescaling(3.0)(x)))
    free, _ = fold(model, normal(32, 6))
    assert not left(free) and len(free.layers) == len(model.layers)


def test_what_has_no_constants():
    inputs = keras.Input((4, 6))
    several = layers.LayerNormalization(axis=(1, 2), name="several")(inputs)
    unit = layers.UnitNormalization(name="unit")(several)
    model = keras.Model(inputs, unit)
    with pytest.raises(ValueError, match=r"(?s)several.*unit.*are measured"):
        fixinit.convert(model, weights="fold", data=normal(2, 4, 6))
    with pytest.raises(ValueError, match="GroupNormalization pass data="):
        fixinit.convert(model, weights="fold")
    free, said = fold(model, normal(2, 4, 6), keep=("several", "unit"))
    assert len(left(free)) == 2 and not said


def test_centered_scales():
    layer = ChannelAffine(centered=True)
    x = normal(3, 4)
    expected = x - x.mean(-1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-6)
    assert ChannelAffine.from_config(layer.get_config()).centered
    with pytest.raises((TypeError, ValueError), match="`centered` must be True or"):
        ChannelAffine(centered=2)

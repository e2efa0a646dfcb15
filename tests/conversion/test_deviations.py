"""What one pass through the converted network shows that was not foreseen."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit import theory
from tests.conversion.helpers import convert, normal, said

DIFFER = "differ from the prediction"


class Loud(layers.Layer):
    """Ten times its input, which its rule hides."""

    def call(self, x):
        return 10 * x


class Deaf(layers.Layer):
    """The identity, with a tenth of the gradient, which its rule hides."""

    def call(self, x):
        return 0.1 * x + 0.9 * ops.stop_gradient(x)


theory.register(Loud)(lambda layer, setting, x: x)
theory.register(Deaf)(lambda layer, setting, x: x)


class Sorted(layers.Layer):
    """The sums of what was sorted, of which nothing is declared."""

    def call(self, x):
        return ops.cumsum(ops.sort(x, axis=-1), axis=-1)


class Strict(layers.Layer):
    """A layer that cannot be trained."""

    def call(self, x, training=False):
        if training:
            raise RuntimeError("No gradients here.")
        return x


def block(x, *between, units=64):
    y = layers.BatchNormalization()(x)
    y = layers.Dense(units, "relu")(y)
    for layer in between:
        y = layer(y)
    return x + layers.Dense(x.shape[-1])(y)


def network(layer=None, in_branch=False):
    x = inputs = keras.Input((64,))
    x = layers.Dense(64, "relu")(x)
    for index in range(2):
        x = block(x, *([layer] if in_branch and index == 1 else []))
    if layer is not None and not in_branch:
        x = layer(x)
    x = layers.Dense(64, "relu", name="last")(x)
    return keras.Model(inputs, layers.Dense(8)(x))


@pytest.mark.parametrize("scheme", ["fixup", "scaled_residual"])
def test_a_rule_that_does_not_keep_to_its_call_is_found(scheme):
    text = said(network(Loud(name="loud")), scheme)
    assert f"Signals {DIFFER} at `loud` (Loud)" in text
    assert "a variance rule or facts of it" in text


def test_where_signals_begin_to_differ_inside_of_a_branch():
    assert "at `loud` (Loud)" in said(
        network(Loud(name="loud"), True), "scaled_residual"
    )
    # What a zero closes does no harm.
    assert DIFFER not in said(network(Loud(name="loud"), True), "fixup")


def test_sizes_that_were_assumed_are_named():
    text = said(network(Sorted(name="sums")), "skip_init")
    assert f"Signals {DIFFER} at `sums` (Sorted)" in text
    assert "its size was assumed" in text


def test_gradients_differ_where_signals_do_not():
    text = said(network(Deaf(name="deaf")), "rezero")
    assert f"Gradients {DIFFER}" in text and f"Signals {DIFFER}" not in text
    # The first tensor, on their way back, that has too little.
    assert "0.01" in text or "e-" in text


def test_a_pass_that_fails_is_said():
    inputs = keras.Input((64,))
    model = keras.Model(inputs, layers.Dense(8)(block(Strict()(inputs))))
    text = said(model, "fixup")
    assert "could not be compared" in text and "No gradients here." in text


@pytest.mark.every_backend
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_silent_where_the_prediction_holds(policy):
    """Several inputs, words and numbers among them, dropout and noise."""
    keras.config.set_dtype_policy(policy)
    try:
        words = keras.Input((6,), dtype="int32")
        numbers = keras.Input((6, 32))
        x = layers.Embedding(50, 64)(words)
        x = layers.Concatenate()([x, layers.Dense(64, "gelu")(numbers)])
        for _ in range(3):
            x = layers.GaussianDropout(0.1)(block(x, layers.Dropout(0.2), units=128))
        x = layers.GlobalAveragePooling1D()(x)
        model = keras.Model([words, numbers], layers.Dense(3, "softmax")(x))
    finally:
        keras.config.set_dtype_policy("float32")
    text = said(model, "scaled_residual")
    assert DIFFER not in text and "compared" not in text


@pytest.mark.every_backend
def test_nothing_is_changed():
    """Neither moving statistics that stay, nor states of random numbers."""
    x = inputs = keras.Input((32,))
    drop = layers.Dropout(0.5, seed=3)
    for _ in range(2):
        x = x + layers.Dense(32)(drop(layers.BatchNormalization()(x)))
    model = keras.Model(inputs, layers.GaussianNoise(0.1, seed=4)(x))
    free = convert(model, "rezero", keep="BatchNormalization")
    for variable in free.variables:
        if "moving_mean" in variable.path:
            assert not np.any(ops.convert_to_numpy(variable))
    before, after = (
        [ops.convert_to_numpy(v) for v in net.non_trainable_variables]
        for net in (model, free)
    )
    for first, second in zip(before, after, strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_same_numbers_come_after_it():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, block(layers.Dropout(0.5)(inputs)))
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        convert(model)
        drawn.append(ops.convert_to_numpy(keras.random.normal((4,))))
    np.testing.assert_array_equal(*drawn)


def pictures(mean, deviation):
    """Pictures whose neighbouring pixels are alike."""
    coarse = np.repeat(np.repeat(normal(16, 4, 4, 3), 4, axis=1), 4, axis=2)
    return (mean + deviation * coarse).astype("float32")


def picture_net():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(64, 3, padding="same", name="stem")(inputs)
    x = layers.AveragePooling2D(2)(layers.ReLU()(layers.BatchNormalization()(x)))
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Dense(8)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize(
    ("mean", "deviation", "is_said"), [(0, 1, False), (0, 40, True), (120, 60, True)]
)
def test_data_of_another_size_than_kernels_are_drawn_for(mean, deviation, is_said):
    text = said(picture_net(), "fixup", data=pictures(mean, deviation))
    assert ("Standardize it" in text) is is_said and "`stem`" in text or not is_said
    # The prediction is that for such data.
    assert DIFFER not in text


def test_stacks_are_compared_as_a_whole():
    """Values inside of a stack have the numbers of values outside, and are others."""
    model = fixinit.models.ResidualMLP(
        6, 32, scheme="batch_norm", input_shape=(16,), stacked=True, seed=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fixinit.convert(model, "scaled_residual", seed=0)

"""What layers of schemes stand for."""

import keras
import pytest

from fixinit.layers import (
    ScaledActivation,
    TailoredActivation,
    plain_layer,
    standardized,
)


@pytest.mark.parametrize(
    "layer",
    [
        ScaledActivation("gelu", 1.7, name="one", dtype="mixed_bfloat16"),
        TailoredActivation("gelu", None, 2.0, name="one", dtype="mixed_bfloat16"),
    ],
)
def test_activations_without_their_constants(layer):
    plain = plain_layer(layer)
    assert type(plain) is keras.layers.Activation
    assert plain.activation is keras.activations.gelu
    assert (plain.name, plain.dtype_policy) == ("one", layer.dtype_policy)


def test_layers_as_activations_keep_their_arguments():
    layer = TailoredActivation(keras.layers.LeakyReLU(0.3), 0.1, name="one")
    plain = plain_layer(layer)
    assert type(plain) is keras.layers.LeakyReLU and plain.name == "one"
    assert plain.negative_slope == pytest.approx(0.3)


def test_kernels_that_are_not_standardized():
    layer = standardized(keras.layers.Conv2D(4, 3, strides=2, name="one"))
    plain = plain_layer(layer)
    assert type(plain) is keras.layers.Conv2D
    assert (plain.name, plain.strides, plain.filters) == ("one", (2, 2), 4)


def test_others_are_what_they_are():
    layer = keras.layers.Dense(3)
    assert plain_layer(layer) is layer


def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match="`layer`"):
        plain_layer(3.0)

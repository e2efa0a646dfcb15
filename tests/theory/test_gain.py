import math

import pytest
from keras import layers

from fixinit.theory import activation_gain, activation_square


@pytest.mark.parametrize("variance", [-1, math.nan, math.inf, "1", True])
def test_squares_of_variances_that_are_none_are_refused(variance):
    with pytest.raises(ValueError, match="`variance` must be"):
        activation_square(layers.ReLU(), variance)


def test_a_gain_needs_a_variance():
    with pytest.raises(ValueError, match="`variance` must be a positive number"):
        activation_gain(layers.ReLU(), 0.0)
    assert activation_square(layers.ReLU(), 0.0) == 0.0


@pytest.mark.parametrize("operation", ["relu", None, 3])
def test_refuses_what_is_no_layer(operation):
    with pytest.raises(TypeError, match="`operation` must be a Keras layer"):
        activation_gain(operation)


def test_depthwise_convolutions_hold_activations_too():
    layer = layers.DepthwiseConv2D(3, activation="relu")
    assert activation_gain(layer) == pytest.approx(2)

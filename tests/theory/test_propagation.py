import math

import keras
import pytest
from keras import layers, ops

from fixinit.graph import Hook
from fixinit.theory import activation_square, calculus, propagate


class Sizes(Hook):
    """The mean squares of what calls give, those of `doubled` twice as large."""

    def __init__(self, doubled=None):
        self.doubled, self.found, self.outputs = doubled, {}, {}

    def leave(self, call, outputs, control):
        if call.name == self.doubled:
            outputs = [calculus.scale(y, 2**0.5) for y in outputs]
        self.found[call.name] = outputs[0].mean_square
        self.outputs[call.name] = len(outputs)
        return outputs


def keeps(operation, mean_square):
    return mean_square


class Mixing(layers.Layer):
    def call(self, x, y):
        return keras.ops.cumsum(keras.ops.abs(x + y), 1)


class Ends(layers.Layer):
    def call(self, x):
        last = keras.ops.cumsum(keras.ops.abs(x), 1)[:, -1]
        return [last, last, last]


def test_what_is_changed_goes_on():
    inputs = keras.Input((8,), name="x")
    model = keras.Model(inputs, layers.ReLU(name="relu")(inputs))
    sizes = Sizes(doubled="x")
    assert propagate(model, sizes) == []
    assert sizes.found == pytest.approx({"x": 2.0, "relu": 1.0})


def test_layers_without_a_rule_keep_the_largest_size_that_they_read():
    inputs = keras.Input((6, 8), name="x")
    small = layers.Rescaling(0.1)(inputs)
    mixed = Mixing(name="mixing")(small, inputs)
    states = Ends(name="ends")(mixed)
    model = keras.Model(inputs, layers.ReLU(name="relu")(states[2]))
    with pytest.raises(ValueError, match="Mixing `mixing`"):
        propagate(model, Sizes())
    sizes = Sizes()
    assert propagate(model, sizes, assume=keeps) == ["mixing", "ends"]
    assert sizes.found["mixing"] == pytest.approx(1)
    assert sizes.found["relu"] == pytest.approx(0.5)
    assert sizes.outputs["ends"] == 3


def test_inputs_of_one_number():
    inputs = keras.Input((), dtype="int32")
    model = keras.Model(inputs, layers.Embedding(9, 4, name="table")(inputs))
    sizes = Sizes()
    propagate(model, sizes)
    assert sizes.found["table"] == pytest.approx(0.1**2 / 12)


def test_the_axis_of_the_batch_that_is_moved_counts_as_one():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ops.stack([inputs, -inputs], axis=0))
    assert "stack" in propagate(model, Sizes(), assume=keeps)[-1]


def test_axes_of_unknown_size():
    inputs = keras.Input((None, 8))
    x = layers.MaxPooling1D(name="pool")(layers.ReLU(name="relu")(inputs))
    model = keras.Model(inputs, x)
    with pytest.raises(ValueError, match="must be known"):
        propagate(model, Sizes())
    sizes, fixed = Sizes(), Sizes()
    assert propagate(model, sizes, assume=keeps) == []
    inputs = keras.Input((10, 8))
    x = layers.MaxPooling1D(name="pool")(layers.ReLU(name="relu")(inputs))
    propagate(keras.Model(inputs, x), fixed)
    assert sizes.found["relu"] == pytest.approx(fixed.found["relu"])
    assert sizes.found["pool"] == pytest.approx(fixed.found["pool"])


@pytest.mark.parametrize(
    ("activation", "variance", "square"),
    [
        ("relu", 4.0, 2.0),
        # sigmoid(z) = (1 + tanh(z / 2)) / 2
        ("sigmoid", 1e9, 0.5),
        ("tanh", 1e9, 1.0),
    ],
)
def test_squares_behind_activations(activation, variance, square):
    for layer in (layers.Activation(activation), layers.Dense(3, activation)):
        assert activation_square(layer, variance) == pytest.approx(square, rel=1e-3)


@pytest.mark.parametrize("variance", [-1.0, math.nan, True])
def test_refuses_variances_that_are_none(variance):
    model = keras.Sequential([keras.Input((8,)), layers.ReLU()])
    with pytest.raises(ValueError, match="`input_variance` must be"):
        propagate(model, Hook(), input_variance=variance)


def test_refuses_what_is_no_model():
    with pytest.raises(TypeError, match="`model` must be a keras.Model"):
        propagate("model", Hook())

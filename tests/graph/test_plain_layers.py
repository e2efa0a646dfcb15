"""Lambda layers that look like a layer of Keras, and are none."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit


def hidden(function):
    """A function that shows no graph, as those of a backend do."""

    def run(*args):
        if any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten(args)):
            raise TypeError("arrays only")
        return function(*args)

    return run


def shown(function, shape=(6,)):
    """The operations that a graph has for a Lambda layer with such a function."""
    inputs = keras.Input(shape)
    layer = layers.Lambda(hidden(function), output_shape=shape, name="own")
    with fixinit.graph.opened(keras.Model(inputs, layer(inputs))) as found:
        calls = fixinit.graph.trace(found.model).calls
        return [type(call.operation).__name__ for call in calls][1:]


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "function",
    [
        ops.stop_gradient,
        lambda x: ops.relu(ops.stop_gradient(x)),
        lambda x: ops.minimum(ops.relu(x), 20.0),
        lambda x: ops.clip(x, -20.0, 20.0),
        lambda x: ops.where(ops.isnan(x), 0.0, x),
    ],
    ids=["stop_gradient", "no slope", "cap", "clip", "no nan"],
)
def test_what_differs_far_out_or_in_its_gradient_stays(function):
    assert shown(function) == ["Lambda"]


def test_lengths_that_are_cut_show_at_another_size():
    assert shown(lambda x: x[:, :9], shape=(None, 4)) == ["Lambda"]


@pytest.mark.parametrize(
    "make",
    [
        lambda v: lambda x: x * ops.sigmoid(v * x),
        lambda v: lambda x: ops.maximum(x, 0.25 * v * x),
        lambda v: lambda x: v * x,
    ],
    ids=["silu", "leaky relu", "scale"],
)
def test_what_reads_a_variable_is_no_layer_of_keras(make):
    variable = keras.Variable(1.0)
    assert shown(make(variable)) == ["Lambda"]


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (ops.silu, "Activation"),
        (ops.relu6, "Activation"),
        (lambda x: ops.leaky_relu(x, 0.1), "LeakyReLU"),
        (lambda x: (x - 2000) / 10, "Rescaling"),
    ],
)
def test_what_is_a_layer_of_keras_becomes_one(function, kind):
    assert shown(function) == [kind]


def test_scales_keep_their_digits_beside_large_offsets():
    inputs = keras.Input((6,))
    scaled = layers.Lambda(hidden(lambda x: (x - 101325) / 1000), output_shape=(6,))
    with fixinit.graph.opened(keras.Model(inputs, scaled(inputs))) as found:
        x = np.full((2, 6), 101325, "float32")
        y = ops.convert_to_numpy(found.model(x))
        assert not any(isinstance(c, layers.Lambda) for c in found.model.layers)
    np.testing.assert_allclose(y, 0, atol=1e-4)

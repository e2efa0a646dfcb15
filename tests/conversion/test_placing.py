"""One layer that is called all over a network."""

import keras
import numpy as np
from keras import layers, ops

import fixinit
from tests.conversion.helpers import convert


def added(model, kind):
    return [x for x in model.layers if isinstance(x, kind)]


def test_one_activation_at_many_sites():
    """Each call has a bias, or statistics, of its own."""
    relu = layers.ReLU(name="relu")
    x = inputs = keras.Input((8,))
    for _ in range(3):
        x = x + layers.Dense(8)(relu(layers.Dense(8)(x)))
    model = keras.Model(inputs, x)
    free = convert(model, "fixup")
    biases = [b.name for b in added(free, fixinit.layers.ScalarBias)]
    assert len([name for name in biases if name.startswith("relu")]) == 3
    normal = convert(model, "batch_norm")
    # In front of three activations and at the end of three branches.
    assert len(added(normal, layers.BatchNormalization)) == 6
    assert len([x for x in normal.layers if x.name == "relu"]) == 1


def test_towers_of_shared_layers_share_what_is_added():
    shared, relu = layers.Dense(8, name="shared"), layers.ReLU(name="relu")
    norm, out = layers.BatchNormalization(), layers.Dense(4, name="out")
    pair = [keras.Input((8,)) for _ in range(2)]
    outputs = [out(relu(norm(shared(x)))) for x in pair]
    free = convert(keras.Model(pair, layers.subtract(outputs)), "fixup")
    for bias in added(free, fixinit.layers.ScalarBias):
        bias.scalar.assign(np.random.default_rng(0).normal())
    x = np.ones((2, 8), "float32")
    assert not np.any(ops.convert_to_numpy(free([x, x])))


def test_one_padding_in_front_of_many_layers():
    pad = layers.ZeroPadding2D(1, name="pad")
    x = inputs = keras.Input((4, 4, 8))
    for _ in range(2):
        y = layers.Conv2D(8, 3)(pad(layers.ReLU()(layers.Conv2D(8, 1)(x))))
        x = layers.add([x, y])
    free = convert(keras.Model(inputs, x), "fixup")
    # Two weight layers and an activation in each branch, and its end.
    assert len(added(free, fixinit.layers.ScalarBias)) == 2 * 4


def test_one_addition_in_a_block_and_elsewhere():
    add = layers.Add(name="sum")
    inputs = keras.Input((8,))
    x = add([inputs, layers.Dense(8)(layers.ReLU()(layers.Dense(8)(inputs)))])
    x = add([layers.Dense(8)(x), layers.Dense(8)(x)])
    free = convert(keras.Model(inputs, x), "normalized_sum")
    assert len(free.conversion["blocks"]) == 1
    names = [layer.name for layer in free.layers]
    assert {"sum", "sum_call1"} <= set(names)


def test_activity_is_regularized_behind_the_activation():
    inputs = keras.Input((8,))
    y = layers.Dense(8, "relu", activity_regularizer="l2", name="hidden")(inputs)
    free = convert(keras.Model(inputs, layers.add([inputs, layers.Dense(8)(y)])))
    assert free.get_layer("hidden").activity_regularizer is None
    assert free.get_layer("hidden_activation").activity_regularizer is not None


def test_channels_that_come_first():
    inputs = keras.Input((8, 6, 6))
    conv = {"padding": "same", "data_format": "channels_first"}
    y = layers.Conv2D(8, 3, **conv)(layers.ReLU()(layers.Conv2D(8, 3, **conv)(inputs)))
    free = convert(keras.Model(inputs, layers.add([inputs, y])), "batch_norm")
    norms = added(free, layers.BatchNormalization)
    assert norms and {norm.axis for norm in norms} == {1}

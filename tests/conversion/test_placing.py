"""One layer that is called all over a network."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from tests.conversion.helpers import convert, normal


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


@pytest.mark.parametrize("relu", [layers.ReLU(), ops.relu], ids=["layer", "operation"])
def test_towers_share_the_ends_of_branches(relu):
    parts = [layers.Dense(8), layers.BatchNormalization(), relu, layers.Dense(8)]

    def tower(x):
        y = x
        for part in parts:
            y = part(y)
        return layers.add([x, y])

    pair = [keras.Input((8,)) for _ in range(2)]
    model = keras.Model(pair, layers.subtract([tower(x) for x in pair]))
    for scheme in ("fixup", "skip_init"):
        free = convert(model, scheme)
        rng = np.random.default_rng(0)
        free.set_weights([rng.normal(size=w.shape) for w in free.get_weights()])
        x = normal(2, 8)
        assert not np.any(ops.convert_to_numpy(free([x, x])))


def dense(units=8, activation=None):
    return layers.Dense(units, activation, use_bias=False)


def end(x):
    return dense(3)(layers.ReLU()(dense()(x)))


@pytest.mark.parametrize(
    "roles",
    [
        lambda x, layer: layer(layer(x)),
        lambda x, layer: [layer(x), end(layer(dense()(x)))],
        lambda x, layer: end(layer(x * layer(x))),
    ],
    ids=["trunk and output", "output and trunk", "gate and trunk"],
)
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_one_layer_in_two_roles_keeps_its_activation(roles, activation):
    """With the same kernels, and biases of zero, the function is the same."""
    inputs = keras.Input((8,))
    model = keras.Model(inputs, roles(inputs, dense(activation=activation)))
    free = convert(model, "fixup")
    rng, x, outputs = np.random.default_rng(0), normal(4, 8), []
    kernels = {v.path: rng.normal(size=v.shape) for v in model.weights}
    for m in (model, free):
        for variable in m.weights:
            if variable.path in kernels:
                variable.assign(kernels[variable.path])
        outputs.append(keras.tree.flatten(m(x)))
    for pair in zip(*outputs, strict=True):
        np.testing.assert_allclose(*map(ops.convert_to_numpy, pair), rtol=1e-5)


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

"""Rules for reshapes and transpositions, against operations that are run."""

import keras
import pytest

from fixinit import theory
from tests.marks import on_torch, rest_on_torch
from tests.theory.measuring import check, he

layers, ops = keras.layers, keras.ops


def of(function, filters=64):
    """A function behind a convolution whose positions differ."""

    def make():
        x = keras.Input((8, 8, 16))
        y = he(filters, activation="relu")()(x)
        return keras.Model(x, function(y))

    return make


def dense(x, units=64):
    return layers.Dense(units, kernel_initializer="he_normal")(x)


def windows(x):
    """Windows of 4 x 4, each an input of its own, as in Swin Transformers."""
    x = ops.transpose(ops.reshape(x, (-1, 2, 4, 2, 4, 64)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, 4, 4, 64))


def from_windows(x):
    x = ops.transpose(ops.reshape(x, (-1, 2, 2, 4, 4, 64)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, 8, 8, 64))


def shuffled(x):
    """The channel shuffle of ShuffleNet."""
    x = ops.transpose(ops.reshape(x, (-1, 8, 8, 4, 16)), (0, 1, 2, 4, 3))
    return ops.reshape(x, (-1, 8, 8, 64))


@rest_on_torch(
    "function",
    [
        layers.Reshape((64, 64)),
        layers.Reshape((8, 16, 32)),
        layers.Reshape((4, 8, 128)),
        layers.Reshape((64, 4, 16)),
        layers.Reshape((16, 16, 16)),
        layers.Reshape((32, 8, 16)),
        layers.Permute((3, 1, 2)),
        layers.Permute((2, 1, 3)),
        lambda x: ops.transpose(x, (0, 3, 1, 2)),
        lambda x: ops.swapaxes(x, 1, -1),
        lambda x: ops.moveaxis(x, -1, 1),
        lambda x: ops.depth_to_space(x, 2),
        lambda x: ops.space_to_depth(x, 2),
        lambda x: ops.squeeze(ops.expand_dims(x, 1), 1),
        lambda x: ops.stack([x, dense(x)], axis=2),
        lambda x: ops.stack([x, dense(x)], axis=-1),
        shuffled,
    ],
    quick=4,
)
def test_moments_of_rearranged_values(function):
    check(of(function), (8, 8, 16), 0.03)


@on_torch
@pytest.mark.parametrize(
    "function",
    [
        # A mixer: positions, as channels, are mixed by a dense layer.
        lambda x: layers.Permute((2, 1))(dense(layers.Permute((2, 1))(x[:, :, 0]), 8)),
        lambda x: layers.AveragePooling2D(3, 1)(ops.depth_to_space(dense(x), 2)),
        lambda x: he()()(ops.space_to_depth(x, 2)),
        lambda x: layers.AveragePooling1D(9, 1)(layers.Reshape((64, 64))(x)),
        lambda x: layers.Conv2D(32, 3, data_format="channels_last")(shuffled(x)),
        lambda x: he()()(layers.Reshape((4, 16, 64))(x)),
    ],
)
def test_layers_behind_rearranged_values(function):
    check(of(function), (8, 8, 16), 0.04)


def test_maps_made_of_tokens_have_forgotten_some_of_their_neighbours():
    """A merged axis of 64 positions is kept as twelve, see docs/theory.md."""

    def there_and_back(x):
        x = layers.Reshape((8, 8, 64))(layers.Reshape((64, 64))(x))
        return layers.AveragePooling2D(3, 1)(x)

    check(of(there_and_back), (8, 8, 16), 0.1)


def test_windows_become_inputs_and_come_back():
    def mixed(x):
        return layers.AveragePooling2D(2, 1)(from_windows(dense(windows(x))))

    check(of(mixed), (8, 8, 16), 0.03)


def test_values_are_remembered_as_functions_of_gaussians():
    def halved(x):
        return ops.maximum(layers.Permute((3, 1, 2))(x), 0.0)

    # A second ReLU changes nothing.
    rows = theory.predict(of(halved)()).layers
    assert rows[-1].mean_square == pytest.approx(rows[-3].mean_square, rel=1e-9)


def test_gradients_are_those_of_the_elements():
    model = of(lambda x: ops.depth_to_space(layers.Permute((2, 1, 3))(x), 2))()
    assert theory.predict(model).layers[1].gradient == pytest.approx(1.0)
    model = of(lambda x: layers.Reshape((8, 16, 32))(x)[:, :, ::2])()
    assert theory.predict(model).layers[1].gradient == pytest.approx(0.5)


def test_an_axis_in_front_of_the_batch_is_refused():
    with pytest.raises(theory.NoRuleError, match="the batch"):
        theory.predict(of(lambda x: ops.expand_dims(x, 0))())


def heads_of(x, split):
    """Attention whose queries, keys and values are one projection, as many write it."""
    y = ops.reshape(dense(x, 3 * 64), (-1, 16, 3, 4, 16))
    q, k, v = split(y)
    weights = ops.softmax(q @ ops.transpose(k, (0, 1, 3, 2)) / 4)
    y = ops.transpose(weights @ v, (0, 2, 1, 3))
    return ops.reshape(y, (-1, 16, 64))


def first(y):
    return ops.transpose(y, (2, 0, 3, 1, 4))


def by_name(function):
    return function.__name__


def indexed(y):
    y = first(y)
    return y[0], y[1], y[2]


def unstacked(y):
    return ops.unstack(first(y), 3, axis=0)


def moved(y):
    y = ops.moveaxis(y, 2, 0)
    return [ops.transpose(y[i, ...], (0, 2, 1, 3)) for i in range(3)]


def in_place(y):
    return [ops.transpose(y[:, :, i], (0, 2, 1, 3)) for i in range(3)]


@on_torch
@pytest.mark.parametrize("split", [indexed, unstacked, moved, in_place], ids=by_name)
def test_queries_keys_and_values_of_one_projection(split):
    def make():
        x = keras.Input((16, 32))
        y = dense(heads_of(layers.Dense(64, "relu")(x), split))
        return keras.Model(x, y)

    check(make, (16, 32), 0.05)


def test_what_reads_a_batch_that_is_not_the_first_axis():
    x = keras.Input((6, 16))
    model = keras.Model(x, layers.Dense(4)(ops.transpose(x, (1, 0, 2))))
    for unknown in ("refuse", "measure"):
        with pytest.raises(theory.NoRuleError, match="batch has been moved to axis 1"):
            theory.predict(model, unknown=unknown)
    back = keras.Model(x, ops.transpose(ops.transpose(x, (2, 0, 1)), (1, 2, 0)))
    assert theory.predict(back).layers[-1].mean_square == pytest.approx(1.0)

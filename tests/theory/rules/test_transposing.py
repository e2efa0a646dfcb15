"""Rules for reshapes and transpositions, against operations that are run."""

import keras
import pytest

from fixinit import theory
from tests.marks import mostly_slow
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


@mostly_slow(
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
    quick=10,
)
def test_moments_of_rearranged_values(function):
    check(of(function), (8, 8, 16), 0.03)


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


@pytest.mark.parametrize(
    "function", [lambda x: ops.transpose(x), lambda x: ops.expand_dims(x, 0)]
)
def test_a_batch_that_moves_is_refused(function):
    with pytest.raises(theory.NoRuleError, match="the batch"):
        theory.predict(of(function)())

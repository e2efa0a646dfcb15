"""Rules for slices, splits and repetition, against operations that are run."""

import keras
import pytest

from fixinit import theory
from tests.marks import on_torch, rest_on_torch
from tests.theory.measuring import check, he, network

layers, ops = keras.layers, keras.ops


def of(function, *before, shape=(8, 8, 16)):
    """A network whose last operations are those of a function."""

    def make():
        x = inputs = keras.Input(shape)
        for layer in (he(activation="relu"), *before):
            x = layer()(x)
        return keras.Model(inputs, function(x))

    return make


@rest_on_torch(
    "function",
    [
        lambda x: x[:, 0],
        lambda x: x[:, 1:-2, ::2],
        lambda x: x[:, 1::3, 3, :40],
        lambda x: x[..., 5],
        lambda x: x[:, :, None, 0],
        lambda x: ops.split(x, 4, axis=-1)[1],
        lambda x: ops.split(x, [3, 5], axis=1)[2],
        lambda x: ops.unstack(x, axis=2)[0],
        lambda x: ops.take(x, [7, 0, 3], axis=1),
        lambda x: ops.flip(x, axis=(1, 2)),
        lambda x: ops.roll(x, 3, axis=1),
        lambda x: ops.roll(x, (1, -2), axis=(1, 2)),
        lambda x: ops.repeat(x, 3, axis=2),
        lambda x: ops.tile(x, [1, 2, 1, 1]),
        lambda x: ops.broadcast_to(x[:, :1], (32, 5, 8, 64)),
    ],
    quick=4,
)
def test_selected_positions_and_channels(function):
    # Averages of neighbours feel how pairs of positions are correlated.
    def averaged(x):
        y = function(x)
        size = tuple(2 if n and n > 1 else 1 for n in y.shape[1:-1])
        pooling = {1: layers.AveragePooling1D, 2: layers.AveragePooling2D}
        return pooling[len(size)](size, 1)(y) if size in ((2,), (2, 2)) else y

    check(of(averaged), (8, 8, 16), 0.03)


def test_long_axes_are_cut_and_read_from_both_ends():
    def ends(x):
        return ops.concatenate([x[:, :2], x[:, 700:704], x[:, -2:]], axis=1)

    def make():
        x = keras.Input((1500, 4))
        y = layers.Conv1D(64, 5, padding="same", kernel_initializer="he_normal")(x)
        return keras.Model(x, ends(y))

    check(make, (1500, 4), 0.03, seeds=3)


@on_torch
def test_halves_of_the_channels_are_independent():
    check(of(lambda x: ops.multiply(*ops.split(x, 2, axis=-1))), (8, 8, 16), 0.03)
    check(of(lambda x: ops.add(*ops.split(x, 2, axis=-1))), (8, 8, 16), 0.03)

    def gated(x):
        a, b, c, d = ops.split(x, 4, axis=-1)
        return ops.concatenate([a * ops.sigmoid(b), ops.tanh(c) + d], axis=-1)

    check(of(gated), (8, 8, 16), 0.03)


def test_channels_that_overlap_are_dependent():
    model = of(lambda x: x[..., :40] * x[..., 24:])()
    with pytest.raises(theory.NoRuleError, match="depend on the same weights"):
        theory.predict(model)
    model = of(lambda x: x[..., :40][..., 8:] * x[..., 32:])()
    with pytest.raises(theory.NoRuleError, match="depend on the same weights"):
        theory.predict(model)
    theory.predict(of(lambda x: x[..., :40][..., 8:] * x[..., 40:][..., 3:][..., :1])())


def test_parts_of_one_tensor_side_by_side_keep_their_correlations():
    def shifted(x):
        x = ops.concatenate([x[:, 3:], x[:, :3]], axis=1)
        return layers.AveragePooling2D(3, 1)(x)

    check(of(shifted), (8, 8, 16), 0.03)


def test_gradients_go_back_to_what_was_taken():
    model = of(lambda x: x[:, :2, :, ::4])()
    prediction = theory.predict(model)
    # Two rows of eight and a quarter of the channels have a gradient of 1.
    assert prediction.layers[1].gradient == pytest.approx(1 / 16)


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda x: x[0], "one input of the batch"),
        (lambda x: ops.flip(x, axis=0), "along the batch"),
        (lambda x: ops.tile(x, [2, 1, 1, 1, 1]), "in front of the batch"),
        (lambda x: ops.take(x, [[0, 1]], axis=1), "list of indices"),
        (lambda x: ops.flip(x), "without an axis"),
    ],
)
def test_what_touches_the_batch_is_refused(function, message):
    with pytest.raises(theory.NoRuleError, match=message):
        theory.predict(of(function)())


@pytest.mark.parametrize(
    "function",
    [lambda x: ops.tile(x, [2, 1, 1, 1]), lambda x: ops.repeat(x, 3, axis=0)],
)
def test_a_repeated_batch_has_the_moments_of_its_inputs(function):
    before, after = theory.predict(of(function)()).layers[-2:]
    assert (after.mean_square, after.correlation) == (
        before.mean_square,
        before.correlation,
    )


def test_a_network_of_slices():
    check(network(he(), lambda: layers.Cropping2D(((1, 0), (2, 3)))), (8, 8, 16), 0.03)

"""Rules for the layers of fixinit that draw random factors."""

import keras
import numpy as np
import pytest

import fixinit
from fixinit import theory
from tests.theory.measuring import SIZE, check, he, network

layers = keras.layers


@pytest.mark.parametrize("level", ["batch", "element"])
def test_shake_drop_is_drawn_at_its_level(level):
    p, alpha = 0.7, (0.1, 0.8)
    layer = fixinit.layers.ShakeDrop(p, alpha=alpha, level=level)
    model = keras.Sequential([keras.Input((2, 2, 8)), layer])
    row = theory.predict(model, 1.0, 0.0, training=True).layers[-1]
    mean, square = np.mean(alpha), (0.1**2 + 0.1 * alpha[1] + alpha[1] ** 2) / 3
    shared = mean**2 if level == "element" else square
    expected = (p + (1 - p) * shared) / (p + (1 - p) * square)
    assert row.mean_square == pytest.approx(p + (1 - p) * square)
    assert row.correlation == pytest.approx(expected)


@pytest.mark.parametrize("level", ["batch", "sample"])
@pytest.mark.parametrize("forward_mode", ["shake", "even"])
def test_shake_shake_in_training(forward_mode, level):
    # Constants, of which only the weights are random: E alpha^2 = 1 / 3.
    x = keras.Input((8,))
    ones = layers.Dense(8, kernel_initializer="zeros", bias_initializer="ones")(x)
    layer = fixinit.layers.ShakeShake(forward_mode, "even", level)
    y = layer([ones, layers.Dense(8, kernel_initializer="zeros")(x)])
    prediction = theory.predict(keras.Model(x, y), training=True)
    square = 1 / 3 if forward_mode == "shake" else 1 / 4
    apart = square if level == "batch" else 1 / 4
    row = prediction.layers[-1]
    assert row.mean == pytest.approx(1 / 2)
    assert row.mean_square == pytest.approx(square)
    assert row.correlation == pytest.approx(apart / square)
    assert prediction.layers[1].gradient == pytest.approx(1 / 4)


@pytest.mark.parametrize("backward_mode", ["shake", "even", "keep"])
@pytest.mark.parametrize("forward_mode", ["shake", "even"])
def test_shake_shake_passes_gradients_by_its_backward_mode(forward_mode, backward_mode):
    x = keras.Input((8,))
    branches = [layers.Dense(8, name=name)(x) for name in "ab"]
    y = fixinit.layers.ShakeShake(forward_mode, backward_mode)(branches)
    random = backward_mode if backward_mode != "keep" else forward_mode
    for training in (True, False):
        row = theory.predict(keras.Model(x, y), training=training)["b"]
        expected = 1 / 3 if training and random == "shake" else 1 / 4
        assert row.gradient == pytest.approx(expected)


def test_channel_affine_draws_scales_and_shifts_of_channels():
    normal = keras.initializers.RandomNormal
    layer = fixinit.layers.ChannelAffine(
        gamma_initializer=normal(0.5, 0.5), beta_initializer=normal(2.0, 1.0)
    )
    model = keras.Sequential([keras.Input((8,)), layer])
    # E (a x + b)^2 for E x^2 = 3.
    row = theory.predict(model, input_variance=3.0).layers[-1]
    assert row.mean_square == pytest.approx(0.5 * 3 + 5)


def test_channel_multiplier_draws_scales_of_channels():
    normal = keras.initializers.RandomNormal(0.5, 0.5)
    layer = fixinit.layers.ChannelMultiplier(normal)
    model = keras.Sequential([keras.Input((8,)), layer])
    row = theory.predict(model, input_variance=3.0).layers[-1]
    assert row.mean_square == pytest.approx(0.5 * 3)
    images = keras.Sequential(
        [keras.Input((3, 4, 4)), fixinit.layers.ChannelMultiplier(normal, axis=1)]
    )
    with pytest.raises(theory.NoRuleError, match="over the channels, last"):
        theory.predict(images)


@pytest.mark.parametrize(
    "arguments",
    [
        {"activation": "relu", "negative_slope": 0.4, "output_scale": 1.3},
        {"activation": "tanh", "input_scale": 0.5, "input_shift": 0.7}
        | {"output_shift": -0.5, "output_scale": 3.0},
        {"activation": layers.ELU(0.5), "input_shift": -0.3, "output_scale": 2.0},
    ],
)
def test_tailored_activation(arguments):
    def activation():
        return fixinit.layers.TailoredActivation(**arguments)

    check(network(he(), activation), (SIZE, SIZE, 16), rtol=0.02)

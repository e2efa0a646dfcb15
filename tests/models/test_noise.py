"""Stochastic depth, ShakeDrop and dropout in front of the head, in every family."""

import keras
import numpy as np
import pytest

from fixinit import _keras, layers, models

FAMILIES = {
    "mlp": lambda **options: models.ResidualMLP(4, 8, input_shape=(5,), **options),
    "resnet": lambda **options: models.ResNet(
        (2, 2), (4, 8), input_shape=(8, 8, 3), **options
    ),
}


def found(model, kind):
    return [x for x in _keras.flatten_layers(model) if isinstance(x, kind)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "argument, kind",
    [
        ("stochastic_depth_rate", layers.StochasticDepth),
        ("shake_drop_rate", layers.ShakeDrop),
    ],
)
def test_rates_grow_in_proportion_to_the_depth(family, argument, kind):
    model = FAMILIES[family](**{argument: 0.4}, stacked=False)
    kept = [layer.survival_probability for layer in found(model, kind)]
    np.testing.assert_allclose(kept, [0.9, 0.8, 0.7, 0.6])


def test_noise_stands_behind_the_normalization_that_ends_a_branch():
    model = FAMILIES["resnet"](scheme="batch_norm", stochastic_depth_rate=0.4)
    for block in found(model, layers.ResidualBlock):
        kinds = [type(layer).__name__ for layer in block.branch]
        assert kinds[-2:] == ["BatchNormalization", "StochasticDepth"]


@pytest.mark.every_backend
@pytest.mark.parametrize("argument", ["stochastic_depth_rate", "shake_drop_rate"])
def test_stacks_have_the_rates_of_their_blocks(argument):
    options = {"scheme": "scaled_residual", "seed": 0, argument: 0.4}
    x = np.random.default_rng(0).standard_normal((3, 5)).astype("float32")
    outputs = [FAMILIES["mlp"](stacked=s, **options)(x) for s in (True, False)]
    single, stacked = (keras.ops.convert_to_numpy(y) for y in outputs)
    np.testing.assert_allclose(single, stacked, rtol=1e-5, atol=1e-6)
    stack = found(FAMILIES["mlp"](stacked=True, **options), layers.Stack)[0]
    (rates,) = [v for k, v in stack.constants.items() if "survival" in k]
    np.testing.assert_allclose(rates, [0.9, 0.8, 0.7, 0.6])


@pytest.mark.every_backend
def test_mean_of_training_is_the_output_at_test_time():
    # One block, linear in the branch's output: the head's input is stem + branch.
    model = models.ResidualMLP(
        1,
        6,
        input_shape=(5,),
        scheme="scaled_residual",
        stochastic_depth_rate=0.5,
        activation="linear",
        seed=0,
    )
    x = np.random.default_rng(0).standard_normal((1, 5)).astype("float32")
    many = np.repeat(x, 4000, axis=0)
    training = keras.ops.convert_to_numpy(model(many, training=True))
    test = keras.ops.convert_to_numpy(model(x, training=False))[0]
    # Dropped or doubled, sample by sample: the two values are test -+ spread.
    spread = np.abs(training - test).max(0)
    assert np.all(spread > 1e-3)
    np.testing.assert_allclose(np.abs(training - test), [spread] * 4000, rtol=1e-3)
    error = np.abs(training.mean(0) - test) / spread
    assert np.all(error < 5 / np.sqrt(4000))


def test_dropout_stands_in_front_of_the_head():
    model = FAMILIES["resnet"](drop_rate=0.25, scheme="batch_norm")
    names = [layer.name for layer in model.layers]
    assert names.index("head_dropout") == names.index("head") - 1
    assert model.get_layer("head_dropout").rate == 0.25


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "options, message",
    [
        ({"drop_rate": 1.0}, "`drop_rate` must be"),
        ({"stochastic_depth_rate": 1.0}, "`stochastic_depth_rate` must be"),
        ({"shake_drop_rate": -0.1}, "`shake_drop_rate` must be"),
        (
            {"stochastic_depth_rate": 0.1, "shake_drop_rate": 0.2},
            "same branches. Received: 0.1 and 0.2",
        ),
        (
            {
                "shake_drop_rate": 0.2,
                "plain": True,
                "scheme": "batch_norm",
            },
            "`shake_drop_rate` needs shortcuts",
        ),
    ],
)
def test_bad_rates_are_errors(family, options, message):
    with pytest.raises(ValueError, match=message):
        FAMILIES[family](**options)

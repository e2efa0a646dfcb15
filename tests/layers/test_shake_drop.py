import keras
import numpy as np
import pytest

from fixinit.layers import ShakeDrop, StochasticDepth
from tests.marks import mostly_slow


def numpy(x):
    return keras.ops.convert_to_numpy(x)


ONES = np.ones((100, 5, 4), "float32")


def dropped(**kwargs):
    """A layer whose gate is closed: that passes with probability 1e-6."""
    return ShakeDrop(1e-6, seed=1, **kwargs)


@pytest.mark.parametrize(
    ("level", "shape"),
    [
        ("batch", (1, 1, 1)),
        ("sample", (100, 1, 1)),
        ("channel", (100, 1, 4)),
        ("element", (100, 5, 4)),
    ],
)
def test_forward_and_backward_factors_are_drawn_apart(
    level, shape, forward_and_gradients
):
    draws = np.prod(shape)
    alpha, (beta,) = forward_and_gradients(dropped(level=level), ONES)
    for factor in (alpha, beta):
        some = factor[: shape[0], : shape[1], : shape[2]]
        np.testing.assert_array_equal(factor, np.broadcast_to(some, ONES.shape))
        # Draws have 23 bits: 0.24 pairs of 2,000 are expected to be alike.
        assert len(np.unique(some)) >= draws - 5
    assert -1 <= alpha.min() and alpha.max() < 1
    assert 0 <= beta.min() and beta.max() < 1
    if level == "element":
        # Means and correlation of independent uniform draws, five deviations each.
        assert abs(alpha.mean()) < 5 * np.sqrt(4 / 12 / draws)
        assert abs(beta.mean() - 0.5) < 5 * np.sqrt(1 / 12 / draws)
        correlation = np.corrcoef(alpha.ravel(), beta.ravel())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(draws)


def test_the_output_is_the_input_times_alpha_bit_for_bit(forward_and_gradients):
    x = np.random.default_rng(0).normal(size=ONES.shape).astype("float32")
    alpha, _ = forward_and_gradients(dropped(), ONES)
    outputs, _ = forward_and_gradients(dropped(), x)
    np.testing.assert_array_equal(outputs, x * alpha)


def test_open_gates_pass_everything(forward_and_gradients):
    x = np.random.default_rng(0).normal(size=ONES.shape).astype("float32")
    outputs, (gradients,) = forward_and_gradients(ShakeDrop(1.0), x)
    np.testing.assert_array_equal(outputs, x)
    assert (gradients == 1).all()


def test_gates_open_for_whole_batches_with_their_probability():
    layer, batches = ShakeDrop(0.75, seed=1), 200
    outputs = [numpy(layer(ONES[:4], training=True)) for _ in range(batches)]
    is_open = [(batch == 1).all() for batch in outputs]
    assert all(
        (batch < 1).all()
        for batch, passed in zip(outputs, is_open, strict=True)
        if not passed
    )
    # Five standard deviations of a binomial.
    assert abs(np.mean(is_open) - 0.75) < 5 * np.sqrt(0.75 * 0.25 / batches)


@mostly_slow(
    ("alpha", "factor"), [((-1, 1), 0.25), ((0, 1), 0.625), ((1, 1), 1)], quick=1
)
def test_test_time_is_the_mean_of_training(alpha, factor):
    layer = ShakeDrop(0.25, alpha=alpha, seed=1)
    assert (numpy(layer(ONES)) == factor).all()
    calls = [numpy(layer(ONES[:1], training=True)).mean() for _ in range(200)]
    # A draw of the gate for each call, between -1 and 1.
    assert abs(np.mean(calls) - factor) <= 5 / np.sqrt(200)


def test_without_alpha_and_beta_it_is_stochastic_depth(forward_and_gradients):
    for seed in range(3):
        layer = ShakeDrop(0.5, alpha=(0, 0), beta=(0, 0), seed=seed)
        found, (gradients,) = forward_and_gradients(layer, ONES)
        expected, _ = forward_and_gradients(StochasticDepth(0.5, seed=seed), ONES)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(gradients, expected)


def test_config_makes_the_same_layer():
    layer = ShakeDrop(0.7, (0, 1), (-1, 1), "channel", seed=5, name="shake")
    config = layer.get_config()
    assert ShakeDrop.from_config(config).get_config() == config
    assert (config["alpha"], config["beta"], config["seed"]) == ([0, 1], [-1, 1], 5)


@pytest.mark.parametrize("argument", ["alpha", "beta"])
@pytest.mark.parametrize(
    "value", [(1, -1), (0,), (0, 1, 2), 0.5, "01", (0, float("nan"))]
)
def test_refuses_ranges(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be"):
        ShakeDrop(**{argument: value})

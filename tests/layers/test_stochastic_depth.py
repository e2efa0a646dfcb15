import keras
import numpy as np
import pytest

from fixinit.layers import ResidualBlock, StochasticDepth, survival_probability


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def test_linear_decay_is_the_papers():
    # Section 3: 54 blocks, p_L = 0.5; on average 3 L - 1 over 4 of them survive.
    probabilities = [survival_probability(branch, 54) for branch in range(54)]
    np.testing.assert_allclose(probabilities, 1 - np.arange(1, 55) / 54 / 2)
    assert sum(probabilities) == pytest.approx((3 * 54 - 1) / 4)
    assert survival_probability(3, 4, last=1) == 1


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((4, 4), "counts from 0"),
        ((-1, 4), "branch.*at least 0"),
        ((0, 0), "num_branches.*at least 1"),
        ((0, 4, 0), r"last.*\(0, 1\]"),
    ],
)
def test_linear_decay_refuses(arguments, match):
    with pytest.raises(ValueError, match=match):
        survival_probability(*arguments)


@pytest.mark.parametrize("probability", [0.2, 0.5, 0.9])
def test_samples_survive_with_their_probability(probability):
    size = 20_000
    layer = StochasticDepth(probability, "sample", seed=3)
    survived = numpy(layer(np.ones((size, 1), "float32"), training=True)).mean()
    # Five standard deviations of a binomial.
    bound = 5 * np.sqrt(probability * (1 - probability) / size)
    assert abs(survived - probability) < bound


def test_batches_survive_as_one():
    layer = StochasticDepth(0.5, seed=3)
    x = np.ones((4, 2), "float32")
    batches = [numpy(layer(x, training=True)) for _ in range(100)]
    assert all(len(np.unique(batch)) == 1 for batch in batches)
    # Five standard deviations.
    assert abs(np.mean(batches) - 0.5) < 5 * 0.5 / np.sqrt(100)


@pytest.mark.parametrize("level", ["batch", "sample"])
@pytest.mark.parametrize("scaling", ["test", "inverted"])
def test_factors_of_outputs_and_gradients(level, scaling, forward_and_gradients):
    layer = StochasticDepth(0.25, level, scaling, seed=1)
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    outputs, (gradients,) = forward_and_gradients(layer, x)
    survivor = 1.0 if scaling == "test" else 4.0
    assert set(np.unique(gradients)) <= {0.0, survivor}
    np.testing.assert_array_equal(outputs, gradients * x)
    if level == "sample":
        assert len(np.unique(gradients)) == 2


@pytest.mark.parametrize(("scaling", "factor"), [("test", 0.25), ("inverted", 1.0)])
def test_test_time_is_the_mean_of_training(scaling, factor):
    layer = StochasticDepth(0.25, "sample", scaling, seed=1)
    size = 20_000
    x = np.ones((size, 1), "float32")
    assert (numpy(layer(x)) == factor).all()
    assert (numpy(layer(x, training=False)) == factor).all()
    outputs = numpy(layer(x, training=True))
    assert abs(outputs.mean() - factor) < 5 * outputs.std() / np.sqrt(size)


def test_certain_survival_changes_nothing():
    x = np.random.default_rng(0).normal(size=(1000, 3)).astype("float32")
    for training in (False, True):
        outputs = StochasticDepth(1, "sample")(x, training=training)
        np.testing.assert_array_equal(numpy(outputs), x)


def test_a_dropped_block_is_its_shortcut():
    block = ResidualBlock([keras.layers.Dense(3), StochasticDepth(1e-6, seed=1)])
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    np.testing.assert_array_equal(numpy(block(x, training=True)), x)


def test_batches_of_unknown_size():
    model = keras.Sequential([keras.Input((3,)), StochasticDepth(0.5, "sample")])
    model.compile("sgd", "mse")
    model.fit(np.ones((7, 3)), np.ones((7, 3)), batch_size=4, verbose=0)


def test_config_makes_the_same_layer():
    layer = StochasticDepth(0.7, "sample", "inverted", seed=5, name="drop")
    config = layer.get_config()
    assert StochasticDepth.from_config(config).get_config() == config
    assert (config["survival_probability"], config["seed"]) == (0.7, 5)


def test_refuses_an_unknown_scaling():
    with pytest.raises(ValueError, match="scaling.*Did you mean 'inverted'"):
        StochasticDepth(scaling="invert")

import keras
import numpy as np
import pytest

from fixinit.layers import ShakeShake


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def pair(size=50):
    return np.random.default_rng(0).normal(size=(2, size, 4, 3)).astype("float32")


@pytest.mark.parametrize("forward", ["shake", "even"])
@pytest.mark.parametrize("backward", ["shake", "even", "keep"])
@pytest.mark.parametrize("level", ["batch", "sample"])
def test_modes(forward, backward, level, forward_and_gradients):
    first, second = pair()
    layer = ShakeShake(forward, backward, level, seed=1)
    # Ones and zeros show the weight of the first branch.
    alpha, (beta, rest) = forward_and_gradients(
        layer, np.ones_like(first), np.zeros_like(second)
    )
    draws = 1 if level == "batch" else 50
    assert len(np.unique(alpha)) == (draws if forward == "shake" else 1)
    np.testing.assert_allclose(beta + rest, 1, rtol=1e-6)
    if forward == "even":
        assert (alpha == 0.5).all()
    if backward == "keep":
        np.testing.assert_array_equal(beta, alpha)
    elif backward == "even":
        assert (beta == 0.5).all()
    else:
        assert len(np.unique(beta)) == draws
        assert (beta != alpha).any()
    layer = ShakeShake(forward, backward, level, seed=1)
    outputs, _ = forward_and_gradients(layer, first, second)
    np.testing.assert_allclose(
        outputs, alpha * first + (1 - alpha) * second, rtol=1e-5, atol=1e-6
    )


def test_weights_of_both_passes_are_uniform_and_independent(forward_and_gradients):
    size = 10_000
    ones, zeros = np.ones((size, 1), "float32"), np.zeros((size, 1), "float32")
    alpha, (beta, _) = forward_and_gradients(ShakeShake(seed=1), ones, zeros)
    for weights in (alpha, beta):
        assert 0 <= weights.min() and weights.max() < 1
        assert abs(weights.mean() - 0.5) < 5 * np.sqrt(1 / 12 / size)
    correlation = np.corrcoef(alpha.ravel(), beta.ravel())[0, 1]
    assert abs(correlation) < 5 / np.sqrt(size)


def test_test_time_is_the_mean():
    first, second = pair()
    outputs = numpy(ShakeShake()([first, second]))
    np.testing.assert_allclose(outputs, (first + second) / 2, rtol=1e-5, atol=1e-6)


def test_config_makes_the_same_layer():
    layer = ShakeShake("even", "keep", "batch", seed=5, name="shake")
    config = layer.get_config()
    assert ShakeShake.from_config(config).get_config() == config
    assert layer.compute_output_shape([(None, 3), (None, 3)]) == (None, 3)


def test_refuses_unknown_modes():
    with pytest.raises(ValueError, match="forward_mode.*'even'"):
        ShakeShake(forward_mode="keep")
    with pytest.raises(ValueError, match="backward_mode.*'keep'"):
        ShakeShake(backward_mode="kept")


@pytest.mark.parametrize("shapes", [[(1, 2), (1, 3)], [(1, 2)] * 3])
def test_refuses_other_than_two_branches_of_one_shape(shapes):
    with pytest.raises(ValueError, match="two branches of one shape"):
        ShakeShake()([np.ones(shape, "float32") for shape in shapes])


def test_refuses_integers():
    with pytest.raises(ValueError, match="uint8"):
        ShakeShake()([np.ones((1, 2), "uint8")] * 2)

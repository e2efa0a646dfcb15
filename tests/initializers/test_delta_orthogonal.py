import json

import keras
import numpy as np
import pytest

from fixinit.initializers import DeltaOrthogonal


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize(
    ("shape", "centre"),
    [
        ((5, 3, 8), (2,)),
        ((3, 3, 4, 4), (1, 1)),
        ((1, 1, 4, 6), (0, 0)),
        ((4, 3, 2, 5), (1, 1)),
        ((3, 3, 3, 2, 3), (1, 1, 1)),
    ],
)
def test_orthonormal_at_the_centre_and_zero_elsewhere(shape, centre):
    kernel = numpy(DeltaOrthogonal(seed=1)(shape, dtype="float32"))
    assert kernel.shape == shape
    matrix = kernel[centre].copy()
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(shape[-2]), atol=1e-5)
    kernel[centre] = 0
    assert not kernel.any()


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_convolutions_keep_the_norm_of_every_position(rank, kernel_size):
    layer = getattr(keras.layers, f"Conv{rank}D")(
        6,
        kernel_size,
        padding="same",
        data_format="channels_last",
        kernel_initializer=DeltaOrthogonal(gain=2.0, seed=1),
    )
    x = np.random.default_rng(0).normal(size=(2, *(5,) * rank, 4)).astype("float32")
    norms, expected = (np.linalg.norm(a, axis=-1) for a in (numpy(layer(x)), 2 * x))
    np.testing.assert_allclose(norms, expected, rtol=1e-5)


def test_orthogonal_matrices_are_uniform():
    # Entries of a uniform orthogonal n x n matrix have mean 0 and variance 1 / n;
    # draws are independent, entries nearly so: five deviations over the draws.
    draws = np.array([numpy(DeltaOrthogonal(seed=i)((3, 4, 4)))[1] for i in range(300)])
    assert np.abs(draws.mean(axis=0)).max() < 5 * np.sqrt(1 / 4 / 300)
    # The variance of the square of such an entry is 2 (n - 1) / (n^2 (n + 2)).
    deviation = np.sqrt(2 * 3 / (16 * 6) / 300)
    assert np.abs((draws**2).mean(axis=0) - 1 / 4).max() < 5 * deviation


def test_serialization():
    initializer = DeltaOrthogonal(gain=1.5, seed=3)
    config = keras.initializers.serialize(initializer)
    again = keras.initializers.deserialize(config)
    assert again.get_config() == {"gain": 1.5, "seed": 3}
    shape = (3, 3, 4, 4)
    np.testing.assert_array_equal(numpy(again(shape)), numpy(initializer(shape)))


@pytest.mark.parametrize("shape", [(4, 4), (4,), (1, 1, 1, 1, 4, 4)])
def test_refuses_what_is_not_a_convolution(shape):
    with pytest.raises(ValueError, match="one to three spatial axes"):
        DeltaOrthogonal()(shape)


def test_columns_are_orthonormal_where_the_layer_narrows():
    kernel = numpy(DeltaOrthogonal(gain=2.0, seed=1)((3, 3, 8, 4)))
    matrix = kernel[1, 1].copy()
    np.testing.assert_allclose(matrix.T @ matrix, 4 * np.eye(4), atol=1e-5)
    kernel[1, 1] = 0
    assert not kernel.any()


@pytest.mark.parametrize("gain", [float("nan"), float("inf"), "1", True, 10**400])
def test_refuses_a_gain_that_is_no_finite_number(gain):
    with pytest.raises(ValueError, match="`gain` must be a finite number"):
        DeltaOrthogonal(gain)


def test_takes_seeds_of_numpy():
    config = DeltaOrthogonal(seed=np.int64(3)).get_config()
    assert json.loads(json.dumps(config))["seed"] == 3

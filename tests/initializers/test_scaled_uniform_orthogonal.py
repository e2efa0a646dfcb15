import keras
import numpy as np
import pytest

from fixinit import theory
from fixinit.initializers import Rescaled, ScaledUniformOrthogonal, Stacked


def numpy(x):
    return keras.ops.convert_to_numpy(x)


SHAPES = {
    "dense": ((6, 4), ()),
    "widening": ((4, 6), ()),
    "1d": ((3, 6, 4), (1,)),
    "2d": ((4, 3, 4, 10), (1, 1)),
    "3d": ((3, 1, 2, 5, 5), (1, 0, 0)),
}


@pytest.mark.parametrize(("shape", "centre"), SHAPES.values(), ids=SHAPES)
def test_orthogonal_at_the_centre_and_zero_elsewhere(shape, centre):
    kernel = numpy(ScaledUniformOrthogonal(seed=1)(shape, dtype="float32"))
    assert kernel.shape == shape
    matrix, (inputs, outputs) = kernel[centre].copy(), shape[-2:]
    if outputs > inputs:
        matrix, scale = matrix.T, outputs / inputs
    else:
        scale = 1.0
    gram = matrix.T @ matrix
    np.testing.assert_allclose(gram, scale * np.eye(len(gram)), atol=1e-5)
    if centre:
        kernel[centre] = 0
        assert not kernel.any()


@pytest.mark.parametrize(("inputs", "outputs"), [(32, 32), (16, 48), (48, 16)])
def test_mean_squares_are_kept(inputs, outputs):
    x = np.random.default_rng(0).normal(size=(2000, inputs)).astype("float32")
    kernel = numpy(ScaledUniformOrthogonal(seed=0)((inputs, outputs)))
    read, given = (np.mean(a**2) for a in (x, x @ kernel))
    if outputs >= inputs:
        assert given == pytest.approx(read, rel=1e-5)
    # Five deviations of a mean over independent squares.
    assert given == pytest.approx(read, abs=5 * np.sqrt(2 / (2000 * outputs)) * 2)


@pytest.mark.parametrize("shape", [shape for shape, _ in SHAPES.values()])
def test_variance_is_what_theory_says(shape):
    mean, variance = theory.weight_moments(ScaledUniformOrthogonal(gain=1.5), shape)
    kernel = numpy(ScaledUniformOrthogonal(gain=1.5, seed=0)(shape))
    # The sum of squares is the same for all draws.
    assert (mean, variance) == (0.0, pytest.approx(np.mean(kernel**2), rel=1e-5))


@pytest.mark.parametrize("filters", [8, 32])
def test_prediction_of_convolutions_loses_nothing_at_the_border(filters):
    def make(kernel):
        layer = keras.layers.Conv2D(
            filters, 3, padding="same", kernel_initializer=kernel, name="conv"
        )
        return theory.predict(keras.Sequential([keras.Input((4, 4, 16)), layer]))

    kernel = ScaledUniformOrthogonal(seed=0)
    assert make(kernel)["conv"].mean_square == pytest.approx(1.0)
    assert make(Rescaled(kernel, 2.0))["conv"].mean_square == pytest.approx(4.0)


def test_draws_of_a_stack_are_those_of_its_rows():
    stacked = Stacked(ScaledUniformOrthogonal(seed=3), seed_step=2)
    rows = numpy(stacked((4, 3, 3, 4, 8)))
    for index, row in enumerate(rows):
        alone = ScaledUniformOrthogonal(seed=3 + 2 * index)((3, 3, 4, 8))
        np.testing.assert_allclose(row, numpy(alone), atol=1e-6)


def test_serialization():
    config = keras.initializers.serialize(ScaledUniformOrthogonal(gain=1.5, seed=3))
    again = keras.initializers.deserialize(config)
    assert again.get_config() == {"gain": 1.5, "seed": 3}


@pytest.mark.parametrize("shape", [(4,), (1, 1, 1, 1, 4, 4)])
def test_refuses_what_is_no_kernel(shape):
    with pytest.raises(ValueError, match="one to three spatial axes"):
        ScaledUniformOrthogonal()(shape)


@pytest.mark.parametrize("gain", [float("nan"), "1", True])
def test_refuses_a_gain_that_is_no_finite_number(gain):
    with pytest.raises(ValueError, match="`gain` must be a finite number"):
        ScaledUniformOrthogonal(gain)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded(dtype):
    kernel = ScaledUniformOrthogonal(seed=0)((3, 3, 4, 4), dtype=dtype)
    assert keras.backend.standardize_dtype(kernel.dtype) == dtype
    whole = numpy(ScaledUniformOrthogonal(seed=0)((3, 3, 4, 4)))
    rounded = numpy(keras.ops.cast(kernel, "float32"))
    np.testing.assert_allclose(rounded, whole, rtol=2**-8, atol=1e-6)

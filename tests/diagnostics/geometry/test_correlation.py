import keras
import numpy as np
import pytest
from keras import ops

import fixinit
from fixinit.diagnostics import gradient_correlation
from fixinit.diagnostics.geometry.correlation import GradientCorrelation
from tests.marks import on_torch, slow_on_tensorflow

LINE = np.linspace(-2, 2, 64, dtype="float32")[:, None]


def sine():
    """sin(3 x), whose derivative is known."""
    inputs = keras.Input((1,))
    return keras.Model(inputs, ops.sin(3.0 * inputs))


@pytest.mark.every_backend
def test_gradients_and_their_autocorrelation_are_the_closed_form():
    correlation = gradient_correlation(sine(), LINE)
    slope = 3 * np.cos(3 * LINE.astype("float64"))
    np.testing.assert_allclose(correlation.gradients, slope, atol=1e-4)
    deviation = slope[:, 0] - slope.mean()
    expected = [deviation[: 64 - k] @ deviation[k:] for k in range(11)]
    np.testing.assert_allclose(
        correlation.autocorrelation(10), np.array(expected) / expected[0], atol=1e-4
    )


def test_white_noise_has_no_autocorrelation_and_full_rank():
    noise = np.random.default_rng(0).normal(size=(400, 50))
    correlation = GradientCorrelation(noise)
    # Each lag is a sum over 50 columns of 400 products.
    bound = 4 / np.sqrt(noise.size)
    assert np.abs(correlation.autocorrelation(20)[1:]).max() < bound
    assert abs(correlation.mean) < bound
    assert correlation.effective_rank > 20


def test_gradients_of_a_linear_map_are_all_alike():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    correlation = gradient_correlation(model, x)
    assert correlation.mean == pytest.approx(1)
    assert correlation.effective_rank == pytest.approx(1)
    assert correlation.autocorrelation(3).tolist() == [1, 1, 1, 1]


def test_direction_says_which_output_is_meant():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    kernel = ops.convert_to_numpy(model.layers[0].kernel)
    x = np.ones((2, 4), "float32")
    correlation = gradient_correlation(model, x, direction=[0, 1, 0])
    np.testing.assert_allclose(
        correlation.gradients, np.tile(kernel[:, 1], (2, 1)), rtol=1e-5
    )
    with pytest.raises(ValueError, match="direction.*3 numbers.*2"):
        gradient_correlation(model, x, direction=[0, 1])


def test_class_probabilities_have_gradients():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, activation="softmax")]
    )
    x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    gradients = gradient_correlation(model, x).gradients
    assert np.linalg.norm(gradients, axis=1).min() > 1e-3


def test_dead_inputs_are_left_out_of_the_mean():
    gradients = np.array([[1.0, 0], [0, 0], [1, 1]])
    correlation = GradientCorrelation(gradients)
    assert np.isnan(correlation.matrix[1]).all()
    assert correlation.mean == pytest.approx(np.sqrt(0.5))


def test_training_mode_takes_the_gradient_through_the_statistics():
    inputs = keras.Input((1,))
    normalization = keras.layers.BatchNormalization(epsilon=1e-6)
    model = keras.Model(inputs, ops.square(normalization(inputs)))
    # The sum of the squares of normalized numbers is fixed.
    with pytest.raises(AssertionError):
        gradients = gradient_correlation(model, LINE).gradients
        np.testing.assert_allclose(gradients, 0, atol=1e-3)
    trained = gradient_correlation(model, LINE, training=True).gradients
    np.testing.assert_allclose(trained, 0, atol=1e-3)


@on_torch
def test_stacks_have_the_gradients_of_separate_blocks():
    gradients = [
        gradient_correlation(
            fixinit.models.ResidualMLP(
                6,
                8,
                scheme="scaled_residual",
                input_shape=(1,),
                classes=1,
                seed=0,
                stacked=stacked,
            ),
            LINE,
        ).gradients
        for stacked in (False, True)
    ]
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-6)


@slow_on_tensorflow
@pytest.mark.every_backend
@pytest.mark.parametrize("training", [False, True])
def test_measuring_changes_nothing(untouched, noisy_model, training):
    x = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
    with untouched(noisy_model):
        gradient_correlation(noisy_model, x, training=training)


def test_what_cannot_be_compared_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match="two inputs"):
        gradient_correlation(sine(), LINE[:1])
    with pytest.raises(ValueError, match="num_lags.*64"):
        gradient_correlation(sine(), LINE).autocorrelation(64)
    fixup = fixinit.models.ResidualMLP(2, 4, input_shape=(1,), seed=0)
    with pytest.raises(ValueError, match="zero at all inputs.*starts at zero.*head"):
        gradient_correlation(fixup, LINE)
    layers = [keras.layers.Rescaling(1e30) for _ in range(2)]
    with pytest.raises(ValueError, match="overflows"):
        gradient_correlation(keras.Sequential([keras.Input((1,)), *layers]), LINE)

import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics import jacobian_spectrum
from tests.marks import on_torch, slow_on_tensorflow

X = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")


def linear(*units, initializer="glorot_uniform"):
    layers = [keras.layers.Dense(n, kernel_initializer=initializer) for n in units]
    return keras.Sequential([keras.Input((8,)), *layers])


@pytest.mark.every_backend
@pytest.mark.parametrize("units", [3, 8, 12])
def test_linear_model_has_the_singular_values_of_its_kernel(units):
    model = linear(units)
    kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
    expected = np.linalg.svd(kernel)[1]
    spectrum = jacobian_spectrum(model, X)
    np.testing.assert_allclose(
        spectrum.singular_values, np.tile(expected, (3, 1)), rtol=1e-4
    )
    assert spectrum.complete and not spectrum.errors.any()
    np.testing.assert_allclose(spectrum.mean_square, np.mean(expected**2), rtol=1e-4)
    np.testing.assert_allclose(
        spectrum.condition_number, expected[0] / expected[-1], rtol=1e-4
    )


@on_torch
def test_stacked_blocks_have_the_spectrum_of_separate_ones():
    spectra = [
        jacobian_spectrum(
            fixinit.models.ResidualMLP(
                6,
                8,
                scheme="scaled_residual",
                input_shape=(8,),
                seed=0,
                stacked=stacked,
            ),
            X,
        )
        for stacked in (False, True)
    ]
    values = [spectrum.singular_values for spectrum in spectra]
    np.testing.assert_allclose(*values, rtol=1e-4)
    # Samples have Jacobians of their own.
    assert np.ptp(values[0][:, 0]) > 1e-2


@on_torch
def test_iteration_finds_the_ends_of_the_spectrum():
    model = fixinit.models.ResidualMLP(
        2, 64, scheme="scaled_residual", input_shape=(16,), classes=20, seed=0
    )
    x = np.random.default_rng(1).normal(size=(2, 16)).astype("float32")
    complete = jacobian_spectrum(model, x)
    ends = jacobian_spectrum(model, x, num_extremes=2, complete_up_to=0, tolerance=1e-3)
    assert not ends.complete
    np.testing.assert_allclose(
        ends.singular_values, complete.singular_values[:, [0, 1, -2, -1]], rtol=2e-3
    )
    cut = jacobian_spectrum(model, x, complete_up_to=0, max_iterations=8)
    assert np.all(cut.largest <= complete.largest * 1.0001)
    assert np.all(cut.smallest >= complete.smallest * 0.9999)
    gap = np.abs(complete.largest - cut.largest)
    assert np.all(gap <= cut.errors[:, 0] + 1e-4 * cut.largest)


@on_torch
def test_mean_square_is_unbiased_where_it_is_estimated():
    model = linear(8)
    exact = jacobian_spectrum(model, X[:1]).mean_square[0]
    estimates = [
        jacobian_spectrum(
            model, X, complete_up_to=0, max_iterations=1, seed=seed
        ).mean_square
        for seed in range(20)
    ]
    error = np.std(estimates) / np.sqrt(np.size(estimates))
    assert np.mean(estimates) == pytest.approx(exact, abs=4 * error)


@on_torch
def test_fixups_zero_head_gives_zeros_and_its_blocks_an_isometry():
    model = fixinit.models.ResidualMLP(5, 8, scheme="fixup", input_shape=(8,), seed=0)
    for complete_up_to in (0, 512):
        spectrum = jacobian_spectrum(model, X, complete_up_to=complete_up_to)
        assert not spectrum.singular_values.any()
    ends = [model.get_layer("block1").input, model.get_layer("block5").output]
    spectrum = jacobian_spectrum(keras.Model(*ends), X)
    np.testing.assert_allclose(spectrum.singular_values, 1, rtol=1e-5)


@on_torch
def test_training_mode_couples_the_samples():
    model = fixinit.models.ResidualMLP(
        2, 6, scheme="batch_norm", input_shape=(8,), classes=4, seed=0
    )
    assert jacobian_spectrum(model, X, training=True).singular_values.shape == (1, 12)
    assert jacobian_spectrum(model, X).singular_values.shape == (3, 4)
    ends = jacobian_spectrum(model, X, training=True, complete_up_to=0)
    complete = jacobian_spectrum(model, X, training=True)
    np.testing.assert_allclose(ends.largest, complete.largest, rtol=0.02)


def test_inputs_and_outputs_of_a_sample_are_one_long_vector():
    inputs = {name: keras.Input((4,), name=name) for name in "ab"}
    total = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    layer = keras.layers.Dense(5)
    model = keras.Model(inputs, [layer(total), 2 * inputs["b"]])
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    jacobian = np.concatenate([kernel.T, 2 * np.eye(8)[4:]])
    batch = {"a": X[:, :4], "b": X[:, 4:]}
    spectrum = jacobian_spectrum(model, batch)
    expected = np.tile(np.linalg.svd(jacobian)[1], (3, 1))
    np.testing.assert_allclose(spectrum.singular_values, expected, rtol=1e-4)


@pytest.mark.every_backend
def test_half_precision_and_convolutions_are_measured():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras.Sequential(
        [keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3, padding="same")]
    )
    x = np.ones((1, 6, 6, 2), "float32")
    complete = jacobian_spectrum(model, x)
    assert complete.singular_values.shape == (1, 72)
    ends = jacobian_spectrum(model, x, complete_up_to=0)
    # Eight bits of precision.
    np.testing.assert_allclose(ends.largest, complete.largest, rtol=0.02)


@slow_on_tensorflow
@pytest.mark.every_backend
@pytest.mark.parametrize("training", [False, True])
def test_measuring_changes_nothing(untouched, noisy_model, training):
    x = X[:, :5]
    with untouched(noisy_model):
        first = jacobian_spectrum(noisy_model, x, training=training)
        second = jacobian_spectrum(noisy_model, x, training=training)
    np.testing.assert_array_equal(first.singular_values, second.singular_values)


def test_what_cannot_be_measured_is_refused_with_a_way_out():
    model = linear(3)
    bad = X.copy()
    bad[1, 2] = np.nan
    with pytest.raises(ValueError, match="finite"):
        jacobian_spectrum(model, bad)
    with pytest.raises(TypeError, match="floating-point"):
        jacobian_spectrum(model, np.ones((2, 8), "int32"))
    tokens = keras.Input((4,), dtype="int32")
    embedded = keras.layers.Embedding(10, 3)(tokens)
    with pytest.raises(TypeError, match="embedding.output"):
        jacobian_spectrum(keras.Model(tokens, embedded), np.ones((2, 4), "int32"))
    with pytest.raises(ValueError, match="not built"):
        jacobian_spectrum(keras.Sequential([keras.layers.Dense(2)]), X)
    with pytest.raises(ValueError, match="num_extremes"):
        jacobian_spectrum(model, X, num_extremes=0)
    model.layers[0].kernel.assign(np.full((8, 3), np.nan))
    with pytest.raises(ValueError, match="diverged"):
        jacobian_spectrum(model, X)


@pytest.mark.every_backend
@pytest.mark.parametrize("complete_up_to", [0, 512])
def test_overflow_is_an_error_and_float64_the_way_out(complete_up_to):
    keras.config.set_floatx("float64")
    try:
        layers = [keras.layers.Rescaling(1e20, dtype="float64") for _ in range(2)]
        wide = keras.Sequential([keras.Input((3,), dtype="float64"), *layers])
        layers = [keras.layers.Rescaling(1e20, dtype="float32") for _ in range(2)]
        narrow = keras.Sequential([keras.Input((3,), dtype="float32"), *layers])
    finally:
        keras.config.set_floatx("float32")
    x = np.full((1, 3), 1e-20)
    with pytest.raises(ValueError, match="overflows float32.*float64"):
        jacobian_spectrum(narrow, x, complete_up_to=complete_up_to)
    if keras.backend.backend() != "jax":  # Whose float64 must be enabled first.
        spectrum = jacobian_spectrum(wide, x, complete_up_to=complete_up_to)
        np.testing.assert_allclose(spectrum.largest, 1e40)

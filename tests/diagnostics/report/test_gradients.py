import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics import GradientNorms, gradient_norms
from fixinit.diagnostics.report.gradients import global_norm, loss_and_gradients
from tests.marks import slow_on_tensorflow

X = np.random.default_rng(0).normal(size=(16, 5)).astype("float32")
Y = np.random.default_rng(1).normal(size=(16, 2)).astype("float32")


def test_gradients_of_a_linear_model_are_the_closed_form():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    kernel, bias = (keras.ops.convert_to_numpy(v) for v in model.trainable_variables)
    value, gradients = loss_and_gradients(model, keras.losses.MeanSquaredError())(X, Y)
    residual = X @ kernel + bias - Y
    assert float(value) == pytest.approx(np.square(residual).mean(), rel=1e-5)
    expected = [2 / residual.size * X.T @ residual, 2 * residual.mean(axis=0) / 2]
    for gradient, reference in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(gradient), reference, atol=1e-5
        )


def test_norms_are_named_by_path_and_add_up():
    model = fixinit.models.ResidualMLP(
        2, 8, scheme="unnormalized", input_shape=(5,), classes=2, seed=0
    )
    norms = gradient_norms(model, keras.losses.MeanSquaredError(), X, Y).norms
    assert list(norms) == [v.path for v in model.trainable_variables]
    assert len(set(norms)) == len(model.trainable_variables)
    assert global_norm(norms.values()) ** 2 == pytest.approx(
        sum(n**2 for n in norms.values())
    )


def test_variables_without_influence_have_norm_zero():
    model = fixinit.models.ResidualMLP(2, 8, input_shape=(5,), classes=2, seed=0)
    norms = gradient_norms(model, keras.losses.MeanSquaredError(), X, Y).norms
    # Fixup's head starts at zero: nothing but the head moves the loss.
    assert norms["block1/weight1/kernel"] == 0
    assert norms["head/kernel"] > 0


@slow_on_tensorflow
@pytest.mark.every_backend
def test_measuring_changes_nothing_and_sees_new_weights():
    model = fixinit.models.ResidualMLP(
        2, 8, scheme="batch_norm", input_shape=(5,), classes=2, seed=0
    )
    before = [keras.ops.convert_to_numpy(v.value) for v in model.variables]
    measure = GradientNorms(model, keras.losses.MeanSquaredError())
    first = measure(X, Y, training=True)
    for v, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(v.value), value)
    model.get_layer("head").bias.assign([1.0, 1.0])
    second = measure(X, Y, training=True)
    assert first.loss != second.loss

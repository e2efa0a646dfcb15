"""Scalars that meet tensors: their gradients, with and without XLA."""

import keras
import numpy as np
import pytest

from fixinit import backend, layers

X = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("float32")


@pytest.mark.parametrize("jit_compile", [True, False])
@pytest.mark.parametrize("shape", [(120,), (20, 6), (4, 5, 6)], ids=str)
@pytest.mark.parametrize(
    ("layer", "gradient"),
    [
        (layers.ScalarBias, 1),
        (layers.ScalarMultiplier, np.mean(X, dtype="float64")),
    ],
)
def test_one_step_moves_the_scalar_by_its_gradient(layer, gradient, shape, jit_compile):
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("Keras has no compiler for PyTorch on the CPU.")
    layer = layer()
    inputs = keras.Input(batch_shape=shape)
    model = keras.Model(inputs, layer(inputs))
    before = float(keras.ops.convert_to_numpy(layer.scalar))
    model.compile(
        keras.optimizers.SGD(1.0),
        lambda y, y_pred: keras.ops.mean(y_pred),
        jit_compile=jit_compile,
    )
    x = X.reshape(shape)
    model.train_on_batch(x, np.zeros_like(x))
    moved = before - float(keras.ops.convert_to_numpy(layer.scalar))
    assert moved == pytest.approx(gradient, rel=1e-5, abs=1e-6)


def test_only_xla_on_tensorflow_gets_a_vector():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("for TensorFlow")
    shapes = []

    def outputs(scalar, x):
        shapes.append(tuple(backend.spread(scalar, x).shape))
        return x

    for jit_compile in (True, False):
        run = tf.function(outputs, jit_compile=jit_compile)
        run(tf.constant(1.0), tf.constant(X))
    assert shapes == [(6,), ()]

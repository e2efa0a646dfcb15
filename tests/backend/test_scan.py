"""The loop: values, gradients, chunks."""

import keras
import numpy as np
import pytest
from keras import ops

from fixinit import backend
from tests.marks import mostly_slow

LENGTH, WIDTH = 6, 3


def step(carry, x):
    (h,) = carry
    kernel, shift = x
    h = h + ops.tanh(ops.matmul(h, kernel)) * shift
    return [h], [ops.mean(h)]


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    h = rng.normal(size=(4, WIDTH)).astype("float32")
    kernels = rng.normal(size=(LENGTH, WIDTH, WIDTH)).astype("float32")
    shifts = rng.normal(size=LENGTH).astype("float32")
    return [ops.convert_to_tensor(a) for a in (h, kernels, shifts)]


def unrolled(h, kernels, shifts):
    means = []
    for index in range(LENGTH):
        (h,), (mean,) = step([h], [kernels[index], shifts[index]])
        means.append(mean)
    return h, ops.stack(means)


def scanned(checkpoint_every=None, keep=True):
    def run(h, kernels, shifts):
        (h,), (means,) = backend.scan(
            step,
            [h],
            [kernels, shifts],
            y_like=[keras.KerasTensor((), "float32")],
            checkpoint_every=checkpoint_every,
            keep=keep,
        )
        return h, means

    return run


def loss_of(function):
    return lambda tensors: ops.sum(ops.square(function(*tensors)[0]))


@mostly_slow(
    "options",
    [
        {},
        {"keep": False},
        {"checkpoint_every": 1},
        {"checkpoint_every": 2},
        {"checkpoint_every": 4},  # leaves a rest of 2 steps
        {"checkpoint_every": 6},
        {"checkpoint_every": 50},
    ],
    quick=4,
    ids=str,
)
def test_values_and_gradients_equal_an_unrolled_loop(problem, options):
    expected = backend.value_and_gradients(loss_of(unrolled))(problem)
    value, gradients = backend.value_and_gradients(loss_of(scanned(**options)))(problem)
    np.testing.assert_allclose(
        ops.convert_to_numpy(value), ops.convert_to_numpy(expected[0]), rtol=1e-5
    )
    for gradient, wanted in zip(gradients, expected[1], strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(gradient),
            ops.convert_to_numpy(wanted),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("every", [None, 2, 4])
def test_outputs_of_every_step_are_stacked(problem, every):
    run = backend.compiled(scanned(every))
    _, means = run(*problem)
    expected = unrolled(*problem)[1]
    np.testing.assert_allclose(
        ops.convert_to_numpy(means), ops.convert_to_numpy(expected), rtol=1e-5
    )


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="XLA is a choice on TensorFlow only"
)
@mostly_slow("every", [None, 4], quick=1)
def test_gradients_under_xla_on_tensorflow(problem, every):
    import tensorflow as tf

    def gradients(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = loss_of(scanned(every))(tensors)
        return tape.gradient(loss, tensors)

    expected = backend.value_and_gradients(loss_of(unrolled))(problem)[1]
    found = tf.function(gradients, jit_compile=True)(*problem)
    for gradient, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="for JAX")
def test_activations_are_computed_again(problem):
    import jax

    def step_with_activation(carry, x):
        (h,) = carry
        kernel, shift = x
        return [h + keras.activations.relu(ops.matmul(h, kernel) + shift)], []

    def run(h, kernels, shifts):
        return backend.scan(step_with_activation, [h], [kernels, shifts])[0][0]

    _, gradient = jax.vjp(run, *problem)
    kept = [a.shape for a in jax.tree.leaves(gradient) if a.shape[1:] == (4, WIDTH)]
    # What the block takes and the matrix product, and nothing of the activation.
    assert len(kept) == 2

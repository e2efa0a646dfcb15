import keras
import numpy as np
import pytest
from keras import ops

from fixinit import backend

W = np.array([0.5, -1.0, 2.0], "float32")


def cubes(variables, scale):
    return scale * ops.sum(variables[0] ** 3)


@pytest.mark.every_backend
def test_gradients_of_a_function_of_gradients():
    # g = 3 a w^2, and the gradient of |g|^2 / 2 is 18 a^2 w^3.
    inner = backend.inner_gradients(cubes)

    def half_square(variables, scale):
        return ops.sum(inner(variables, scale)[0] ** 2) / 2

    # That of the sum of those is 54 a^2 w^2.
    def total(variables, scale):
        return ops.sum(backend.inner_gradients(half_square)(variables, scale)[0])

    tensors = [ops.convert_to_tensor(W)], ops.convert_to_tensor(2.0)
    value, (gradient,) = backend.value_and_gradients(half_square)(*tensors)
    assert float(value) == pytest.approx(float(np.sum((6 * W**2) ** 2) / 2))
    found = keras.ops.convert_to_numpy(gradient)
    np.testing.assert_allclose(found, 72 * W**3, rtol=1e-5)
    _, (gradient,) = backend.value_and_gradients(total)(*tensors)
    found = keras.ops.convert_to_numpy(gradient)
    np.testing.assert_allclose(found, 216 * W**2, rtol=1e-5)


@pytest.mark.every_backend
def test_what_the_function_does_not_read_has_a_gradient_of_zero():
    def value(variables, scale):
        first, second = backend.inner_gradients(cubes)(variables, scale)
        return ops.sum(first) + ops.sum(second)

    tensors = [ops.convert_to_tensor(W), ops.ones((2,))]
    _, gradients = backend.value_and_gradients(value)(
        tensors, ops.convert_to_tensor(1.0)
    )
    first, second = (keras.ops.convert_to_numpy(g) for g in gradients)
    np.testing.assert_allclose(first, 6 * W, rtol=1e-5)
    assert not second.any()

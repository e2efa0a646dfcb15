import keras
import numpy as np
import pytest
from keras import ops

from fixinit import backend
from tests.marks import slow_on_tensorflow

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(4, 3)).astype("float32")
X = RNG.normal(size=(2, 4)).astype("float32")


def products(function, inputs, vectors, *args):
    vjp, jvp = backend.vector_products(function)
    found = []
    for product, kind in ((vjp, 0), (jvp, 1)):
        given = [ops.convert_to_tensor(v) for v in vectors[kind]]
        outputs = product([ops.convert_to_tensor(h) for h in inputs], given, *args)
        found.append([ops.convert_to_numpy(h) for h in outputs])
    return found


def test_products_of_a_nonlinear_map_are_the_closed_form():
    def function(inputs, matrix):
        return [ops.tanh(ops.matmul(inputs[0], matrix))]

    u = RNG.normal(size=(2, 3)).astype("float32")
    v = RNG.normal(size=(2, 4)).astype("float32")
    matrix = ops.convert_to_tensor(MATRIX)
    (left,), (right,) = products(function, [X], ([u], [v]), matrix)
    slope = 1 - np.tanh(X @ MATRIX) ** 2
    np.testing.assert_allclose(left, (u * slope) @ MATRIX.T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(right, (v @ MATRIX) * slope, rtol=1e-4, atol=1e-6)


def test_several_inputs_and_outputs_and_those_without_influence():
    def function(inputs):
        a, b, _ = inputs
        return [a * b, ops.zeros_like(a), 3.0 * b]

    a, b, c = RNG.normal(size=(3, 2)).astype("float32")
    u, v = RNG.normal(size=(2, 3, 2)).astype("float32")
    left, right = products(function, [a, b, c], (list(u), list(v)))
    expected = [u[0] * b, u[0] * a + 3 * u[2], 0 * c]
    for found, reference in zip(left, expected, strict=True):
        np.testing.assert_allclose(found, reference, rtol=1e-5, atol=1e-6)
    expected = [v[0] * b + v[1] * a, 0 * a, 3 * v[1]]
    for found, reference in zip(right, expected, strict=True):
        np.testing.assert_allclose(found, reference, rtol=1e-5, atol=1e-6)


@slow_on_tensorflow
@pytest.mark.parametrize("remat", [None, "sqrt"])
def test_products_pass_through_stacks(remat):
    import fixinit

    block = fixinit.layers.ResidualBlock([keras.layers.Dense(4, "tanh")])
    stack = fixinit.layers.Stack(block, 4, remat=remat)
    stack.build((2, 4))

    def function(inputs, values):
        return [stack.stateless_call(values, [], inputs[0])[0]]

    u, v = RNG.normal(size=(2, 2, 4)).astype("float32")
    values = [w.value for w in stack.trainable_variables]
    (left,), (right,) = products(function, [X], ([u], [v]), values)
    # Both are the one number u^T J v.
    assert np.sum(left * v) == pytest.approx(np.sum(u * right), rel=1e-4)
    small = 1e-2
    ahead, behind = (
        ops.convert_to_numpy(stack(ops.convert_to_tensor(X + d * v)))
        for d in (small, -small)
    )
    np.testing.assert_allclose(
        right, (ahead - behind) / 2 / small, rtol=2e-2, atol=0.02
    )

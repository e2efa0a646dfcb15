"""Arithmetic of tensors and scalars: gradients, precision, with and without XLA."""

import keras
import numpy as np
import pytest

from fixinit import backend, layers
from fixinit.backend import scalar_arithmetic
from tests.marks import slow_on_tensorflow

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
        shapes.append(tuple(scalar_arithmetic.spread(scalar, x).shape))
        return x

    for jit_compile in (True, False):
        run = tf.function(outputs, jit_compile=jit_compile)
        run(tf.constant(1.0), tf.constant(X))
    assert shapes == [(6,), ()]


# A million activations, whose upstream gradients of 1/2 add up to 500,000: float16 ends
# at 65,504, and bfloat16 cannot add 1/2 to 256.
MILLION = (1000, 1000)
HALF = ["float16", "bfloat16"]


def scalar_gradient(layer, jit_compile):
    """The gradient of a layer's scalars for upstream gradients of 1/2."""
    model = keras.Sequential([keras.Input(MILLION[1:]), layer])
    before = keras.ops.convert_to_numpy(layer.trainable_variables[0])
    model.compile(
        keras.optimizers.SGD(1.0),
        lambda y, y_pred: keras.ops.sum(y_pred * keras.ops.cast(0.5, y_pred.dtype)),
        jit_compile=jit_compile,
        # A scaled loss would overflow whatever the sum is.
        auto_scale_loss=False,
    )
    # Not summed: the value of the loss is no matter, and may overflow.
    x = np.ones(MILLION, "float32")
    model.train_on_batch(x, np.zeros((len(x), 1)))
    return before - keras.ops.convert_to_numpy(layer.trainable_variables[0])


@slow_on_tensorflow
@pytest.mark.parametrize("jit_compile", [True, False])
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("layer", [layers.ScalarBias, layers.ScalarMultiplier])
def test_gradients_of_a_million_are_summed_in_float32(layer, dtype, jit_compile):
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("Keras has no compiler for PyTorch on the CPU.")
    found = scalar_gradient(layer(dtype=f"mixed_{dtype}"), jit_compile)
    assert found == pytest.approx(500_000, rel=1e-3)


@slow_on_tensorflow
@pytest.mark.parametrize("jit_compile", [True, False])
@pytest.mark.parametrize("layer", [layers.ScalarBias, layers.ScalarMultiplier])
def test_stacks_sum_gradients_in_float32(layer, jit_compile):
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("Keras has no compiler for PyTorch on the CPU.")
    block = layers.ResidualBlock(
        [layer(dtype="mixed_float16")],
        # A stack's constants are tensors of half precision.
        merge=layers.ScaledAdd(0.5, 0.5, dtype="mixed_float16"),
        dtype="mixed_float16",
    )
    constants = {"merge.branch_scale": [0.5, 0.5, 0.5]}
    stack = layers.Stack(block, 3, constants=constants)
    found = scalar_gradient(stack, jit_compile)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, 250_000, rtol=1e-3)


@pytest.mark.parametrize("dtype", [*HALF, "float32"])
@pytest.mark.parametrize("operation", ["add_scalar", "multiply_by_scalar"])
def test_gradients_of_both_arguments(operation, dtype):
    x = keras.ops.cast(X, dtype)
    upstream = keras.ops.cast(np.random.default_rng(1).normal(size=X.shape), dtype)

    def total(inputs):
        outputs = getattr(backend, operation)(*inputs)
        assert keras.backend.standardize_dtype(outputs.dtype) == dtype
        products = keras.ops.cast(outputs, "float32") * keras.ops.cast(
            upstream, "float32"
        )
        return keras.ops.sum(products)

    scalar = keras.ops.convert_to_tensor(0.75)
    by_x, by_scalar = backend.value_and_gradients(total)([x, scalar])[1]
    assert keras.backend.standardize_dtype(by_x.dtype) == dtype
    assert keras.backend.standardize_dtype(by_scalar.dtype) == "float32"
    x, upstream, by_x = (
        keras.ops.convert_to_numpy(keras.ops.cast(t, "float32"))
        for t in (x, upstream, by_x)
    )
    factor, slope = (1, np.ones_like(x)) if operation == "add_scalar" else (0.75, x)
    np.testing.assert_allclose(by_x, factor * upstream, rtol=1e-2, atol=1e-2)
    assert float(by_scalar) == pytest.approx(np.sum(slope * upstream), rel=1e-5)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("operation", ["add_scalar", "multiply_by_scalar"])
def test_products_with_vectors_from_both_sides(operation, dtype):
    """Forward mode and second derivatives, which diagnostics take."""
    x = keras.ops.cast(X, dtype)
    scalar = keras.ops.convert_to_tensor(0.75)
    vjp, jvp = backend.vector_products(lambda v: [getattr(backend, operation)(*v)])
    one = keras.ops.ones_like(x)
    (along,) = jvp([x, scalar], [one, keras.ops.convert_to_tensor(2.0)])
    slope = np.ones_like(X) if operation == "add_scalar" else X
    factor = 1 if operation == "add_scalar" else 0.75
    found = keras.ops.convert_to_numpy(keras.ops.cast(along, "float32"))
    np.testing.assert_allclose(found, factor + 2 * slope, rtol=2e-2, atol=2e-2)
    _, by_scalar = vjp([x, scalar], [one])
    rounded = keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))
    expected = slope.size if operation == "add_scalar" else rounded.sum()
    assert float(by_scalar) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("layer", [layers.ScalarBias, layers.ScalarMultiplier])
def test_forward_pass_stays_in_half_precision(layer, dtype):
    layer = layer(dtype=f"mixed_{dtype}")
    layer.build((None, 6))
    x = keras.ops.cast(X, dtype)
    if keras.backend.backend() == "jax":
        import jax

        equations = jax.make_jaxpr(lambda x: layer(x))(x).jaxpr.eqns
        made = [v.aval for equation in equations for v in equation.outvars]
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        traced = tf.function(lambda x: layer(x)).get_concrete_function(x)
        made = [t for op in traced.graph.get_operations() for t in op.outputs]
    else:
        from torch.utils._python_dispatch import TorchDispatchMode

        made = []

        class Record(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                outputs = function(*args, **(kwargs or {}))
                made.append(outputs)
                return outputs

        with Record():
            layer(x)
    large = [t for t in made if tuple(t.shape) == X.shape]
    assert large
    assert {keras.backend.standardize_dtype(t.dtype) for t in large} == {dtype}

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops

from fixinit import backend

ON_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow keeps gradients"
)


@backend.custom_gradient
def tripled(x):
    """Doubles a tensor; its gradient is thrice the upstream one."""

    def gradient(*args, upstream=None):
        return 3 * (args[0] if upstream is None else upstream)

    return 2 * x, gradient


def value(variables):
    return ops.sum(tripled(variables[0]))


def test_gradient_is_the_given_one():
    evaluate = backend.value_and_gradients(value)
    found, (gradient,) = evaluate([ops.ones((2, 3))])
    assert float(found) == 12
    np.testing.assert_array_equal(ops.convert_to_numpy(gradient), np.full((2, 3), 3.0))


def registered():
    from tensorflow.python.framework import ops

    return len(list(ops.gradient_registry.list()))


@ON_TENSORFLOW
def test_traced_function_takes_its_gradients_with_it():
    import tensorflow as tf

    graphs = []

    def watched(variables):
        graphs.append(weakref.ref(tf.compat.v1.get_default_graph()))
        return value(variables)

    before = registered()
    evaluate = backend.value_and_gradients(watched)
    evaluate([ops.ones((2, 3))])
    vjp, jvp = backend.vector_products(lambda inputs: [tripled(inputs[0])])
    for product in (vjp, jvp):
        ((x,), (y,)) = [ops.ones(3)], [ops.ones(3)]
        np.testing.assert_array_equal(product([x], [y])[0], np.full(3, 3.0))
    assert registered() == before
    del evaluate, vjp, jvp, product
    gc.collect()
    assert graphs and not any(graph() for graph in graphs)


@ON_TENSORFLOW
def test_gradients_of_other_functions_stay():
    import tensorflow as tf

    function = tf.function(tripled, autograph=False)
    x = tf.ones(3)
    function(x)
    backend.value_and_gradients(value)([x])
    # Of a traced function, whose gradient is looked up by name.
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    np.testing.assert_array_equal(tape.gradient(y, x), np.full(3, 3.0))

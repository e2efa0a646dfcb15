import keras
import numpy as np
import pytest

from fixinit import backend


def test_dense_gradients_stay_as_they_are():
    x = np.arange(6.0, dtype="float32").reshape(2, 3)
    found = backend.dense(keras.ops.convert_to_tensor(x))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), x)


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras has no sparse tensors there"
)
def test_entries_that_are_named_twice_are_added_up():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        values = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        shape = tf.constant([3, 2])
        sparse = tf.IndexedSlices(values, tf.constant([2, 0, 2]), shape)
    else:
        import jax.experimental.sparse
        import jax.numpy as jnp

        values, indices = jnp.array([3.0, 4.0, 1.0, 2.0, 5.0, 6.0]), [0, 0, 2, 2, 2, 2]
        places = jnp.array([*zip(indices, [0, 1] * 3, strict=True)])
        sparse = jax.experimental.sparse.BCOO((values, places), shape=(3, 2))
    found = keras.ops.convert_to_numpy(backend.dense(sparse))
    np.testing.assert_array_equal(found, [[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]])

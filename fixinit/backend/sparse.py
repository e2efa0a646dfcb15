"""Sparse gradients, which layers that look rows up have on some backends."""

from typing import Any

import keras
from keras import ops


def dense(gradient: Any) -> Any:
    """A gradient as a dense tensor, in which what is named twice is added up.

    `keras.ops.convert_to_tensor` leaves TensorFlow's `IndexedSlices` as they are, and
    operations on them treat a row that is there twice as two.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if isinstance(gradient, tf.IndexedSlices):
            return tf.convert_to_tensor(gradient)
    return ops.convert_to_tensor(gradient, sparse=False)

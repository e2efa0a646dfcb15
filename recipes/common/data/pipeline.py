"""Batches of many epochs as one `tf.data.Dataset`, for every backend."""

import tensorflow as tf


def epochs_in_a_row(batches_of, first, stop, signature):
    """The batches of the epochs `first` to `stop - 1`, one epoch after the other.

    Args:
        batches_of: Callable from an epoch, counted from 0, to its batches, which are
            tuples of NumPy arrays.
        first: int.
        stop: int.
        signature: Tuple of `tf.TensorSpec`s with the size of a batch, without which
            TensorFlow cannot divide it among devices and hands each a whole one.
    """

    def generate():
        for epoch in range(first, stop):
            yield from batches_of(epoch)

    batches = tf.data.Dataset.from_generator(generate, output_signature=signature)
    # A thread that runs Python code when the iterator is deleted waits for the
    # interpreter, which waits for the thread.
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    return batches.with_options(options)

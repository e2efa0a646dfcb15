"""Inputs that are standard normal behind what a model does to its data."""

import keras
import numpy as np

import fixinit


def standard_inputs(model, num_samples, seed=0):
    """Random inputs of a model with one input.

    Networks are initialized for standardized data. Those that scale or standardize it
    themselves, as most of `keras.applications` do, get data for which that gives it.

    Args:
        model: Functional or Sequential `keras.Model`; the sizes of all axes are known.
        num_samples: int.
        seed: int.

    Returns:
        Array of float32.
    """
    shape = tuple(model.input_shape[1:])
    if None in shape:
        raise ValueError(
            f"The sizes of all axes of the inputs must be known. Received: {shape}."
        )
    x = np.random.default_rng(seed).normal(size=(num_samples, *shape))
    return as_read(model, x)


def as_read(model, x):
    """Data for which a model, behind what it does to its data, computes on `x`.

    Args:
        model: As for `standard_inputs`.
        x: Array, standardized data.

    Returns:
        Array of float32.
    """
    for layer in reversed(list(_preprocessing(model))):
        if isinstance(layer, keras.layers.Rescaling):
            x = (x - np.asarray(layer.offset)) / np.asarray(layer.scale)
        else:
            mean, variance = map(
                keras.ops.convert_to_numpy, (layer.mean, layer.variance)
            )
            x = x * np.sqrt(variance) + mean
    return x.astype("float32")


def _preprocessing(model):
    """The layers that scale the data, in order."""
    graph = fixinit.graph.trace(model)
    consumers, value = graph.consumers(), graph.inputs[0]
    while True:
        readers = consumers.get(value, [])
        kinds = (keras.layers.Rescaling, keras.layers.Normalization)
        if len(readers) != 1 or not isinstance(readers[0].operation, kinds):
            return
        yield readers[0].operation
        value = readers[0].outputs[0]

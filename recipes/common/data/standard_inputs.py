"""Inputs that are standard normal after a model's own preprocessing layers."""

import keras
import numpy as np

import fixinit
from fixinit import _keras


def standard_inputs(model, num_samples, seed=0):
    """Random inputs of a model.

    Networks are initialized for standardized data. Those that scale or standardize it
    themselves, as most of `keras.applications` do, get data for which that gives it.
    Where a model reads integers, they are rows of its embeddings.

    Args:
        model: Functional or Sequential `keras.Model`. Axes of unknown size get that of
            `fixinit.graph.with_sizes`.
        num_samples: int.
        seed: int.

    Returns:
        Array, or, for several inputs, arrays in the structure of `model.input`.
    """
    rng, found = np.random.default_rng(seed), []
    for index, spec in enumerate(model.inputs):
        shape = (num_samples, *fixinit.graph.with_sizes(spec.shape)[1:])
        if "int" in spec.dtype:
            found.append(rng.integers(_rows(model), size=shape).astype(spec.dtype))
        else:
            found.append(as_read(model, rng.normal(size=shape), index))
    return keras.tree.pack_sequence_as(model.input, found)


def _rows(model):
    """Those of the model's smallest embedding."""
    tables = (
        x for x in _keras.flatten_layers(model) if isinstance(x, keras.layers.Embedding)
    )
    return min((table.input_dim for table in tables), default=2)


def as_read(model, x, index=0):
    """Data that a model's preprocessing layers map to `x`.

    Args:
        model: As for `standard_inputs`.
        x: Array, standardized data.
        index: int, of the input that gets it.

    Returns:
        Array of float32.
    """
    for layer in reversed(list(_preprocessing(model, index))):
        if isinstance(layer, keras.layers.Rescaling):
            x = (x - np.asarray(layer.offset)) / np.asarray(layer.scale)
        else:
            mean, variance = map(
                keras.ops.convert_to_numpy, (layer.mean, layer.variance)
            )
            x = x * np.sqrt(variance) + mean
    return x.astype("float32")


def _preprocessing(model, index):
    """The layers that scale the data, in order."""
    graph = fixinit.graph.trace(model)
    consumers, value = graph.consumers(), graph.inputs[index]
    while True:
        readers = consumers.get(value, [])
        kinds = (keras.layers.Rescaling, keras.layers.Normalization)
        if len(readers) != 1 or not isinstance(readers[0].operation, kinds):
            return
        yield readers[0].operation
        value = readers[0].outputs[0]

"""Random batches for networks of any inputs."""

import keras
import numpy as np

import fixinit
from recipes.common.data.standard_inputs import as_read

SIZE, LENGTH = 16, 8
# Of inputs and of what a network makes of them, in standard deviations.
TOLERANCE = 1e-2


def batch(model, seed, shapes=None):
    """Random inputs: standard normal, whole numbers that all vocabularies have.

    Networks that standardize data themselves get data for which that gives standard
    normal numbers. Masks let everything through.

    Args:
        model: Functional `keras.Model`.
        seed: int.
        shapes: Dict from names of inputs to shapes without the batch. Axes of unknown
            size get 8 elements otherwise.
    """
    rng, shapes = np.random.default_rng(seed), shapes or {}

    def draw(index, spec):
        sizes = shapes.get(spec.name, (size or LENGTH for size in spec.shape[1:]))
        shape = (spec.shape[0] or SIZE, *sizes)
        if "mask" in spec.name or spec.dtype == "bool":
            return np.ones(shape, spec.dtype)
        if "int" in spec.dtype:
            return rng.integers(0, 2, shape).astype(spec.dtype)
        return as_read(model, rng.normal(size=shape), index)

    specs = keras.tree.flatten(model.input)
    found = [draw(index, spec) for index, spec in enumerate(specs)]
    found = [_standardized(model, index, x) for index, x in enumerate(found)]
    return keras.tree.pack_sequence_as(model.input, found)


def _standardized(model, index, x):
    """Data for which operations in front of the first weights give `x`.

    They are taken to scale and shift channels.
    """
    graph = fixinit.graph.trace(model)
    consumers, value, calls = graph.consumers(), graph.inputs[index], []
    while True:
        readers = consumers.get(value, [])
        if len(readers) != 1 or len(readers[0].inputs) != 1:
            break
        is_layer = isinstance(readers[0].operation, keras.layers.Layer)
        if is_layer or len(readers[0].outputs) != 1:
            break
        calls += readers
        (value,) = readers[0].outputs
    if not calls or "float" not in str(x.dtype):
        return x
    y = x
    for call in calls:
        args, kwargs = call.fill([keras.ops.convert_to_tensor(y)])
        y = keras.ops.convert_to_numpy(call.operation(*args, **kwargs))
    if y.shape != x.shape:
        return x
    axes = tuple(range(x.ndim - 1))
    scale = y.std(axes) / x.std(axes)
    shift = y.mean(axes) - scale * x.mean(axes)
    is_affine = np.allclose(scale * x + shift, y, atol=TOLERANCE)
    return ((x - shift) / scale).astype(x.dtype) if is_affine else x

"""Frees a functional model from a batch size that its operations hold."""

from typing import Any

import keras
import numpy as np
from keras import tree

from fixinit import _keras
from fixinit._functional import deep_graphs
from fixinit.graph.functional import ends_again, input_again
from fixinit.layers import BroadcastBatch

# A batch size that is no other size of a network.
MARK = 1009


def freed(model: keras.Model) -> keras.Model:
    """The model for batches of any size, of one for batches of `MARK` inputs.

    Operations with the batch size among their arguments are made again without it:
    what reshapes infers that axis, and what broadcasts reads it off the inputs. Of
    constants with a row for every input of the batch, equal ones become one.

    Args:
        model: Functional `keras.Model` that is made of layers and operations.

    Raises:
        ValueError: If the batch size is also used in other ways.
    """
    tensors: dict[int, Any] = {}
    for old in model.inputs:
        tensors[id(old)] = input_again(old, (None, *old.shape[1:]))
    like = tensors[id(model.inputs[0])]
    for node in _keras.calls(model):
        if not node.is_input:
            given = tree.flatten(_again(node, tensors, like))
            tensors.update(zip(map(id, node.outputs), given, strict=True))
    inputs, outputs = ends_again(model, tensors)
    with deep_graphs():
        return keras.Model(inputs, outputs, name=model.name)


def _again(node: Any, tensors: dict[int, Any], like: Any) -> Any:
    """What a call gives in the freed model."""
    operation = node.operation
    args, kwargs = tree.map_structure(_once, node.arguments.fill_in(tensors))
    if isinstance(operation, keras.layers.Layer):
        return operation(*args, **kwargs)
    config = operation.get_config()
    if not any(_is_mark(x) for x in tree.flatten(config)):
        return operation(*args, **kwargs)
    (shape,) = (tuple(tensor.shape) for tensor in node.outputs)
    if shape[:1] != (MARK,) or shape.count(MARK) > 1:
        raise ValueError(f"`{operation.name}` computes with the batch size.")
    if "newshape" in config:
        config["newshape"] = (-1, *shape[1:])
        return type(operation).from_config(config)(*args, **kwargs)
    if node.input_tensors[0].shape[0] == MARK:
        raise ValueError(f"`{operation.name}` computes with the batch size.")
    return BroadcastBatch(shape[1:], name=operation.name)([args[0], like])


def _is_mark(x: Any) -> bool:
    return isinstance(x, (int, np.integer)) and int(x) == MARK


def _once(x: Any) -> Any:
    """A constant with equal rows for a whole batch as one row, others as they are."""
    if isinstance(x, (keras.KerasTensor, keras.Variable)):
        return x
    if not (isinstance(x, np.ndarray) or keras.ops.is_tensor(x)):
        return x
    rows = keras.ops.convert_to_numpy(x)
    if rows.shape[:1] != (MARK,):
        return x
    if not np.array_equal(rows, np.broadcast_to(rows[:1], rows.shape)):
        raise ValueError("A constant of the graph differs from input to input.")
    return keras.ops.convert_to_tensor(rows[:1])

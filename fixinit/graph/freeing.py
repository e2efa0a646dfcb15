"""Frees a functional model from a batch size that its operations hold."""

from typing import Any

import keras
import numpy as np
from keras import tree

from fixinit import _keras
from fixinit._functional import deep_graphs
from fixinit.graph.functional import ends_again, functional_of, input_again
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
    return _freed(model, {})


def _freed(model: keras.Model, made: dict[int, keras.Model]) -> keras.Model:
    """The freed model. `made` are those of the models in it, by their ids."""
    functional = functional_of(model)
    if id(model) in made:
        return made[id(model)]
    tensors: dict[int, Any] = {}
    for old in functional.inputs:
        batch, *sizes = old.shape
        tensors[id(old)] = input_again(old, (None if batch == MARK else batch, *sizes))
    like = tensors[id(functional.inputs[0])]
    for node in _keras.calls(functional):
        if not node.is_input:
            given = tree.flatten(_again(node, tensors, like, made))
            tensors.update(zip(map(id, node.outputs), given, strict=True))
    inputs, outputs = ends_again(functional, tensors)
    with deep_graphs():
        made[id(model)] = keras.Model(inputs, outputs, name=model.name)
    return made[id(model)]


def _again(
    node: Any, tensors: dict[int, Any], like: Any, made: dict[int, keras.Model]
) -> Any:
    """What a call gives in the freed model."""
    operation = node.operation
    args, kwargs = tree.map_structure(_once, node.arguments.fill_in(tensors))
    inner = functional_of(operation)
    if inner is not None and any(x.shape[:1] == (MARK,) for x in inner.inputs):
        return _freed(operation, made)(*args, **kwargs)
    if isinstance(operation, keras.layers.Layer):
        return operation(*args, **kwargs)
    config = operation.get_config()
    if not any(_is_marked(x) for x in tree.flatten(config)):
        return operation(*args, **kwargs)
    (shape,) = (tuple(tensor.shape) for tensor in node.outputs)
    if "newshape" in config:
        config["newshape"] = _inferred(shape, operation.name)
        return type(operation).from_config(config)(*args, **kwargs)
    is_alone = shape[:1] == (MARK,) and not any(map(_is_marked, shape[1:]))
    if not is_alone or node.input_tensors[0].shape[0] == MARK:
        raise ValueError(f"`{operation.name}` computes with the batch size.")
    return BroadcastBatch(shape[1:], name=operation.name)([args[0], like])


def _inferred(shape: Any, name: str) -> tuple[int, ...]:
    """A shape to be reshaped to, with the axis that holds the batch left open.

    It may hold more than that, as windows of images do.
    """
    marked = [_is_marked(n) for n in shape]
    if sum(marked) != 1:
        raise ValueError(f"`{name}` computes with the batch size.")
    return tuple(-1 if m else int(n) for m, n in zip(marked, shape, strict=True))


def _is_marked(x: Any) -> bool:
    """Whether a number is the batch size, or a multiple of it."""
    return isinstance(x, (int, np.integer)) and int(x) > 0 and int(x) % MARK == 0


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

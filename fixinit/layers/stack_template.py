"""The template of a stack's blocks, and the blocks themselves."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import _keras
from fixinit._typing import Shape, Tensor
from fixinit.layers import block_configs, stack_arguments


def drawn_by_blocks(
    stack: Any, index: int, input_shape: Shape, shape: Shape, dtype: Any = None
) -> Tensor:
    """Weight `index` of all blocks, where its initializer is a function.

    Takes as long as to build the blocks, unless two of them draw the same.
    """
    rows = []
    for block in made_blocks(stack):
        build_block(stack, block, input_shape)
        rows.append(ops.convert_to_numpy(block.variables[index]))
        if len(rows) == 2 and np.array_equal(*rows):
            rows = stack.depth * rows[:1]
            break
    return ops.cast(np.stack(rows), dtype)


def made_blocks(stack: Any) -> Iterator[keras.layers.Layer]:
    """Yields the blocks one by one, most of them not built."""
    config = keras.saving.serialize_keras_object(stack.block)
    for index in range(stack.depth):
        shifted = block_configs.with_seeds_shifted(config, index * stack.seed_step)
        name = shifted["config"]["name"] = f"{stack.block.name}_{index}"
        # Functional models are built when they are made; PyTorch's parameters
        # need paths of their own.
        with keras.name_scope(name):
            block = block_configs.make(stack.block, shifted)
        for path, numbers in stack.constants.items():
            owner, name = block_configs.resolve(block, path)
            setattr(owner, name, numbers[index])
        yield block


def build_block(stack: Any, block: keras.layers.Layer, shape: Shape) -> None:
    """Gives a block all the variables that the template has."""
    if len(block.variables) != len(stack.block.variables):
        block(keras.KerasTensor(shape, block.compute_dtype))


def build_template(
    stack: Any, shape: tuple
) -> tuple[keras.layers.Layer, dict[int, Any]]:
    """A built copy of the block, and the initializers of its weights by their ids."""
    if not all(isinstance(n, (int, type(None))) for n in shape):
        raise ValueError(
            f"Layer `{stack.name}` takes one tensor. Received shapes: {shape}"
        )
    block = stack.block
    stack_arguments.check_unused(block)
    built = built_shape(block)
    if built is not None and not agree(built, shape):
        raise ValueError(
            f"Block `{block.name}` of `{stack.name}` was built on the shape "
            f"{built}. Received: {shape}. Give the stack a block that is not "
            "built yet, or that was built on this shape."
        )
    # Variables that are made here are not drawn, and keep their initializers.
    with keras.StatelessScope():
        # A copy: variables that exist have lost theirs, and the block stays as
        # it is.
        config = keras.saving.serialize_keras_object(block)
        block = block_configs.copied(block, config)
        outputs = block(keras.KerasTensor(shape, block.compute_dtype))
        starts = {id(v): _keras.initializer(v) for v in block.weights}
        for variable in block.weights:
            _keras.set_initializer(variable, keras.initializers.Zeros())
    if not isinstance(outputs, keras.KerasTensor) or (
        tuple(outputs.shape) != shape or outputs.dtype != block.compute_dtype
    ):
        raise ValueError(
            f"Block `{block.name}` of `{stack.name}` must put out the shape and "
            f"dtype that it takes. Received: {shape} of {block.compute_dtype}, "
            f"out comes {outputs}. Leave blocks that change the shape out of the "
            "stack."
        )
    return block, starts


def state_ids(block: keras.layers.Layer) -> set[int]:
    """The ids of the variables that calls may change: statistics, seeds."""
    weights = {id(v) for v in block.weights}
    states = {id(v) for x in _keras.flatten_layers(block) for v in _keras.own_state(x)}
    return states | {id(v) for v in block.variables if id(v) not in weights}


def built_shape(block: keras.layers.Layer) -> Any:
    """The shape that a layer was built on, `None` if it is not known."""
    if not block.weights:
        return None
    shape = (block.get_build_config() or {}).get("input_shape")
    shape = getattr(block, "input_shape", None) if shape is None else shape
    return None if shape is None else tuple(shape)


def agree(built: Any, shape: Any) -> bool:
    """Whether two shapes differ at most in the batch and in unknown axes."""
    return len(built) == len(shape) and all(
        n is None or m is None or n == m
        for n, m in zip(built[1:], shape[1:], strict=True)
    )


def inner_scopes(variable: Any, block: keras.layers.Layer) -> Any:
    """The names between a block and one of its variables, for its path."""
    *scopes, _ = variable.path.split("/")
    if block.name in scopes:
        scopes = scopes[scopes.index(block.name) + 1 :]
    return scopes

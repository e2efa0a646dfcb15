"""The units of weights, which clipping measures one by one."""

from typing import Any

import keras

from fixinit import _keras
from fixinit.layers import Stack
from fixinit.layers.facts import inherited_facts

# The axes that count a weight's units, by the id of the weight.
Units = dict[int, tuple[int, ...]]


def units_of(layer: keras.layers.Layer) -> Units:
    """The axes that count the units of every weight in a layer or model.

    * What a layer declares in `fixinit.layers.Facts.units` comes first.
    * The weights of layers that act element by element (normalizations, activations
      with weights, scales) are one unit each.
    * In a `fixinit.layers.Stack`, every block has the units that it has by itself.
    * Of what no layer declares, vectors are one unit each, as in the authors' code,
      and so is what has one axis of more than one entry. Of other weights the last axis
      counts the units, as it counts the outputs in Keras's layouts.

    Args:
        layer: Built Keras layer or model.

    Returns:
        Dict from the ids of weights to tuples of ints, all of them at least 0.

    Raises:
        ValueError: If a layer declares an axis that its weight does not have.
    """
    # A layer that wraps another may hold its weights too, without knowing them.
    declared: Units = {}
    assumed: Units = {}
    for part in _keras.flatten_layers(layer):
        if isinstance(part, Stack):
            declared |= _of_stack(part)
        else:
            declared |= _declared(part)
            assumed |= _assumed(part)
    return assumed | declared


def _declared(layer: keras.layers.Layer) -> Units:
    """The units of the weights of which a layer itself declares them."""
    found: Units = {}
    for name, axes in inherited_facts(layer).units.items():
        weight = getattr(layer, name, None)
        if isinstance(weight, keras.Variable):
            found[id(weight)] = _checked_axes(layer, weight, name, axes)
    return found


def _assumed(layer: keras.layers.Layer) -> Units:
    """The units of the weights of a layer itself, by what else it declares."""
    facts = inherited_facts(layer)
    whole = facts.normalizes or facts.activates or facts.scales_branch
    return {
        id(weight): ()
        if whole or facts.elementwise
        else _undeclared(tuple(weight.shape))
        for weight in _keras.own_weights(layer)
    }


def _of_stack(stack: Stack) -> Units:
    """The units of a stack's weights: those of the block, for each block."""
    if not stack.built:
        return {}
    of_block = units_of(stack.block)
    pairs = zip(stack.stacked_variables, stack.block.variables, strict=True)
    return {
        id(stacked): (0, *(axis + 1 for axis in of_block[id(template)]))
        for stacked, template in pairs
        if id(template) in of_block
    }


def _undeclared(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The units of a weight of which only the shape is known."""
    is_vector = sum(size > 1 for size in shape) <= 1
    return () if is_vector else (len(shape) - 1,)


def _checked_axes(
    layer: keras.layers.Layer, weight: keras.Variable, name: str, axes: Any
) -> tuple[int, ...]:
    """Declared axes, counted from the front."""
    rank = len(weight.shape)
    if not all(isinstance(axis, int) and -rank <= axis < rank for axis in axes):
        raise ValueError(
            f"Layer `{layer.name}` of {type(layer).__name__} declares the units of "
            f"`{name}` along the axes {axes}. Axes are integers of at least {-rank} "
            f"and below {rank} for its shape {tuple(weight.shape)}. Mend "
            "`fixinit.layers.Facts.units` there."
        )
    return tuple(sorted({axis % rank for axis in axes}))

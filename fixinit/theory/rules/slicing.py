"""Rules for what takes some of the positions or channels, or repeats them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.evaluation.arrays import with_arrays
from fixinit.theory.registry import Setting, how_to_register, register
from fixinit.theory.rules.axes import axis_of
from fixinit.theory.rules.shape_layers import to_shape


def take(x: Moments, axis: int, indices: Sequence[int]) -> Moments:
    """Some of the positions of an axis, or of the channels, its last axis."""
    if axis == len(x.shape):
        y = calculus.select_channels(x, indices)
    else:
        y = calculus.select(x, axis, indices)
    if x.unfolded is not None and y is not x:
        base, sizes, places = x.unfolded
        if (place := places[axis]) is not None:
            # They are drawn from other weights than the rest.
            channels = np.arange(base.total_channels).reshape(sizes)
            chosen = np.take(channels, list(indices), axis=place).ravel()
            y.sources = calculus.select_channels(base, chosen.tolist()).sources
    return y


def _size(x: Moments, axis: int) -> int:
    return (*x.shape, x.total_channels)[axis]


@register("GetItem")
def get_item(operation: Any, setting: Setting, x: Moments, key: Any) -> Moments:
    keys = list(key) if isinstance(key, (tuple, list)) else [key]
    rank = len(x.shape) + 2
    if Ellipsis in keys:
        place = keys.index(Ellipsis)
        taken = sum(k is not None for k in keys) - 1
        keys[place : place + 1] = [slice(None)] * (rank - taken)
    if x.batch:
        return _of_moved(x, keys, operation, setting)
    axis = 0
    for one in keys:
        if one is None:
            continue
        if axis == 0 and not isinstance(one, slice):
            raise NoRuleError(
                f"No variance rule for `{setting.name}`, which takes one input of the "
                f"batch. Received: {key}"
            )
        if axis:
            x = take(x, axis - 1, _indices(one, _size(x, axis - 1), operation, setting))
        axis += 1
    return to_shape(x, setting)


def _of_moved(x: Moments, keys: list, operation: Any, setting: Setting) -> Moments:
    """Indices of a tensor whose batch is not its first axis."""
    if None in keys or len(keys) > x.batch and keys[x.batch] != slice(None):
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which adds axes or takes inputs "
            f"of a batch that is not the first axis. Received: {keys}"
        )
    kept, batch = [True] * (len(x.shape) + 1), x.batch
    for place, one in enumerate(keys):
        if place != x.batch:
            axis = place - (place > x.batch)
            indices = _indices(one, _size(x, axis), operation, setting)
            taken = take(x, axis, indices)
            taken.batch, x = x.batch, taken
            kept[axis] = isinstance(one, slice)
            batch -= place < x.batch and not kept[axis]
    sizes = [*x.shape, x.total_channels]
    sizes = [size for size, keeps in zip(sizes, kept, strict=True) if keeps]
    y = calculus.rearrange(x, sizes or [1])
    y.batch = batch
    return y


def _indices(one: Any, size: int, operation: Any, setting: Setting) -> list[int]:
    """The indices that a slice or an int selects of an axis."""
    if isinstance(one, slice):
        parts = (one.start, one.stop, one.step)
        if all(p is None or isinstance(p, (int, np.integer)) for p in parts):
            found = list(range(size)[one])
            if found:
                return found
    elif isinstance(one, (int, np.integer)):
        return [range(size)[int(one)]]
    raise NoRuleError(
        f"No variance rule for `{setting.name}`, which is indexed with {one!r}. Rules "
        "know ints and slices of ints that select something. "
        + how_to_register(operation)
    )


@register("Split", "ArraySplit")
def split(operation: Any, setting: Setting, x: Moments) -> list[Moments]:
    axis = axis_of(operation.axis, len(x.shape) + 2, setting)
    parts = np.array_split(np.arange(_size(x, axis)), operation.indices_or_sections)
    if not all(len(part) for part in parts):
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, one of whose parts is empty. "
            f"Received: indices_or_sections={operation.indices_or_sections}"
        )
    return [take(x, axis, [int(i) for i in part]) for part in parts]


@register("Unstack")
def unstack(operation: Any, setting: Setting, x: Moments) -> list[Moments]:
    if x.batch:
        before = [slice(None)] * (operation.axis % (len(x.shape) + 2))
        count = _size(x, len(before) - (len(before) > x.batch))
        keys = ([*before, index] for index in range(count))
        return [_of_moved(x, key, operation, setting) for key in keys]
    axis = axis_of(operation.axis, len(x.shape) + 2, setting)
    sizes = [*x.shape, x.total_channels]
    count = sizes.pop(axis)
    parts = [take(x, axis, [i]) for i in range(count)]
    return [calculus.rearrange(part, sizes or [1]) for part in parts]


@register("Take")
def take_indices(operation: Any, setting: Setting, x: Any, indices: Any) -> Moments:
    if isinstance(x, Moments) and isinstance(indices, Moments) and not operation.axis:
        return _rows_of(x, setting)
    if not isinstance(x, Moments) or isinstance(indices, Moments):
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which takes values by computed "
            "indices. " + how_to_register(operation)
        )
    places = np.asarray(indices)
    if operation.axis is None or places.ndim > 1:
        raise NoRuleError(
            f"No variance rule for `{setting.name}` but with an axis and a list of "
            f"indices. Received: axis={operation.axis}, indices of shape {places.shape}"
        )
    axis = axis_of(operation.axis, len(x.shape) + 2, setting)
    size = _size(x, axis)
    y = take(x, axis, [int(i) % size for i in places.ravel()])
    return to_shape(y, setting)


def _rows_of(table: Moments, setting: Setting) -> Moments:
    """Rows of a table, as in an embedding: those of different tokens."""
    mean = table.mean_value
    variance = max(table.mean_square - mean**2, 0.0)
    return Moments.inputs(setting.output_shape, mean, variance)


@register("Flip")
def flip(operation: Any, setting: Setting, x: Moments) -> Moments:
    for axis in _listed(operation.axis, operation, setting):
        place = axis_of(axis, len(x.shape) + 2, setting)
        x = take(x, place, range(_size(x, place))[::-1])
    return x


@register("Roll")
def roll(operation: Any, setting: Setting, x: Moments) -> Moments:
    axes = _listed(operation.axis, operation, setting)
    shifts = np.broadcast_to(operation.shift, len(axes))
    for axis, shift in zip(axes, shifts.tolist(), strict=True):
        place = axis_of(axis, len(x.shape) + 2, setting)
        size = _size(x, place)
        x = take(x, place, [(i - shift) % size for i in range(size)])
    return x


@register("Repeat")
def repeat(operation: Any, setting: Setting, x: Moments) -> Moments:
    (axis,) = _listed(operation.axis, operation, setting)
    x = with_arrays(x)
    if axis == 0:  # the inputs of a batch, or weights for each of them
        return to_shape(x, setting)
    place = axis_of(axis, len(x.shape) + 2, setting)
    each = np.asarray(operation.repeats)
    indices = np.repeat(np.arange(_size(x, place)), each if each.ndim else int(each))
    return take(x, place, [int(i) for i in indices])


@register("Tile")
def tile(operation: Any, setting: Setting, x: Moments) -> Moments:
    repeats = list(np.atleast_1d(np.asarray(operation.repeats, object)))
    x = with_arrays(x)
    rank = len(x.shape) + 2
    repeats = [1] * (rank - len(repeats)) + repeats
    if len(repeats) > rank:
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which adds an axis in front of "
            f"the batch. Received: repeats={operation.repeats}"
        )
    for place, count in enumerate(repeats[1:]):
        x = take(x, place, list(range(_size(x, place))) * int(count))
    return x


@register("BroadcastTo")
def broadcast_to(operation: Any, setting: Setting, x: Moments) -> Moments:
    return broadcast(x, setting.output_shape)


def broadcast(x: Moments, sizes: Sequence[int]) -> Moments:
    """Repeats axes of size 1, and adds such axes in front, up to some sizes."""
    missing = len(sizes) - 1 - len(x.shape)
    x = calculus.reshape(x, (*(1,) * missing, *x.shape))
    for place, size in enumerate(sizes):
        if size != _size(x, place):
            x = take(x, place, [0] * size)
    return x


def _listed(axis: Any, operation: Any, setting: Setting) -> list[int]:
    """The axes of an operation that may take one, several or none."""
    if axis is None:
        raise NoRuleError(
            f"No variance rule for `{setting.name}` without an axis. "
            + how_to_register(operation)
        )
    return [axis] if isinstance(axis, int) else list(axis)

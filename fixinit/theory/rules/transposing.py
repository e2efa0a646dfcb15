"""Rules for operations that reshape and transpose, positions and channels alike."""

from collections.abc import Sequence
from typing import Any

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.evaluation.arrays import with_arrays
from fixinit.theory.registry import Setting, register
from fixinit.theory.rules.axes import axis_of
from fixinit.theory.rules.merging_layers import concatenate_along
from fixinit.theory.rules.shape_layers import to_shape


@register("Transpose")
def transpose(operation: Any, setting: Setting, x: Moments) -> Moments:
    order = operation.axes or range(len(x.shape) + 2)[::-1]
    return _in_order(x, order)


@register("Swapaxes")
def swap_axes(operation: Any, setting: Setting, x: Moments) -> Moments:
    order = list(range(len(x.shape) + 2))
    first, second = operation.axis1, operation.axis2
    order[first], order[second] = order[second], order[first]
    return _in_order(x, order)


@register("Moveaxis")
def move_axis(operation: Any, setting: Setting, x: Moments) -> Moments:
    rank = len(x.shape) + 2
    source, destination = (
        [axis % rank for axis in axes]
        for axes in (operation.source, operation.destination)
    )
    order = [axis for axis in range(rank) if axis not in source]
    for place, axis in sorted(zip(destination, source, strict=True)):
        order.insert(place, axis)
    return _in_order(x, order)


def _in_order(x: Moments, order: Sequence[int]) -> Moments:
    rank = len(x.shape) + 2
    places = [int(axis) % rank for axis in order]
    order = [axis - (axis > x.batch) for axis in places if axis != x.batch]
    batch = places.index(x.batch)
    y = calculus.transpose(x, order)
    if y is x and batch != x.batch:
        y = calculus.scale(x, 1.0)
    y.batch = batch
    if x.unfolded is not None:
        base, sizes, factors = x.unfolded
        y.unfolded = base, sizes, [factors[axis] for axis in order]
    if not batch and order[-1] != rank - 2:
        y.turned = x, order
    return y


@register("Reshape", "ExpandDims", "Squeeze", "Ravel")
def reshape(
    operation: Any, setting: Setting, x: Moments, *args: Any, **kwargs: Any
) -> Moments:
    return to_shape(x, setting)


@register("Stack")
def stack(operation: Any, setting: Setting, xs: Sequence[Moments]) -> Moments:
    xs = with_arrays(xs)
    sizes = [*xs[0].shape, xs[0].total_channels]
    axis = axis_of(operation.axis, len(sizes) + 2, setting)
    sizes.insert(axis, 1)
    apart = [calculus.rearrange(x, sizes) for x in xs]
    return concatenate_along(apart, axis + 1, setting)


@register("DepthToSpace")
def depth_to_space(operation: Any, setting: Setting, x: Moments) -> Moments:
    (height, width), size = x.shape, operation.block_size
    channels = x.total_channels // size**2
    x = calculus.rearrange(x, (height, width, size, size, channels))
    x = calculus.transpose(x, [0, 2, 1, 3, 4])
    return calculus.rearrange(x, (height * size, width * size, channels))


@register("SpaceToDepth")
def space_to_depth(operation: Any, setting: Setting, x: Moments) -> Moments:
    (height, width), size = x.shape, operation.block_size
    height, width = height // size, width // size
    x = calculus.rearrange(x, (height, size, width, size, x.total_channels))
    x = calculus.transpose(x, [0, 2, 1, 3, 4])
    return calculus.rearrange(x, (height, width, size**2 * x.total_channels))

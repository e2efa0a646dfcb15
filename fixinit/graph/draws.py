"""Finds weight layers that hold the same draw of an initializer."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from fixinit import _keras
from fixinit._checked import checked
from fixinit.graph.calls import Graph


@dataclasses.dataclass(frozen=True)
class EqualDraws:
    """Kernels that hold the same numbers, drawn by equal initializers.

    Example:

    >>> same = keras.initializers.HeNormal()
    >>> first = keras.layers.Dense(8, kernel_initializer=same, name="a")
    >>> second = keras.layers.Dense(8, kernel_initializer=same, name="b")
    >>> x = keras.Input((8,))
    >>> graph = fixinit.graph.trace(keras.Model(x, first(second(first(x)))))
    >>> (group,) = fixinit.graph.equal_draws(graph)
    >>> group.names, group.calls
    (('a', 'b'), ('a', 'a:2', 'b'))

    Attributes:
        names: Tuple of strings, the calls of the layers that hold them, each with the
            name of the layer inside of it, if that holds the kernel.
        calls: Tuple of strings, all calls of these layers.
    """

    names: tuple[str, ...]
    calls: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """A variable of two or more axes, and the variable that has its value."""

    name: str
    variable: keras.Variable
    holder: keras.Variable
    calls: list[str]


@checked
def equal_draws(graph: Graph) -> list[EqualDraws]:
    """Kernels of a graph that hold the same draw, in groups.

    A Keras initializer has one seed, and draws the same again: an instance that several
    layers are given, or an integer as the seed of each, makes equal kernels of those
    that have one shape. Kernels that an initializer without a seed makes, such as zeros
    and the identity, are none, nor are weights that layers share, or that were loaded.

    Example:

    >>> same = keras.initializers.HeNormal()
    >>> x = inputs = keras.Input((8,))
    >>> for name in "abc":
    ...     x = keras.layers.Dense(8, kernel_initializer=same, name=name)(x)
    >>> graph = fixinit.graph.trace(keras.Model(inputs, x))
    >>> [group.names for group in fixinit.graph.equal_draws(graph)]
    [('a', 'b', 'c')]

    Args:
        graph: `fixinit.graph.Graph`.

    Returns:
        List of `EqualDraws`.
    """
    alike: dict[Any, dict[int, _Kernel]] = collections.defaultdict(dict)
    for kernel, key in _kernels(graph, {}):
        first = alike[key].setdefault(id(kernel.variable), kernel)
        first.calls.extend(kernel.calls if first is not kernel else ())
    found: dict[tuple[str, ...], EqualDraws] = {}
    for kernels in alike.values():
        for group in _equal(list(kernels.values())):
            names = tuple(dict.fromkeys(kernel.name for kernel in group))
            calls = tuple(call for kernel in group for call in kernel.calls)
            found.setdefault(names, EqualDraws(names, calls))
    return list(found.values())


def _kernels(
    graph: Graph, outer: Mapping[int, keras.Variable]
) -> Iterator[tuple[_Kernel, Any]]:
    """Yields kernels with the draws that they may hold.

    Args:
        graph: `Graph`.
        outer: Dict from ids of variables of a stack's template to those that hold their
            values for all blocks.
    """
    for call in graph.calls:
        operation = call.operation
        if not isinstance(operation, keras.layers.Layer):
            continue
        if call.body is not None:
            stack: Any = operation
            pairs = zip(stack.block.variables, stack.stacked_variables, strict=True)
            inner = {id(one): outer.get(id(all_), all_) for one, all_ in pairs}
            yield from _kernels(call.body, inner)
            continue
        for layer in _keras.flatten_layers(operation):
            own = layer is operation
            name = call.name if own else f"{call.name}/{layer.name}"
            for variable in _own_kernels(layer):
                holder = outer.get(id(variable), variable)
                for draw in _draws(layer):
                    kernel = _Kernel(name, variable, holder, [call.name])
                    yield kernel, (draw, tuple(variable.shape))


def _own_kernels(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The variables of two or more axes of a layer itself."""
    inside = {
        id(variable)
        for part in _keras.flatten_layers(layer, include_self=False)
        for variable in part.weights
    }
    return [v for v in layer.weights if len(v.shape) > 1 and id(v) not in inside]


def _draws(layer: keras.layers.Layer) -> Iterator[Any]:
    """What tells apart the draws of a layer's initializers that have one seed."""
    for value in vars(layer).values():
        if not isinstance(value, keras.initializers.Initializer):
            continue
        if isinstance(getattr(value, "seed", None), int):
            config = {**value.get_config(), "seed": value.seed}
            yield type(value), str(sorted(config.items()))


def _equal(kernels: list[_Kernel]) -> Iterator[list[_Kernel]]:
    """Groups of kernels that hold the same numbers, of which two differ."""
    if len(kernels) < 2:
        return
    groups: dict[bytes, list[_Kernel]] = {}
    for kernel in kernels:
        value = keras.ops.cast(kernel.holder.value, "float32")
        numbers = np.asarray(keras.ops.convert_to_numpy(value))
        if np.ptp(numbers) > 0:
            groups.setdefault(numbers.tobytes(), []).append(kernel)
    yield from (group for group in groups.values() if len(group) > 1)

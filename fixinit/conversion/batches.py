"""Batches for one pass through a converted model, and the kernels on its way."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit.conversion import kinds
from fixinit.conversion.edits import place_of
from fixinit.graph import Call, Graph, with_sizes
from fixinit.graph.functional import functional_of
from fixinit.graph.random_inputs import random_array
from fixinit.layers import facts_of

# Numbers that a batch has at the input: a few images, or more samples of few features.
_NUMBERS = 2**17
_FEWEST, _MOST = 2, 32
# For axes of unknown size, where the usual one is more than a table of positions has.
_SHORT = 8


def kernels_of(graph: Graph, plan: Any, rewriter: Any) -> dict[Call, Any]:
    """The `Kernel`s of a plan, by the calls of the converted model."""
    kernels = {
        rewriter.own_place(kernel.weight.call): kernel for kernel in plan.kernels
    }
    return {c: kernels[place_of(c)] for c in graph.calls if place_of(c) in kernels}


def open_sizes(graph: Graph) -> tuple[int | None, ...]:
    """The sizes to try for axes of unknown size, as `inputs` takes them."""
    is_open = any(None in graph.specs[value].shape[1:] for value in graph.inputs)
    return (None, _SHORT) if is_open else (None,)


def stems(
    graph: Graph, roles: Mapping[Call, str], batch: int, rng: np.random.Generator
) -> dict[Call, np.ndarray]:
    """What stems read: standard normal numbers, whatever is in front of them."""
    found = {}
    for call, role in roles.items():
        if role == "stem" and kinds.reads_signals(call.operation):
            sizes = with_sizes(graph.specs[call.inputs[0]].shape)[1:]
            found[call] = rng.standard_normal([batch, *(n or 1 for n in sizes)])
    return found


def inputs(
    model: keras.Model,
    graph: Graph,
    size: int | None,
    rng: np.random.Generator,
    data: Any = None,
    most: int = _MOST,
    numbers: int = _NUMBERS,
) -> list[np.ndarray]:
    """A batch for each input of the model, drawn or taken from the data.

    Args:
        model: The converted model.
        graph: Its `fixinit.graph.Graph`.
        size: int, that of axes of unknown size; `None` for that of
            `fixinit.graph.with_sizes`.
        rng: NumPy's random generator.
        data: Inputs of the model, or `None`.
        most: int, the largest batch of what is drawn.
        numbers: int, what a batch that is drawn holds at most, if two samples do.
    """
    shapes = [graph.specs[value].shape for value in graph.inputs]
    shapes = [(s[0], *(n or size for n in s[1:])) for s in shapes]
    shapes = [with_sizes(shape) for shape in shapes]
    features = sum(math.prod(n or 1 for n in shape[1:]) for shape in shapes)
    batch = int(np.clip(numbers // features, _FEWEST, most))
    if data is not None:
        return [x[:batch] for x in arrays(model, data)]
    return [
        _drawn(graph, value, (shape[0] or batch, *shape[1:]), rng)
        for value, shape in zip(graph.inputs, shapes, strict=True)
    ]


def open_shape(model: keras.Model, data: Any) -> list[tuple[int, ...]] | None:
    """The shapes of a batch without its first axis, for a model that leaves sizes open.

    `None` without data, and where the model has sizes of its own, or others.
    """
    own = [tuple(x.shape[1:]) for x in functional_of(model).inputs]
    if data is None or all(None not in shape for shape in own):
        return None
    given = [x.shape[1:] for x in arrays(model, data)]
    fits = [
        len(shape) == len(sizes)
        and all(n in (None, m) for n, m in zip(shape, sizes, strict=True))
        for shape, sizes in zip(own, given, strict=False)
    ]
    return given if len(given) == len(own) and all(fits) else None


def arrays(model: keras.Model, data: Any) -> list[np.ndarray]:
    """The arrays of a batch, in the order of the model's inputs."""
    functional = functional_of(model)
    names = [tensor.name for tensor in functional.inputs]
    if isinstance(data, dict) and set(names) <= data.keys():
        found = [data[name] for name in names]
    else:
        found = tree.flatten(data)
    return [np.asarray(ops.convert_to_numpy(x)) for x in found]


def _tables(consumers: Mapping[int, list[Call]], value: int) -> Iterator[int]:
    """The lengths of the tables that a value indexes, cast and rearranged or not."""
    for call in consumers.get(value, []):
        if isinstance(call.operation, keras.layers.Embedding):
            yield call.operation.input_dim
        elif facts_of(call.operation).rearranges:
            for given in call.outputs:
                yield from _tables(consumers, given)


def _drawn(
    graph: Graph, value: int, shape: tuple[Any, ...], rng: np.random.Generator
) -> np.ndarray:
    """Standard normal numbers, or indices that all readers have."""
    dtype = graph.specs[value].dtype
    tables = list(_tables(graph.consumers(), value))
    if dtype == "string":
        raise TypeError("Strings are not drawn at random.")
    if tables:
        return rng.integers(0, min(tables), shape).astype(dtype)
    return random_array(shape, dtype, rng)

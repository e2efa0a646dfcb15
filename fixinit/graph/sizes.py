"""Axes whose size a model leaves open, as in networks for images of any size."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import tree

from fixinit._checked import checked
from fixinit._typing import Shape
from fixinit.graph.calls import Call, Graph

# The sizes of such axes of an input, by how many there are: enough for what comes with
# that many axes, and not too much to compute with.
_SIZES = {1: 512, 2: 96, 3: 16}


@checked
def with_sizes(shape: Shape) -> tuple[int | None, ...]:
    """A shape whose axes all have a size, but for the batch.

    Example:

    >>> fixinit.graph.with_sizes((None, None, None, 3))
    (None, 96, 96, 3)

    Args:
        shape: Tuple of ints and `None`. One axis of unknown size gets 512 elements, two
            get 96 each, three and more 16.

    Returns:
        Tuple of ints, the batch in front as it was.

    Raises:
        ValueError: If the shape is empty.
    """
    if not shape:
        raise ValueError(
            "Argument `shape` must have the batch in front. Received: shape=()"
        )
    batch, *sizes = shape
    size = _SIZES.get(sizes.count(None), min(_SIZES.values()))
    return (batch, *(n or size for n in sizes))


@checked
def known_shapes(graph: Graph, read: Sequence[Shape]) -> list[tuple[int | None, ...]]:
    """The shapes of all values of a graph, for inputs of some shapes.

    Example:

    >>> inputs = keras.Input((None, 3))
    >>> model = keras.Model(inputs, keras.layers.MaxPooling1D()(inputs))
    >>> fixinit.graph.known_shapes(fixinit.graph.trace(model), [(10, 3)])
    [(None, 10, 3), (None, 5, 3)]

    Args:
        graph: `fixinit.graph.Graph`.
        read: List of shapes of the inputs, without the batch.

    Returns:
        List of tuples, the batch in front. Those of the graph itself where it leaves
        nothing open.

    Raises:
        ValueError: If a layer cannot say the shape of its outputs.
    """
    shapes = [tuple(spec.shape) for spec in graph.specs]
    if not any(None in shapes[value][1:] for value in graph.inputs):
        return shapes
    known: dict[int, Any] = {}
    for value, given in zip(graph.inputs, read, strict=True):
        batch, *sizes = shapes[value]
        shape = (batch, *(given if None in sizes else sizes))
        known[value] = keras.KerasTensor(shape, graph.specs[value].dtype)
    for call in graph.calls:
        if not call.is_input:
            known.update(zip(call.outputs, _outputs(call, known), strict=True))
    return [tuple(known[value].shape) for value in range(len(shapes))]


def _outputs(call: Call, known: dict[int, Any]) -> list[Any]:
    """The shapes and dtypes of what a call gives."""
    args, kwargs = call.fill([known[value] for value in call.inputs])
    if call.body is not None:
        return [known[call.inputs[0]]]  # a stack keeps the shape
    try:
        return tree.flatten(call.operation.compute_output_spec(*args, **kwargs))
    except Exception as error:
        shapes = [known[value].shape for value in call.inputs]
        raise ValueError(
            f"`{call.name}` cannot say the shape of its outputs for inputs of shape "
            f"{shapes}: {error}"
        ) from error

"""The calls of a model, and the graph that they form."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from fixinit._typing import Tensor
from fixinit.layers import facts_of


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or of an operation of `keras.ops`.

    Example:

    >>> inputs = keras.Input((8,), name="x")
    >>> model = keras.Model(inputs, keras.layers.Dense(4, name="weight")(inputs))
    >>> call = fixinit.graph.trace(model).calls[-1]
    >>> call.name, call.inputs, call.outputs, call.has_weights
    ('weight', (0,), (1,), True)

    Attributes:
        name: String, unique in its graph: the layer's name behind those of what it is
            part of, such as `"resnet50/conv1_conv"`. A layer that is called again
            gets its count, such as `"dense:2"`; what a `ResidualBlock` or a `Stack`
            holds is named after the call, such as `"block:2/merge"`.
        operation: The Keras layer or operation.
        inputs: Tuple of ints, the values that it reads; none for an input of the
            graph, whose operation is a `keras.layers.InputLayer`.
        outputs: Tuple of ints, the values that it gives.
        fill: Callable from the list of tensors that it reads to `(args, kwargs)`.
        body: The `Graph` of one block, where the operation is a
            `fixinit.layers.Stack`.
        owner: The `fixinit.layers.ResidualBlock` that the call is part of, or `None`.
        node: Keras's own record of the call; `None` for what a `ResidualBlock` or a
            `Stack` calls by itself.
    """

    name: str
    operation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    fill: Callable[[Sequence[Tensor]], tuple[tuple[Any, ...], dict[str, Any]]]
    body: "Graph | None" = None
    owner: Any = None
    node: Any = None

    @property
    def is_input(self) -> bool:
        """Whether this stands for an input of the graph."""
        return not self.inputs

    @property
    def weight(self) -> Any:
        """The kernel of a layer that multiplies by one, or `None`."""
        names = ("kernel", "depthwise_kernel", "pointwise_kernel")
        found = (getattr(self.operation, name, None) for name in names)
        return next((kernel for kernel in found if kernel is not None), None)

    @property
    def has_weights(self) -> bool:
        """Whether the layer, or a layer inside of it, multiplies by a matrix.

        Any weight of two or more axes counts, but for those of layers that act element
        by element: see `fixinit.layers.Facts`.
        """
        facts = facts_of(self.operation)
        acts = facts.normalizes or facts.activates or facts.scales_branch
        if facts.elementwise or acts:
            return False
        weights = getattr(self.operation, "weights", ())
        return any(len(weight.shape) > 1 for weight in weights)


class Graph:
    """The calls of a model, in an order in which they can be made.

    Example:

    >>> inputs = keras.Input((8,), name="x")
    >>> model = keras.Model(inputs, keras.layers.ReLU(name="relu")(inputs))
    >>> graph = fixinit.graph.trace(model)
    >>> [call.name for call in graph.calls], graph.inputs, graph.outputs
    (['x', 'relu'], [0], [1])
    >>> graph.producers()[1].name
    'relu'

    Attributes:
        calls: List of `Call`s, the inputs first.
        inputs: List of ints, the model's inputs.
        outputs: List of ints, its outputs.
        specs: List of `keras.KerasTensor`s: shape and dtype of every value.
        channel_axes: List of ints: the axis of every value that holds its channels.
        constants: Set of the calls that give the same whatever they read, as the
            embeddings of positions.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.specs: list[Any] = []
        self.channel_axes: list[int] = []
        self.constants: set[Call] = set()
        self._uses: dict[str, int] = {}

    def value(self, spec: Any, channel_axis: int = -1) -> int:
        """Adds a value; returns its index.

        Args:
            spec: `keras.KerasTensor`, its shape and dtype.
            channel_axis: int, the axis of its channels.
        """
        self.specs.append(keras.KerasTensor(spec.shape, spec.dtype))
        self.channel_axes.append(channel_axis)
        return len(self.specs) - 1

    def add(
        self,
        name: str,
        operation: Any,
        inputs: Sequence[int],
        output_specs: Sequence[Any],
        fill: Callable[[Sequence[Tensor]], Any] | None = None,
        **kwargs: Any,
    ) -> tuple[int, ...]:
        """Adds a call; returns the values that it gives.

        Args:
            name: String, from `unique_name`.
            operation: The Keras layer or operation.
            inputs: The values that it reads.
            output_specs: `keras.KerasTensor`s of what it gives.
            fill: As in `Call`; by default the tensors are the positional arguments.
            **kwargs: Further attributes of the `Call`.
        """
        axis = _channel_axis(operation, [self.channel_axes[i] for i in inputs])
        outputs = tuple(self.value(spec, axis) for spec in output_specs)
        call = Call(
            name, operation, tuple(inputs), outputs, fill or _positional, **kwargs
        )
        self.calls.append(call)
        return outputs

    def unique_name(self, name: str) -> str:
        """The name, with its count behind it where it has been used before."""
        uses = self._uses[name] = self._uses.get(name, 0) + 1
        return name if uses == 1 else f"{name}:{uses}"

    def add_input(self, spec: Any, name: str) -> None:
        """Adds an input of the graph, of the shape and dtype of a `spec`."""
        layer = keras.layers.InputLayer(
            batch_shape=spec.shape, dtype=spec.dtype, name=name.rpartition("/")[2]
        )
        (value,) = self.add(self.unique_name(name), layer, (), [spec])
        self.inputs.append(value)

    def ancestors(self, reads: bool = False) -> dict[int, int]:
        """Dict from a value to those that it depends on, itself among them.

        They are the bits of an integer: value 3 is `1 << 3`.

        Args:
            reads: bool. Whether what `constants` read counts, too.
        """
        found: dict[int, int] = {}
        for call in self.calls:
            before = 0
            depends = reads or call not in self.constants
            for value in call.inputs if depends else ():
                before |= found[value]
            for value in call.outputs:
                found[value] = before | 1 << value
        return found

    def consumers(self) -> dict[int, list[Call]]:
        """Dict from a value to the calls that read it."""
        found: dict[int, list[Call]] = {}
        for call in self.calls:
            for value in call.inputs:
                found.setdefault(value, []).append(call)
        return found

    def producers(self) -> dict[int, Call]:
        """Dict from a value to the call that gives it."""
        return {value: call for call in self.calls for value in call.outputs}

    def graphs(self) -> Iterator[tuple["Graph", tuple[int, ...]]]:
        """Yields `(graph, depth)`: this one, and those of the blocks of stacks.

        `depth` is the tuple of the lengths of the stacks around the graph.
        """
        yield self, ()
        for call in self.calls:
            if call.body is not None:
                for inner, depth in call.body.graphs():
                    yield inner, (call.operation.depth, *depth)

    def walk(self) -> Iterator[tuple[Call, tuple[int, ...]]]:
        """Yields `(call, depth)` for the calls of all `graphs()`."""
        for inner, depth in self.graphs():
            for call in inner.calls:
                yield call, depth


def _channel_axis(operation: Any, axes: list[int]) -> int:
    """The axis of the channels in what `operation` puts out."""
    data_format = getattr(operation, "data_format", None)
    if data_format is not None:
        return 1 if data_format == "channels_first" else -1
    return axes[0] if axes else -1


def _positional(tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(tensors), {}

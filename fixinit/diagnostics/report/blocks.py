"""Variance and mean square of the activations after every residual block."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import backend, graph
from fixinit._checked import checked
from fixinit._typing import Tensor
from fixinit.diagnostics._shared.stateless import stateless
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch


@dataclasses.dataclass(frozen=True)
class BlockMoments:
    """Second moments of the first block's input and of every block's output.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=3, units=16, seed=0)
    >>> x = np.ones((8, 40), "float32")
    >>> fixinit.diagnostics.block_statistics(model, x).names
    ('input', 'block1', 'block2', 'block3')

    Attributes:
        names: Tuple of strings: `"input"`, then the names of the blocks.
        variance: Array of shape `(num_blocks + 1,)`: over batch and space, averaged
            over channels.
        mean_square: Array of shape `(num_blocks + 1,)`: over all elements.
    """

    names: tuple[str, ...]
    variance: np.ndarray
    mean_square: np.ndarray


class BlockStatistics:
    """Measures variance and mean square after every residual block of a model.

    Made and compiled once per model, it can be called again and again as weights
    change.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=3, units=16, seed=0)
    >>> measure = fixinit.diagnostics.BlockStatistics(model)
    >>> measure(np.ones((8, 40), "float32")).mean_square.shape
    (4,)

    Args:
        model: `keras.Model`, built, with residual blocks, which
            `fixinit.graph.find_blocks` finds, or `fixinit.layers.Stack`s. The blocks of
            a stack are named by its name and their index.
        data: A batch of inputs on which a model with a `call` of its own is opened: see
            `fixinit.graph.opened`. By default the shapes that it was built with.

    Attributes:
        names: List of strings: `"input"`, then the names of the blocks.

    Raises:
        ValueError: If the model holds no residual block.
    """

    @checked
    def __init__(self, model: keras.Model, data: Any = None) -> None:
        self._model, self._subject = model, Subject(model, data)
        self._graph = self._subject.graph
        places = block_places(self._graph)
        if not places:
            raise ValueError(
                f"Model `{model.name}` holds no residual block: no addition of a "
                "branch and its shortcut, and no fixinit.layers.Stack. There is "
                "nothing to measure."
            )
        self.names = ["input", *(name for place in places for name in place.names)]
        producer = self._graph.producers()[places[0].start]
        self._axes = {producer.name: self._graph.channel_axes[places[0].start]}
        for place in places:
            axis = place.graph.channel_axes[place.call.outputs[0]]
            self._axes[place.call.name] = axis
        self._compiled = {
            training: backend.compiled(functools.partial(self._measure, training))
            for training in (False, True)
        }

    @checked
    def __call__(self, x: Any, training: bool = False) -> BlockMoments:
        """Measures on one batch.

        Args:
            x: Array, a batch of inputs, or a list or dict of arrays.
            training: bool. `True` normalizes with the batch's own statistics
                where there are BatchNormalization layers. The model's running
                averages stay as they are.

        Returns:
            `BlockMoments`.

        Raises:
            TypeError: If the batch is ragged, or of another dtype than the model takes.
            ValueError: If it does not fit the model or is not finite.
        """
        x, _ = check_batch(self._subject, x, None)
        x = [ops.convert_to_tensor(h) for h in x]
        values = [v.value for v in self._model.variables]
        measured = self._compiled[bool(training)](values, x)
        rows = [ops.convert_to_numpy(m).reshape(-1, 2) for m in measured]
        variance, mean_square = np.concatenate(rows).T
        return BlockMoments(tuple(self.names), variance, mean_square)

    def _measure(
        self, training: bool, values: Sequence[Tensor], x: Sequence[Tensor]
    ) -> list[Tensor]:
        with stateless(self._model.variables, values):
            _, found = graph.run(self._graph, x, _Taps(self._axes), None, training)
        return [found[name] for name in self._axes]


class BlockPlace:
    """Place in a graph at which a block, or all blocks of a stack, give their output.

    Attributes:
        names: List of the blocks' names: one, or as many as the stack is deep.
        call: The `fixinit.graph.Call` that gives the output; that of one block, in
            the case of a stack.
        block: The `fixinit.graph.Block`, or `None` where a stack's block is no
            residual block.
        graph: The `fixinit.graph.Graph` that `call` is in.
        stack: The call of the stack, or `None`.
        start: The value that the block, or the stack, reads.
    """

    def __init__(
        self,
        inner: graph.Graph,
        call: graph.Call,
        block: graph.Block | None,
        stack: graph.Call | None = None,
    ) -> None:
        self.graph, self.call, self.block, self.stack = inner, call, block, stack
        self.names = [block.name] if block else [call.name]
        if stack is None:
            assert block is not None
            self.start = block.input
        else:
            self.start = stack.inputs[0]
            layer: Any = stack.operation
            depth = layer.depth
            self.names = [f"{stack.name}[{i}]" for i in range(depth)]


def block_places(model_graph: graph.Graph) -> list[BlockPlace]:
    """Lists the residual blocks of a graph and the blocks of its stacks, in order."""
    producers = model_graph.producers()
    places = [
        BlockPlace(model_graph, producers[block.output], block)
        for block in graph.find_blocks(model_graph)
    ]
    for call in model_graph.calls:
        if call.body is not None:
            blocks = graph.find_blocks(call.body)
            last = call.body.producers()[call.body.outputs[0]]
            block = blocks[-1] if blocks else None
            places.append(BlockPlace(call.body, last, block, call))
    order = {call: index for index, call in enumerate(model_graph.calls)}
    return sorted(places, key=lambda place: order[place.stack or place.call])


@checked
def block_statistics(
    model: keras.Model, x: Any, training: bool = False
) -> BlockMoments:
    """Measures variance and mean square after every residual block once.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=3, units=16, seed=0)
    >>> found = fixinit.diagnostics.block_statistics(model, np.ones((8, 40), "float32"))
    >>> bool(np.allclose(found.mean_square, found.mean_square[0]))  # Fixup starts so
    True

    Args:
        model: `keras.Model`, built, with residual blocks, in `fixinit.layers.Stack`s or
            not.
        x: Array, a batch of inputs, or a list or dict of arrays.
        training: bool. `True` normalizes with the batch's own statistics where there
            are BatchNormalization layers.

    Returns:
        `BlockMoments`.

    Raises:
        TypeError: If the model has no graph, or if the batch is ragged or of another
            dtype than the model takes.
        ValueError: If the model holds no residual block, or if the batch does not fit
            it or is not finite.
    """
    return BlockStatistics(model, x)(x, training)


class _Taps(graph.Hook):
    """Observes the outputs of the calls whose axes of channels it is given."""

    def __init__(self, axes: Mapping[str, int]) -> None:
        self.axes = axes

    def observation_shape(self, call: graph.Call) -> tuple[int, ...] | None:
        return (2,) if call.name in self.axes else None

    def observe(
        self, call: graph.Call, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> Tensor:
        return _statistics(outputs[0], self.axes[call.name])


def _statistics(h: Tensor, channel_axis: int) -> Tensor:
    h = ops.cast(h, "float32")
    rank = len(h.shape)
    axes = tuple(i for i in range(rank) if i != channel_axis % rank)
    return ops.stack([ops.mean(ops.var(h, axis=axes)), ops.mean(ops.square(h))])

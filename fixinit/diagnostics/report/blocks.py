"""How large the activations are after every residual block."""

import functools

import numpy as np
from keras import ops

from fixinit import backend, graph
from fixinit.diagnostics._shared.stateless import stateless
from fixinit.diagnostics._shared.targets import check_batch


class BlockStatistics:
    """Measures variance and mean square after every residual block of a model.

    Made and compiled once per model, it can be called again and again as weights
    change.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=3, units=16, seed=0)
    >>> measure = fixinit.diagnostics.BlockStatistics(model)
    >>> measure(np.ones((8, 40), "float32"))["mean_square"].shape
    (4,)

    Args:
        model: Functional or Sequential `keras.Model` with residual blocks, which
            `fixinit.graph.find_blocks` finds, or `fixinit.layers.Stack`s. The blocks of
            a stack are named by its name and their index.

    Attributes:
        names: List of strings: `"input"`, then the names of the blocks.

    Raises:
        ValueError: If the model holds no residual block.
    """

    def __init__(self, model):
        self._model = model
        self._graph = graph.trace(model)
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

    def __call__(self, x, training=False):
        """Measures on one batch.

        Args:
            x: Array, a batch of inputs, or a list or dict of arrays.
            training: bool. `True` normalizes with the batch's own statistics
                where there are BatchNormalization layers. The model's running
                averages stay as they are.

        Returns:
            Dict of arrays of shape `(num_blocks + 1,)`, for the first block's
            input and every block's output: `"variance"`, over batch and space,
            averaged over channels, and `"mean_square"`, over all elements.
        """
        x, _ = check_batch(self._model, x, None)
        x = [ops.convert_to_tensor(h) for h in x]
        values = [v.value for v in self._model.variables]
        measured = self._compiled[bool(training)](values, x)
        rows = [ops.convert_to_numpy(m).reshape(-1, 2) for m in measured]
        variance, mean_square = np.concatenate(rows).T
        return {"variance": variance, "mean_square": mean_square}

    def _measure(self, training, values, x):
        with stateless(self._model.variables, values):
            _, found = graph.run(self._graph, x, _Taps(self._axes), None, training)
        return [found[name] for name in self._axes]


class BlockPlace:
    """Where the output of a block, or of all blocks of a stack, can be seen.

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

    def __init__(self, inner, call, block, stack=None):
        self.graph, self.call, self.block, self.stack = inner, call, block, stack
        self.names = [block.name] if block else [call.name]
        self.start = block.input if stack is None else stack.inputs[0]
        if stack is not None:
            depth = stack.operation.depth
            self.names = [f"{stack.name}[{i}]" for i in range(depth)]


def block_places(model_graph):
    """The residual blocks of a graph and the blocks of its stacks, in order."""
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


def block_statistics(model, x, training=False):
    """`BlockStatistics(model)(x, training)`, for a single measurement."""
    return BlockStatistics(model)(x, training)


class _Taps(graph.Hook):
    """Observes the outputs of some calls, of which it knows the channels' axes."""

    def __init__(self, axes):
        self.axes = axes

    def observation_shape(self, call):
        return (2,) if call.name in self.axes else None

    def observe(self, call, inputs, outputs):
        return _statistics(outputs[0], self.axes[call.name])


def _statistics(h, channel_axis):
    h = ops.cast(h, "float32")
    rank = len(h.shape)
    axes = tuple(i for i in range(rank) if i != channel_axis % rank)
    return ops.stack([ops.mean(ops.var(h, axis=axes)), ops.mean(ops.square(h))])

"""Runs the calls of a graph, with a hook that looks and intervenes."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops, tree

from fixinit._checked import checked
from fixinit._typing import Tensor
from fixinit.graph.calls import Call, Graph


class Hook:
    """What happens around every call of a run; the defaults let everything pass.

    Inside of a `fixinit.layers.Stack` the methods are called once, while the loop over
    the blocks is traced.

    Example:

    >>> class Halve(fixinit.graph.Hook):
    ...     def leave(self, call, outputs, control):
    ...         return outputs if call.is_input else [y / 2 for y in outputs]
    >>> inputs = keras.Input((2,))
    >>> graph = fixinit.graph.trace(keras.Model(inputs, keras.layers.ReLU()(inputs)))
    >>> (y,), _ = fixinit.graph.run(graph, [np.array([[-1.0, 3.0]])], Halve())
    >>> keras.ops.convert_to_numpy(y).tolist()
    [[0.0, 1.5]]
    """

    def enter(
        self, call: Call, inputs: list[Tensor], control: Tensor | None
    ) -> Sequence[Tensor]:
        """The tensors that the call reads, changed or not.

        Args:
            call: `fixinit.graph.Call`.
            inputs: List of tensors.
            control: The tensor that `run` was given for this call, or `None`. Inside
                of a stack, it is that of one block.
        """
        return inputs

    def leave(
        self, call: Call, outputs: list[Tensor], control: Tensor | None
    ) -> Sequence[Tensor]:
        """The tensors that the call gives, changed or not; arguments as of `enter`."""
        return outputs

    def observation_shape(self, call: Call) -> tuple[int, ...] | None:
        """The shape of what `observe` returns for this call; `None` if nothing."""
        return None

    def observe(
        self, call: Call, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> Tensor:
        """A float32 tensor that the run collects, of the `observation_shape`."""


@checked
def run(
    graph: Graph,
    inputs: Sequence[Tensor],
    hook: Hook,
    controls: Mapping[str, Tensor] | None = None,
    training: bool = False,
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Runs a graph.

    To leave the model's state as it is, call this in a `keras.StatelessScope`.

    Example:

    >>> class MeanSquares(fixinit.graph.Hook):
    ...     def observation_shape(self, call):
    ...         return ()
    ...     def observe(self, call, inputs, outputs):
    ...         return keras.ops.mean(outputs[0] ** 2)
    >>> inputs = keras.Input((2,), name="x")
    >>> model = keras.Model(inputs, keras.layers.ReLU(name="relu")(inputs))
    >>> x = keras.ops.convert_to_tensor([[-1.0, 1.0]])
    >>> _, found = fixinit.graph.run(fixinit.graph.trace(model), [x], MeanSquares())
    >>> {name: float(square) for name, square in found.items()}
    {'x': 1.0, 'relu': 0.5}

    Args:
        graph: `fixinit.graph.Graph`.
        inputs: List of tensors.
        hook: `Hook`.
        controls: Dict from the names of calls to tensors that `hook` gets; for
            calls inside of a stack, stacked along a first axis.
        training: bool. Whether layers run in training mode. As in a call of the
            model, this is stronger than what single calls in it were given.

    Returns:
        `(outputs, observations)`: the list of the model's outputs, and a dict from
        names of calls to what was observed; inside of a stack, stacked along a first
        axis.
    """
    controls = controls or {}
    fed = dict(zip(graph.inputs, inputs, strict=True))
    values: dict[int, Tensor] = {}
    observations: dict[str, Tensor] = {}
    for call in graph.calls:
        control = controls.get(call.name)
        given: Sequence[Tensor]
        read = hook.enter(call, [values[i] for i in call.inputs], control)
        if call.is_input:
            given = [fed[call.outputs[0]]]
        elif call.body is None:
            given = _call(call, read, training)
        else:
            given, inner = _run_stack(call, call.body, read, hook, controls, training)
            observations.update(inner)
        given = hook.leave(call, list(given), control)
        values.update(zip(call.outputs, given, strict=True))
        if hook.observation_shape(call) is not None:
            observations[call.name] = hook.observe(call, read, given)
    return [values[i] for i in graph.outputs], observations


def _call(call: Call, inputs: Sequence[Tensor], training: bool) -> list[Tensor]:
    args, kwargs = call.fill(inputs)
    if isinstance(call.operation, keras.layers.Layer):
        kwargs = {**kwargs, "training": training}
    return tree.flatten(call.operation(*args, **kwargs))


def _run_stack(
    call: Call,
    block: Graph,
    inputs: Sequence[Tensor],
    hook: Hook,
    controls: Mapping[str, Tensor],
    training: bool,
) -> tuple[list[Tensor], dict[str, Any]]:
    """One loop over the blocks; returns `(outputs, observations)`."""
    inner = [c.name for c, _ in block.walk()]
    controlled = [name for name in inner if name in controls]
    shapes = {}
    for c, depth in block.walk():
        shape = hook.observation_shape(c)
        if shape is not None:
            shapes[c.name] = (*depth, *shape)

    def body(x: Tensor, rows: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        row = dict(zip(controlled, rows, strict=True))
        outputs, observed = run(block, [x], hook, row, training)
        return outputs[0], [ops.cast(observed[name], "float32") for name in shapes]

    outputs, observed = call.operation.scan_blocks(
        inputs[0],
        body,
        [controls[name] for name in controlled],
        [keras.KerasTensor(shape, "float32") for shape in shapes.values()],
    )
    return [outputs], dict(zip(shapes, observed, strict=True))

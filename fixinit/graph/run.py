"""Runs the calls of a graph, with a hook that looks and intervenes."""

import keras
from keras import ops, tree


class Hook:
    """What happens around every call of a run; the defaults let everything pass.

    Inside of a `fixinit.layers.Stack` the methods are called once, while the loop over
    the blocks is traced.
    """

    def enter(self, call, inputs, control):
        """The tensors that the call reads, changed or not.

        Args:
            call: `fixinit.graph.Call`.
            inputs: List of tensors.
            control: The tensor that `run` was given for this call, or `None`. Inside
                of a stack, it is that of one block.
        """
        return inputs

    def leave(self, call, outputs, control):
        """The tensors that the call gives, changed or not."""
        return outputs

    def observation_shape(self, call):
        """The shape of what `observe` returns for this call; `None` if nothing."""
        return None

    def observe(self, call, inputs, outputs):
        """A float32 tensor that the run collects."""


def run(graph, inputs, hook, controls=None, training=False):
    """Runs a graph.

    To leave the model's state as it is, call this in a `keras.StatelessScope`.

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
    values, observations = {}, {}
    for call in graph.calls:
        control = controls.get(call.name)
        read = hook.enter(call, [values[i] for i in call.inputs], control)
        if call.is_input:
            given = [fed[call.outputs[0]]]
        elif call.body is None:
            given = _call(call, read, training)
        else:
            given, inner = _run_stack(call, read, hook, controls, training)
            observations.update(inner)
        given = hook.leave(call, given, control)
        values.update(zip(call.outputs, given, strict=True))
        if hook.observation_shape(call) is not None:
            observations[call.name] = hook.observe(call, read, given)
    return [values[i] for i in graph.outputs], observations


def _call(call, inputs, training):
    args, kwargs = call.fill(inputs)
    if isinstance(call.operation, keras.layers.Layer):
        kwargs = {**kwargs, "training": training}
    return tree.flatten(call.operation(*args, **kwargs))


def _run_stack(call, inputs, hook, controls, training):
    """One loop over the blocks; returns `(outputs, observations)`."""
    inner = [c.name for c, _ in call.body.walk()]
    controlled = [name for name in inner if name in controls]
    shapes = {
        c.name: (*depth, *hook.observation_shape(c))
        for c, depth in call.body.walk()
        if hook.observation_shape(c) is not None
    }

    def body(x, rows):
        row = dict(zip(controlled, rows, strict=True))
        outputs, observed = run(call.body, [x], hook, row, training)
        return outputs[0], [ops.cast(observed[name], "float32") for name in shapes]

    outputs, observed = call.operation.scan_blocks(
        inputs[0],
        body,
        [controls[name] for name in controlled],
        [keras.KerasTensor(shape, "float32") for shape in shapes.values()],
    )
    return [outputs], dict(zip(shapes, observed, strict=True))

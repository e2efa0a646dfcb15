"""Every call of a layer or an operation in a Keras model, in one flat list."""

import dataclasses
from collections.abc import Callable

import keras
from keras import tree

from fixinit import _keras
from fixinit.layers import ResidualBlock, Stack, facts_of


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or of an operation of `keras.ops`.

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
    operation: object
    inputs: tuple
    outputs: tuple
    fill: Callable
    body: "Graph | None" = None
    owner: object = None
    node: object = None

    @property
    def is_input(self):
        """Whether this stands for an input of the graph."""
        return not self.inputs

    @property
    def weight(self):
        """The kernel of a layer that multiplies by one, or `None`."""
        names = ("kernel", "depthwise_kernel", "pointwise_kernel")
        found = (getattr(self.operation, name, None) for name in names)
        return next((kernel for kernel in found if kernel is not None), None)

    @property
    def has_weights(self):
        """Whether the layer, or a layer inside of it, multiplies by a matrix.

        Any weight of two or more axes counts, but for those of layers that work
        element by element.
        """
        weights = getattr(self.operation, "weights", ())
        facts = facts_of(self.operation)
        acts = facts.normalizes or facts.activates or facts.scales_branch
        if facts.elementwise or acts:
            return False
        return any(len(weight.shape) > 1 for weight in weights)


class Graph:
    """What a model computes: calls in an order in which they can be made.

    Attributes:
        calls: List of `Call`s, the inputs first.
        inputs: List of ints, the model's inputs.
        outputs: List of ints, its outputs.
        specs: List of `keras.KerasTensor`s: shape and dtype of every value.
        channel_axes: List of ints: the axis of every value that holds its channels.
    """

    def __init__(self):
        self.calls = []
        self.inputs = []
        self.outputs = []
        self.specs = []
        self.channel_axes = []
        self._uses = {}

    def value(self, spec, channel_axis=-1):
        """Adds a value; returns its index."""
        self.specs.append(keras.KerasTensor(spec.shape, spec.dtype))
        self.channel_axes.append(channel_axis)
        return len(self.specs) - 1

    def add(self, name, operation, inputs, output_specs, fill=None, **kwargs):
        """Adds a call; returns the values that it gives."""
        axis = _channel_axis(operation, [self.channel_axes[i] for i in inputs])
        outputs = tuple(self.value(spec, axis) for spec in output_specs)
        name = self.unique_name(name)
        # Behind the count: the calls of a stack's block are named after the stack's.
        body = _body(operation, name)
        self.calls.append(
            Call(
                name,
                operation,
                tuple(inputs),
                outputs,
                fill or _single,
                body,
                **kwargs,
            )
        )
        return outputs

    def unique_name(self, name):
        """The name, with its count behind it where it has been used before."""
        uses = self._uses[name] = self._uses.get(name, 0) + 1
        return name if uses == 1 else f"{name}:{uses}"

    def add_input(self, spec, name):
        """Adds an input of the graph; returns its value."""
        layer = keras.layers.InputLayer(
            batch_shape=spec.shape, dtype=spec.dtype, name=name.rpartition("/")[2]
        )
        (value,) = self.add(name, layer, (), [spec])
        self.inputs.append(value)

    def ancestors(self):
        """Dict from a value to those that it depends on, itself among them.

        They are the bits of an integer: value 3 is `1 << 3`.
        """
        found = {}
        for call in self.calls:
            before = 0
            for value in call.inputs:
                before |= found[value]
            for value in call.outputs:
                found[value] = before | 1 << value
        return found

    def consumers(self):
        """Dict from a value to the calls that read it."""
        found = {}
        for call in self.calls:
            for value in call.inputs:
                found.setdefault(value, []).append(call)
        return found

    def producers(self):
        """Dict from a value to the call that gives it."""
        return {value: call for call in self.calls for value in call.outputs}

    def graphs(self):
        """Yields `(graph, depth)`: this one, and those of the blocks of stacks.

        `depth` is the tuple of the lengths of the stacks around the graph.
        """
        yield self, ()
        for call in self.calls:
            if call.body is not None:
                for inner, depth in call.body.graphs():
                    yield inner, (call.operation.depth, *depth)

    def walk(self):
        """Yields `(call, depth)` for the calls of all `graphs()`."""
        for inner, depth in self.graphs():
            for call in inner.calls:
                yield call, depth


def trace(model):
    """The graph of a model.

    Nested models and `fixinit.layers.ResidualBlock`s are taken apart; a
    `fixinit.layers.Stack` is one call, with the graph of a block. Every other layer is
    one call, whatever it holds. The model stays as it is.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=1, units=8)
    >>> [call.name for call in fixinit.graph.trace(model).calls][-3:]
    ['head_weight_scalar_bias', 'head', 'predictions']

    Args:
        model: Functional or Sequential `keras.Model`, built.

    Returns:
        `Graph`.

    Raises:
        ValueError: If the model is not built.
        TypeError: If it is no model, or a model without a graph: a subclass of
            `keras.Model`, functional or not, with a `call` of its own.
    """
    functional = functional_of(model)
    if functional is None:
        raise no_graph(model)
    graph = Graph()
    for tensor in functional.inputs:
        graph.add_input(tensor, tensor.name)
    graph.outputs = _add_functional(graph, functional, graph.inputs, "")
    return graph


def functional_of(layer):
    """The functional model that a layer is, `None` if it is none."""
    if not isinstance(layer, keras.Model) or _has_own_call(layer):
        return None
    if isinstance(layer, keras.Sequential):
        return _keras.functional(layer) if layer.built else None
    return layer if _keras.is_functional(layer) else None


def _has_own_call(model):
    """Whether the `call` of a model may do something else than run its graph.

    Keras's does not, and that of `fixinit.models` only refuses integers before.
    """
    owner = next(cls for cls in type(model).__mro__ if "call" in vars(cls))
    return owner.__module__.partition(".")[0] not in ("keras", "fixinit")


def no_graph(model):
    """The error for a model that Keras records no graph of."""
    if isinstance(model, keras.Sequential) and not _has_own_call(model):
        return ValueError(
            f"Model `{model.name}` is not built, so it has no graph yet. Call it on "
            "data, or start it with keras.Input(shape)."
        )
    if isinstance(model, keras.Model):
        return TypeError(
            f"Model `{model.name}` is a subclass of {type(model).__base__.__name__} "
            "with a `call` of its own, of which Keras records no graph. Make it "
            "functional: `inputs = keras.Input(shape); keras.Model(inputs, "
            "model.call(inputs))`."
        )
    return TypeError(
        f"Argument `model` must be a functional or Sequential keras.Model. Received: "
        f"{model!r} of type {type(model).__name__}"
    )


def _add_functional(graph, model, inputs, scope):
    """Adds the calls of a functional model; returns its outputs."""
    values = dict(zip((id(t) for t in model.inputs), inputs, strict=True))
    for node in _keras.calls(model):
        if not node.is_input:
            _add_node(graph, node, values, scope)
    return [values[id(tensor)] for tensor in model.outputs]


def _add_node(graph, node, values, scope):
    read = list({id(t): t for t in node.input_tensors}.values())
    inputs = [values[id(t)] for t in read]
    operation = node.operation
    name = f"{scope}{operation.name}"
    nested = functional_of(operation)
    if nested is not None:
        by_model = [values[id(t)] for t in _model_inputs(nested, node)]
        outputs = _add_functional(graph, nested, by_model, f"{name}/")
    elif isinstance(operation, ResidualBlock) and len(node.arguments.args) < 2:
        outputs = [_add_residual_block(graph, operation, inputs[0], name)]
    else:
        keys = [id(t) for t in read]

        def fill(tensors):
            return node.arguments.fill_in(dict(zip(keys, tensors, strict=True)))

        outputs = graph.add(
            name,
            operation,
            inputs,
            node.outputs,
            fill,
            node=node,
        )
    values.update(zip((id(t) for t in node.outputs), outputs, strict=True))


def _model_inputs(functional, node):
    """The tensors that a nested model was called on, in the order of its inputs."""
    args = node.arguments.args or list(node.arguments.kwargs.values())[:1]
    structure = args[0]
    if isinstance(structure, dict):
        names = [tensor.name for tensor in functional.inputs]
        if set(names) <= structure.keys():
            return [structure[name] for name in names]
    return tree.flatten(structure)


def _add_residual_block(graph, block, value, name):
    """Adds the calls of a `ResidualBlock`; returns its output."""
    name = graph.unique_name(name)

    def chain(layers, value):
        values = [value]
        for layer in layers:
            inner = f"{name}/{layer.name}"
            values.append(_add_layer(graph, layer, values[-1], inner, block))
        return values

    through = chain(block.branch, value)
    output = through[-1]
    if not block.plain:
        shortcut = chain(block.shortcut, through[block.shared_layers])[-1]
        spec = graph.specs[output]
        (output,) = graph.add(
            f"{name}/merge",
            block.merge,
            (shortcut, output),
            [spec],
            _listed,
            owner=block,
        )
    if block.activation is not keras.activations.linear:
        # With a name: Keras would count it among those that it makes up.
        activation = keras.layers.Activation(
            block.activation, dtype=block.dtype_policy, name="activation"
        )
        output = _add_layer(graph, activation, output, f"{name}/activation", block)
    return output


def _add_layer(graph, layer, value, name, owner):
    """Adds a layer of one input that Keras has recorded no call of."""
    spec = graph.specs[value]
    if isinstance(layer, ResidualBlock):
        return _add_residual_block(graph, layer, value, name)
    nested = functional_of(layer)
    if nested is not None:
        return _add_functional(graph, nested, [value], f"{name}/")[0]
    shape = layer.compute_output_shape(spec.shape)
    output = keras.KerasTensor(shape, layer.compute_dtype)
    return graph.add(name, layer, (value,), [output], owner=owner)[0]


def _body(operation, name):
    """The graph of one block of a stack, `None` where there is no stack."""
    if not isinstance(operation, Stack):
        return None
    graph = Graph()
    block = operation.block
    shape = operation.get_build_config()["input_shape"]
    spec = keras.KerasTensor(tuple(shape), block.compute_dtype)
    graph.add_input(spec, f"{name}/input")
    # A block of several layers lends them to the stack, without its own name.
    is_one_layer = functional_of(block) is None and not isinstance(block, ResidualBlock)
    inner = f"{name}/{block.name}" if is_one_layer else name
    graph.outputs = [_add_layer(graph, block, graph.inputs[0], inner, None)]
    return graph


def _channel_axis(operation, axes):
    """The axis of the channels in what `operation` puts out."""
    data_format = getattr(operation, "data_format", None)
    if data_format is not None:
        return 1 if data_format == "channels_first" else -1
    return axes[0] if axes else -1


def _single(tensors):
    return tuple(tensors), {}


def _listed(tensors):
    return (list(tensors),), {}

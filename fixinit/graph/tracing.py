"""Reads the graph of a Keras model."""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
from keras import tree

from fixinit import _keras
from fixinit._typing import Tensor
from fixinit.graph.calls import Graph
from fixinit.graph.constants import find_constants
from fixinit.graph.functional import functional_of, no_graph
from fixinit.layers import ResidualBlock, Stack
from fixinit.layers.residual_block import output_shape, takes

Arguments: TypeAlias = Mapping[str, Any]
_NONE: Arguments = types.MappingProxyType({})


def trace(model: Any) -> Graph:
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
    graph.constants = find_constants(graph)
    return graph


def _add_call(
    graph: Graph,
    name: str,
    operation: Any,
    inputs: Sequence[int],
    output_specs: Sequence[Any],
    fill: Callable[[Sequence[Tensor]], Any] | None = None,
    **kwargs: Any,
) -> tuple[int, ...]:
    """Adds a call, with the graph of a block if it is that of a stack."""
    name = graph.unique_name(name)
    # Named after the call: a stack that is called again has other calls inside.
    body = _body(operation, name)
    return graph.add(name, operation, inputs, output_specs, fill, body=body, **kwargs)


def _add_functional(
    graph: Graph, model: Any, inputs: Sequence[int], scope: str
) -> list[int]:
    """Adds the calls of a functional model; returns its outputs."""
    values = dict(zip((id(t) for t in model.inputs), inputs, strict=True))
    for node in _keras.calls(model):
        if not node.is_input:
            _add_node(graph, node, values, scope)
    return [values[id(tensor)] for tensor in model.outputs]


def _add_node(graph: Graph, node: Any, values: dict[int, int], scope: str) -> None:
    """Adds the call, or those of the model, that a record of Keras's stands for."""
    read = list({id(t): t for t in node.input_tensors}.values())
    inputs = [values[id(t)] for t in read]
    operation = node.operation
    name = f"{scope}{operation.name}"
    nested = functional_of(operation)
    outputs: Sequence[int]
    if nested is not None:
        by_model = [values[id(t)] for t in _model_inputs(nested, node)]
        outputs = _add_functional(graph, nested, by_model, f"{name}/")
    elif isinstance(operation, ResidualBlock) and _is_plain_call(node):
        # Whoever runs the graph says the mode, and tensors carry their masks.
        kwargs = node.arguments.kwargs
        given = {k: v for k, v in kwargs.items() if k not in ("training", "mask")}
        outputs = [_add_residual_block(graph, operation, inputs[0], name, given)]
    else:
        keys = [id(t) for t in read]

        def fill(tensors: Sequence[Tensor]) -> Any:
            return node.arguments.fill_in(dict(zip(keys, tensors, strict=True)))

        outputs = _add_call(
            graph, name, operation, inputs, node.outputs, fill, node=node
        )
    values.update(zip((id(t) for t in node.outputs), outputs, strict=True))


def _is_plain_call(node: Any) -> bool:
    """Whether a block is called on one tensor, with the mask that Keras attached."""
    if len(node.arguments.args) > 1:
        return False
    x = node.input_tensors[0]
    tensors = {id(t) for t in node.input_tensors} - {id(x), id(_keras.get_mask(x))}
    mask = node.arguments.kwargs.get("mask")
    return not tensors and mask in (None, _keras.get_mask(x))


def _model_inputs(functional: Any, node: Any) -> list[Any]:
    """The tensors that a nested model was called on, in the order of its inputs."""
    args = node.arguments.args or list(node.arguments.kwargs.values())[:1]
    structure = args[0]
    if isinstance(structure, dict):
        names = [tensor.name for tensor in functional.inputs]
        if set(names) <= structure.keys():
            return [structure[name] for name in names]
    return tree.flatten(structure)


def _add_residual_block(
    graph: Graph, block: Any, value: int, name: str, given: Arguments = _NONE
) -> int:
    """Adds the calls of a `ResidualBlock`; returns its output.

    Args:
        graph: `Graph`.
        block: `fixinit.layers.ResidualBlock`.
        value: int, what the block reads.
        name: String, of the call.
        given: Dict, the other arguments of the call. Layers get those that they take.
    """
    name = graph.unique_name(name)

    def chain(layers: Sequence[Any], value: int) -> list[int]:
        values = [value]
        for layer in layers:
            inner = f"{name}/{layer.name}"
            values.append(_add_layer(graph, layer, values[-1], inner, block, given))
        return values

    through = chain(block.branch, value)
    output = through[-1]
    if not block.plain:
        shortcut = chain(block.shortcut, through[block.shared_layers])[-1]
        (output,) = _add_call(
            graph,
            f"{name}/merge",
            block.merge,
            (shortcut, output),
            [graph.specs[output]],
            _listed,
            owner=block,
        )
    output = chain(block.after_merge, output)[-1]
    if block.activation is not keras.activations.linear:
        # With a name: Keras would count it among those that it makes up.
        activation = keras.layers.Activation(
            block.activation, dtype=block.dtype_policy, name="activation"
        )
        output = _add_layer(graph, activation, output, f"{name}/activation", block)
    return output


def _add_layer(
    graph: Graph,
    layer: Any,
    value: int,
    name: str,
    owner: Any,
    given: Arguments = _NONE,
) -> int:
    """Adds a layer of one input that Keras has recorded no call of."""
    spec = graph.specs[value]
    taken = {key: x for key, x in given.items() if takes(layer, key)}
    if isinstance(layer, ResidualBlock):
        return _add_residual_block(graph, layer, value, name, taken)
    nested = functional_of(layer)
    if nested is not None:
        return _add_functional(graph, nested, [value], f"{name}/")[0]
    shape = output_shape(layer, spec.shape)
    output = keras.KerasTensor(shape, layer.compute_dtype)

    def fill(tensors: Sequence[Tensor]) -> Any:
        return tuple(tensors), taken

    return _add_call(graph, name, layer, (value,), [output], fill, owner=owner)[0]


def _body(operation: Any, name: str) -> Graph | None:
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


def _listed(tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (list(tensors),), {}

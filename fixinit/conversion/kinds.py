"""What a layer is to the converter, by its declared facts."""

from typing import Any

import keras

from fixinit.graph import Call
from fixinit.graph.kinds import is_unknown
from fixinit.graph.recognition import normalizes
from fixinit.layers.facts import Facts, facts_of, inherited_facts


def is_normalization(layer: Any) -> bool:
    """Whether a layer normalizes, or does nothing but apply one that does."""
    if isinstance(layer, keras.layers.TimeDistributed):
        layer = layer.layer
    if not isinstance(layer, keras.layers.Layer):
        return False
    return facts_of(layer).normalizes or (is_unknown(layer) and normalizes(layer))


def has_statistics(layer: Any) -> bool:
    """Whether a layer normalizes by a statistic of what it reads."""
    return is_normalization(layer) and not facts_of(layer).pointwise


def descends_from_normalization(layer: Any) -> bool:
    """Whether a layer normalizes, and possibly does more than that."""
    return inherited_facts(layer).normalizes


def is_normalizing_operation(operation: Any) -> bool:
    """Whether an operation of `keras.ops` normalizes, or measures to do so."""
    is_layer = isinstance(operation, keras.layers.Layer)
    return not is_layer and facts_of(operation).normalizes


def is_branch_scale(layer: Any) -> bool:
    """Whether a layer scales or shifts a branch, and a scheme takes its place."""
    facts = facts_of(layer)
    return facts.scales_branch and not facts.adds


def is_padding(layer: Any) -> bool:
    """Whether a layer pads with zeros."""
    return facts_of(layer).pads


def passes(layer: Any) -> bool:
    """Whether a layer pads, pools a few neighbours or drops."""
    return facts_of(layer).passes


def is_linear(call: Call, gates: set[Call]) -> bool:
    """Whether what a call gives is linear in what it reads, gates aside."""
    facts = facts_of(call.operation)
    if _adds_constant(call, facts):
        return False
    if facts.linear or facts.passes or facts.scales_branch:
        return True
    is_product = facts.multiplies or facts.divides
    return is_factor(call) or (is_product and _is_gated(call, gates))


def is_factor(call: Call) -> bool:
    """Whether a call multiplies by a constant, or divides by one."""
    facts = facts_of(call.operation)
    if not (facts.multiplies or facts.divides) or len(call.inputs) > 1:
        return False
    if call.node is None:
        return True
    arguments = call.node.arguments
    if len(arguments.keras_tensors) > 1:
        return False  # `h * h`
    first = next(iter(arguments.args), None)
    # Not `1 / h`.
    return facts.multiplies or first is arguments.keras_tensors[0]


def _adds_constant(call: Call, facts: Facts) -> bool:
    """Whether a call adds a constant to a tensor, as `h + 1` does."""
    if call.node is None or not (facts.adds or facts.joins):
        return False
    return len(call.node.input_tensors) == 1


def _is_gated(call: Call, gates: set[Call]) -> bool:
    """Whether a call reads what a gate gives."""
    return any(set(gate.outputs) & set(call.inputs) for gate in gates)


def unwrapped(layer: Any) -> Any:
    """The layer inside of a `SpectralNormalization`, any other as it is."""
    if isinstance(layer, keras.layers.SpectralNormalization):
        return layer.layer
    return layer


def kernel_arguments(layer: Any) -> tuple[str, ...]:
    """The arguments of a weight layer that draw its kernels, the main one last.

    Empty for layers whose kernels the converter leaves to themselves. Those of a
    subclass that computes something else, as with standardized weights, are among them
    unless it declares its facts.
    """
    return facts_of(unwrapped(layer)).kernels


def size_argument(layer: Any) -> str:
    """The argument that draws what the size of a weight layer's kernel is set by.

    The main kernel's own, or that of a factor behind its standardization.
    """
    facts = facts_of(unwrapped(layer))
    return facts.kernels_scale or facts.kernels[-1]


def counts_channels(layer: Any) -> bool:
    """Whether a weight layer has a kernel for each channel, or group of channels."""
    is_grouped = getattr(unwrapped(layer), "groups", 1) > 1
    return is_grouped or "depthwise_initializer" in kernel_arguments(layer)[-1:]


def kernel_of(layer: Any, argument: str) -> Any:
    """The variable that an initializer argument of a built layer draws."""
    layer = getattr(layer, "projection", layer)
    name = argument.removesuffix("_initializer")
    names = [name]
    if argument in facts_of(layer).kernels:
        names = ["raw_kernel", f"{name}_kernel", name, "kernel"]
    return next(getattr(layer, n) for n in names if hasattr(layer, n))


def constraints(layer: Any) -> list[Any]:
    """The constraints of the main kernel and of the bias of a known weight layer."""
    layer = unwrapped(layer)
    kernel = kernel_arguments(layer)[-1].removesuffix("_initializer")
    found = (getattr(layer, f"{name}_constraint", None) for name in (kernel, "bias"))
    return [constraint for constraint in found if constraint is not None]


def reads_signals(layer: Any) -> bool:
    """Whether a weight layer reads signals, as all but embeddings do."""
    return not isinstance(layer, keras.layers.Embedding)


def is_frozen_embedding(layer: Any) -> bool:
    """Whether a layer is an embedding that is not trainable."""
    return isinstance(layer, keras.layers.Embedding) and not layer.trainable


def is_fused(call: Call) -> bool:
    """Whether a weight layer that the converter knows holds an activation."""
    activation = getattr(unwrapped(call.operation), "activation", None)
    linear = activation in (None, keras.activations.linear)
    return bool(kernel_arguments(call.operation)) and not linear

"""Refuses models that the converter cannot convert; tells which layers stay."""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from fixinit import _keras
from fixinit._validation import check_choice
from fixinit.conversion import kinds
from fixinit.graph import Call, Graph
from fixinit.graph.functional import no_graph
from fixinit.graph.lambdas import is_lambda, state_of


def check_graph(
    graph: Graph, keep: Callable[[Any], bool], shut: dict[str, str]
) -> None:
    """Refuses normalization and weights that the converter cannot reach.

    Args:
        graph: `fixinit.graph.Graph`.
        keep: Callable from a layer to whether it stays.
        shut: Dict from the names of layers that could not be opened to the reasons.

    Raises:
        TypeError: If a model inside has no graph.
        ValueError: For Lambda layers that read weights, normalization by operations or
            inside of layers, and kernels that are quantized or have LoRA.
    """
    for call, _ in graph.walk():
        operation = call.operation
        if isinstance(operation, keras.Model):
            raise no_graph(operation)
        if keep(operation):
            continue
        if kinds.is_normalizing_operation(operation):
            raise ValueError(
                f"`{call.name}` is normalization written with keras.ops, whose "
                "statistics other operations may read. Use a normalization layer, or "
                f"pass keep={[call.name]} to leave it where it is."
            )
        _check_kernel(call)
        _check_lambda(call, shut)
        hidden = _hidden(call)
        if hidden:
            reason = shut.get(operation.name, "")
            raise ValueError(
                f"Layer `{call.name}` of type {type(operation).__name__} normalizes "
                f"in a way of its own: {hidden}. The converter sees what a functional "
                "model calls, not what a layer calls by itself. Build the model from "
                f"the parts of `{operation.name}`, or pass keep={[operation.name]} to "
                f"leave it as it is. {reason}".rstrip()
            )


def _check_lambda(call: Call, shut: dict[str, str]) -> None:
    """Refuses Lambda layers that read weights which the graph does not show."""
    is_layer = isinstance(call.operation, keras.layers.Layer)
    inside = _keras.flatten_layers(call.operation) if is_layer else ()
    for layer in filter(is_lambda, inside):
        state = state_of(layer)
        if not (state.variables or state.others):
            continue
        names = [variable.path for variable in state.variables]
        raise ValueError(
            f"Lambda layer `{call.name}` reads weights that are not its own: "
            f"{names or 'variables of the backend'}. The converted model would share "
            "them with this one. Call layers that hold them by themselves, and in the "
            "place of the Lambda an operation that reads the variable itself, as "
            '`keras.ops.einsum("...d,vd->...v", x, embedding.embeddings)` does for '
            f"tied weights: these stay tied. Or pass keep={[call.name]} to share them. "
            f"{shut.get(layer.name, '')}".rstrip()
        )


def _check_kernel(call: Call) -> None:
    """Refuses weight layers with LoRA and with quantized kernels."""
    layer = kinds.unwrapped(call.operation)
    if not kinds.kernel_arguments(layer):
        return
    if getattr(layer, "lora_enabled", False):
        raise ValueError(
            f"Layer `{call.name}` has LoRA enabled: its kernel is made of three. Merge "
            "them first: read `layer.kernel`, and set it as the weights of a layer "
            "without `lora_rank`."
        )
    if getattr(layer, "quantization_mode", None) is not None:
        raise ValueError(
            f"Layer `{call.name}` is quantized ({layer.quantization_mode}), and can "
            "neither be drawn anew nor take statistics. Convert the model before it "
            "is quantized."
        )


def _hidden(call: Call) -> list[str]:
    """The names of normalization layers inside of a layer."""
    layer = call.operation
    is_layer = isinstance(layer, keras.layers.Layer)
    if not is_layer or call.body is not None or kinds.is_normalization(layer):
        return []
    # A `SpectralNormalization` itself is taken off.
    inside = _keras.flatten_layers(kinds.unwrapped(layer))
    return [x.name for x in inside if _is_out_of_reach(x)]


def _is_out_of_reach(layer: Any) -> bool:
    """Whether a layer inside of another is one that the converter would take out."""
    wraps = isinstance(layer, keras.layers.SpectralNormalization)
    if wraps or kinds.descends_from_normalization(layer):
        return True
    return kinds.is_normalization(layer)


def named(keep: Any) -> Callable[[Any], bool]:
    """A function from layers to whether `keep` holds their name or their class."""
    entries = (keep,) if isinstance(keep, (str, type)) else keep
    known = isinstance(entries, (tuple, list, set, frozenset))
    names = {entry for entry in entries if isinstance(entry, str)} if known else set()
    classes = tuple(e for e in entries if inspect.isclass(e)) if known else ()

    def is_named(layer: Any) -> bool:
        own = {layer.name, type(layer).__name__}
        return isinstance(layer, classes) or bool(own & names)

    return is_named


def keeper(keep: Any, graph: Graph, closed: Graph) -> Callable[[Any], bool]:
    """A function from layers to whether `keep` names them.

    Args:
        keep: Tuple of layers' names, of names of classes and of classes, or one of
            these.
        graph: `fixinit.graph.Graph`.
        closed: The graph of the model before layers in it were opened, whose names
            may be given too.

    Raises:
        TypeError: If `keep` is no tuple.
        ValueError: If it names no layer or class of the model.
    """
    if isinstance(keep, (str, type)):
        keep = (keep,)
    if not isinstance(keep, (tuple, list, set, frozenset)):
        raise TypeError(
            "Argument `keep` must be a tuple of names of layers or classes, or of "
            f"classes. Received: {keep!r}. By default nothing is kept: keep=()."
        )
    calls = [call for walked in (graph, closed) for call, _ in walked.walk()]
    known = {type(call.operation).__name__ for call in calls}
    known |= {call.operation.name for call in calls} | {call.name for call in calls}
    for entry in keep:
        if not inspect.isclass(entry):
            check_choice("keep", entry, sorted(known))
    is_named = named(keep)
    ids = {id(call.operation) for call in calls if call.name in keep}
    return lambda operation: is_named(operation) or id(operation) in ids

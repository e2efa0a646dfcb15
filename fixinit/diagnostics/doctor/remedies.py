"""Remedies as code: statements that rebind `model`, `x` or `y`."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from fixinit import _keras
from fixinit.diagnostics.doctor.compiling import compiled, not_default
from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.doctor.heads import BINARY, CATEGORICAL, SPARSE, Head
from fixinit.graph.functional import is_subclassed


def converted(evidence: Evidence, scheme: str) -> str:
    """Statements that convert the model to a scheme, and compile it as it was."""
    return compiled(evidence, f'model = fixinit.convert(model, "{scheme}")')


def started_anew(evidence: Evidence, step: float | None) -> str:
    """Statements that draw a model anew, and compile it with a lower learning rate.

    Args:
        evidence: `Evidence`.
        step: float or `None`. The size of a step that is too large, relative to the
            weights. The rate is such that it would be a tenth of them.
    """
    model = evidence.model
    is_graph = isinstance(model, keras.Sequential) or _keras.is_functional(model)
    if evidence.optimizer is None or not model.compiled or not is_graph:
        return ""
    factor = 0.01 if step is None or not math.isfinite(step) else 0.1 / max(step, 1.0)
    return compiled(evidence, "model = keras.models.clone_model(model)", factor=factor)


def activation(evidence: Evidence, head: Head, name: str) -> str:
    """Statement that sets the last activation, `""` where code cannot reach it."""
    call = evidence.calls.get(head.layer)
    if call is None:
        return ""
    function = f"keras.activations.{name}"
    if evidence.is_layer(call):
        layer, path = call.operation, f'model.get_layer("{call.operation.name}")'
        while isinstance(layer, keras.layers.Wrapper):
            layer, path = layer.layer, f"{path}.layer"
        if hasattr(layer, "activation"):
            return f"{path}.activation = {function}"
    # A softmax that is an operation, or a layer without a choice.
    before = evidence.producers[call.inputs[0]]
    if (
        len(evidence.heads) > 1
        or not evidence.is_layer(before)
        or is_subclassed(evidence.model)
    ):
        return ""
    features = f'model.get_layer("{before.operation.name}").output'
    return f"model = keras.Model(model.inputs, {function}({features}))"


def new_head(evidence: Evidence, head: Head, units: int, name: str) -> str:
    """Statements that put a new last layer in the place of a `Dense` one."""
    call = head.weight
    layer: Any = None if call is None else call.operation
    if (
        call is None
        or not evidence.is_layer(call)
        or not isinstance(layer, keras.layers.Dense)
        or layer is not evidence.model.layers[-1]
        or len(evidence.heads) > 1
    ):
        return ""
    return (
        f'features = model.get_layer("{layer.name}").input\n'
        f'head = keras.layers.Dense({units}, activation="{name}")\n'
        "model = keras.Model(model.inputs, head(features))"
    )


def lines(*statements: str | None) -> str:
    """Joins statements but `None`s; `""` if any of them is missing."""
    given = [statement for statement in statements if statement is not None]
    return "\n".join(given) if all(given) else ""


def loss_of_labels(head: Head, from_logits: bool = False) -> str:
    """Code of the cross-entropy for the labels of a head.

    One that the head has already keeps its settings, such as label smoothing.
    """
    kinds: tuple[str, ...]
    if head.units == 1 or head.is_binary:
        kinds = BINARY
    elif head.labels is not None and head.target is not None:
        hot = head.target.shape[-1:] == (head.units,) and head.target.ndim > 1
        kinds = CATEGORICAL if hot else SPARSE
    else:
        kinds = CATEGORICAL if head.loss in CATEGORICAL else SPARSE
    name = head.loss if head.loss in kinds else kinds[0]
    kind, settings = _loss_class(name), ["from_logits=True"] * from_logits
    if isinstance(head.given, kind):
        config = head.given.get_config()
        settings += not_default(kind, config, ("name", "from_logits")) or []
    return f"keras.losses.{kind.__name__}({', '.join(settings)})"


def loss_named(name: str, from_logits: bool = False) -> str:
    """Code of a loss of Keras that is named as its function."""
    settings = "from_logits=True" if from_logits else ""
    return f"keras.losses.{_loss_class(name).__name__}({settings})"


def _loss_class(name: str) -> type[keras.losses.Loss]:
    """The class of a loss of Keras that is named as its function."""
    return getattr(keras.losses, "".join(map(str.capitalize, name.split("_"))))


def redrawn(layers: Sequence[str], initializer: str, biases: bool = False) -> str:
    """Statements that draw the kernels of layers anew.

    Args:
        layers: Names of layers of the model.
        initializer: Name of a class of `keras.initializers`.
        biases: bool. Whether biases become zero.
    """
    code = (
        f"for seed, name in enumerate({_listed(layers)}):\n"
        "    kernel = model.get_layer(name).kernel\n"
        f"    kernel.assign(keras.initializers.{initializer}(seed)(kernel.shape))"
    )
    return lines(code, without_biases(layers) if biases else None)


def without_biases(layers: Sequence[str]) -> str:
    """Statements by which the biases of layers become zero."""
    return (
        f"for name in {_listed(layers)}:\n"
        "    for weight in model.get_layer(name).weights:\n"
        '        if weight.name in ("bias", "beta"):\n'
        "            weight.assign(keras.ops.zeros_like(weight))"
    )


def rescaled_kernel(layer: str, factor: float) -> str:
    """Statements that multiply the kernel of a layer, and make its bias zero."""
    return lines(
        f'kernel = model.get_layer("{layer}").kernel\n'
        f"kernel.assign({factor:.2g} * kernel)",
        without_biases([layer]),
    )


def _listed(names: Sequence[str]) -> str:
    return repr(tuple(names)).replace("'", '"')

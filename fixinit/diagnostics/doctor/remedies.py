"""Remedies as code: statements that rebind `model`, `x` or `y`."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.doctor.heads import CATEGORICAL, Head

# Settings of optimizers that are written out where they are not the default.
_SETTINGS = ("momentum", "nesterov", "weight_decay", "clipnorm", "global_clipnorm")


def compiled(
    evidence: Evidence, loss: str = "", rate: float | None = None, optimizer: str = ""
) -> str | None:
    """Statement that compiles the model anew; `None` if it need not be compiled.

    Args:
        evidence: `Evidence`.
        loss: Code of the loss; by default that of the model.
        rate: float. A learning rate in the place of the optimizer's.
        optimizer: Code of the optimizer; by default that of the model.
    """
    if not evidence.model.compiled and not loss and rate is None:
        return None
    optimizer = optimizer or _optimizer(evidence.optimizer, rate)
    return f"model.compile({optimizer}, {loss or 'model.loss'})"


def converted(evidence: Evidence, scheme: str) -> str:
    """Statements that convert the model to a scheme, and compile it as it was."""
    convert = f'model = fixinit.convert(model, "{scheme}")'
    if evidence.optimizer is None or not evidence.model.compiled:
        return convert
    optimizer = _optimizer(evidence.optimizer, None)
    return (
        f"optimizer, loss = {optimizer}, model.loss\n"
        f"{convert}\n"
        "model.compile(optimizer, loss)"
    )


def _optimizer(optimizer: keras.optimizers.Optimizer | None, rate: float | None) -> str:
    if optimizer is None:
        return f"keras.optimizers.Adam({rate or 1e-3:.2g})"
    kind, config = type(optimizer), optimizer.get_config()
    is_kerass = getattr(keras.optimizers, kind.__name__, None) is kind
    if not is_kerass or not isinstance(config.get("learning_rate"), float):
        if rate is None:
            return "type(model.optimizer).from_config(model.optimizer.get_config())"
        return (
            "type(model.optimizer).from_config("
            f'model.optimizer.get_config() | {{"learning_rate": {rate:.2g}}})'
        )
    default = kind().get_config()
    settings = [
        f", {key}={config[key]!r}"
        for key in _SETTINGS
        if key in config and config[key] != default.get(key)
    ]
    value = config["learning_rate"] if rate is None else rate
    return f"keras.optimizers.{kind.__name__}({value:.2g}{''.join(settings)})"


def activation(evidence: Evidence, head: Head, name: str) -> str:
    """Statement that sets the last activation, `""` where code cannot reach it."""
    call = head.weight
    if call is None or not evidence.is_layer(call):
        return ""
    layer: Any = call.operation
    if not hasattr(layer, "activation") or head.layer != call.name:
        return ""
    return f'model.get_layer("{layer.name}").activation = keras.activations.{name}'


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
    """Code of the cross-entropy for the labels of a head."""
    if head.units == 1 or head.is_binary:
        name = "BinaryCrossentropy"
    elif head.labels is not None and head.target is not None:
        hot = head.target.shape[-1:] == (head.units,) and head.target.ndim > 1
        name = "CategoricalCrossentropy" if hot else "SparseCategoricalCrossentropy"
    else:
        known = head.loss in CATEGORICAL
        name = "CategoricalCrossentropy" if known else "SparseCategoricalCrossentropy"
    return f"keras.losses.{name}({'from_logits=True' if from_logits else ''})"


def redrawn(layers: Sequence[str], initializer: str) -> str:
    """Statements that draw the kernels of layers anew.

    Args:
        layers: Names of layers of the model.
        initializer: Name of a class of `keras.initializers`.
    """
    names = ", ".join(f'"{name}"' for name in layers)
    comma = "," if len(layers) == 1 else ""
    return (
        f"for seed, name in enumerate(({names}{comma})):\n"
        "    kernel = model.get_layer(name).kernel\n"
        f"    kernel.assign(keras.initializers.{initializer}(seed)(kernel.shape))"
    )

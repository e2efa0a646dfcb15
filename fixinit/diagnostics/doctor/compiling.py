"""Code that compiles a model as it was compiled, but for what a remedy changes."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras
from keras import tree

from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.doctor.heads import Head

# Values that read in code as they are.
_PLAIN = (bool, int, float, str, type(None))


def compiled(
    evidence: Evidence,
    statements: str | None = None,
    loss: str = "",
    head: Head | None = None,
    factor: float | None = None,
    changed: Mapping[str, Any] | None = None,
) -> str:
    """Statements, and one behind them that compiles the model anew.

    Settings of the optimizer and of `compile` stay as they are. A model that is not
    compiled needs no such statement unless `loss` or `factor` is given.

    Args:
        evidence: `Evidence`.
        statements: Code that changes the model or binds a new one to `model`; `None`
            if there is nothing else to do.
        loss: Code of the loss; by default the one that was measured.
        head: `Head` that `loss` is for; the losses of others stay.
        factor: float. What the learning rate is multiplied by.
        changed: Dict of settings of the optimizer that are to be others.

    Returns:
        Code; `""` if `statements` is empty, or if no code can make the optimizer or
        the loss.
    """
    if statements == "":
        return ""
    model = evidence.model
    if not model.compiled and not (loss or factor or changed):
        return statements or ""
    # A new model knows nothing of the optimizer and the loss of the old one.
    is_new = "model = " in (statements or "")
    old = "old" if is_new else "model"
    before, optimizer = _optimizer(evidence, old, factor, changed or {})
    loss = _loss_of(evidence, old, loss, head)
    if not (optimizer and loss):
        return ""
    first = "old = model" if is_new else None
    compile_it = f"model.compile({', '.join([optimizer, loss, *_settings(model)])})"
    parts = (first, before or None, statements, compile_it)
    return "\n".join(part for part in parts if part is not None)


def _loss_of(evidence: Evidence, old: str, loss: str, head: Head | None) -> str:
    """Code of the losses of all outputs, where that of one head may be another."""
    names = evidence.program.subject.output_names
    if loss and (head is None or len(names) == 1):
        return loss
    given, own = evidence.program.loss, f"{old}.loss"
    if given is not None:
        own = _written(given)
    elif evidence.model.compiled:
        given = evidence.model.loss
    else:
        given = dict(zip(names, (h.given for h in evidence.heads), strict=True))
        own = _written(given if len(names) > 1 else given[names[0]])
    if not (own and loss):
        return own
    place = next(i for i, other in enumerate(evidence.heads) if other is head)
    changed = f'{{"{names[place]}": {loss}}}'
    if isinstance(given, dict):
        return f"{own} | {changed}"
    if isinstance(given, (list, tuple)):
        return f"[*{own}[:{place}], {loss}, *{own}[{place + 1} :]]"
    return f"dict.fromkeys({names}, {own}) | {changed}"


def _written(loss: Any) -> str:
    """Code of a loss, or of a list or dict of them; `""` if no code can make it."""
    if isinstance(loss, (list, tuple, dict)):
        values = loss.values() if isinstance(loss, dict) else loss
        parts = ["None" if part is None else _written(part) for part in values]
        if not all(parts):
            return ""
        if not isinstance(loss, dict):
            return f"[{', '.join(parts)}]"
        pairs = zip(loss, parts, strict=True)
        return f"{{{', '.join(f'{key!r}: {part}' for key, part in pairs)}}}"
    if isinstance(loss, str):
        return repr(loss)
    name = getattr(loss, "__name__", "")
    if name and getattr(keras.losses, name, None) is loss:
        return f"keras.losses.{name}"
    kind = type(loss)
    if getattr(keras.losses, kind.__name__, None) is not kind:
        return ""
    settings = not_default(kind, loss.get_config())
    if settings is None:
        return ""
    return f"keras.losses.{kind.__name__}({', '.join(settings)})"


def _settings(model: keras.Model) -> list[str]:
    """Arguments of `compile` that are not the default, where code can say them."""
    if not model.compiled:
        return []
    config = model.get_compile_config() or {}
    defaults = {
        "loss_weights": None,
        "metrics": None,
        "weighted_metrics": None,
        "run_eagerly": False,
        "steps_per_execution": 1,
    }
    return [
        f"{key}={config[key]!r}"
        for key, default in defaults.items()
        if config.get(key, default) != default
        and all(isinstance(leaf, _PLAIN) for leaf in tree.flatten(config[key]))
        and not _holds_configs(config[key])
    ]


def _holds_configs(value: Any) -> bool:
    """Whether a setting of `compile` has objects in it, as their configs."""
    if isinstance(value, dict):
        return "class_name" in value or any(map(_holds_configs, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_holds_configs, value))


def _optimizer(
    evidence: Evidence, old: str, factor: float | None, changed: Mapping[str, Any]
) -> tuple[str, str]:
    """`(statements before, code)` of an optimizer with the same settings."""
    optimizer = evidence.optimizer
    if optimizer is None:
        return "", f"keras.optimizers.Adam({_number(1e-3 * (factor or 1))})"
    given = f"{old}.optimizer"
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        # Which `compile` puts around those of models in mixed precision.
        optimizer, given = optimizer.inner_optimizer, f"{given}.inner_optimizer"
    config = optimizer.get_config() | changed
    rate = config.get("learning_rate")
    base = _keras_class(optimizer)
    if base is not None and isinstance(rate, float):
        written = _number(rate, 6) if factor is None else _number(rate * factor)
        settings = not_default(base, config, ("name", "learning_rate"))
        if settings is not None:
            code = ", ".join([written, *settings])
            return "", f"keras.optimizers.{base.__name__}({code})"
    if changed or evidence.optimizer is not getattr(evidence.model, "optimizer", None):
        return "", ""
    return _copied(optimizer, given, rate, factor)


def _number(value: float, digits: int = 2) -> str:
    """Code of a floating-point number: Keras refuses integers as learning rates."""
    return repr(float(f"{value:.{digits}g}"))


def _copied(
    optimizer: keras.optimizers.Optimizer, given: str, rate: Any, factor: float | None
) -> tuple[str, str]:
    """`(statements before, code)` of an optimizer made from another one's config."""
    if factor is None:
        return "", f"type({given}).from_config({given}.get_config())"
    if isinstance(rate, dict):
        before = (
            f"config = {given}.get_config()\n"
            'schedule = keras.optimizers.schedules.deserialize(config["learning_rate"])'
            "\n"
            'config["learning_rate"] = '
            f"fixinit.optimizers.ScaledSchedule(schedule, {factor:.2g})"
        )
        return before, f"type({given}).from_config(config)"
    value = float(optimizer.learning_rate) * factor
    before = (
        f"optimizer = type({given}).from_config({given}.get_config())\n"
        f"optimizer.learning_rate = {_number(value)}"
    )
    return before, "optimizer"


def _keras_class(optimizer: keras.optimizers.Optimizer) -> type | None:
    """The public class of an optimizer of Keras, `None` for others.

    On PyTorch, Keras makes objects of a subclass.
    """
    kind = type(optimizer)
    public = getattr(keras.optimizers, kind.__name__, None)
    is_kerass = kind.__module__.split(".")[0] == "keras"
    return public if is_kerass and public and issubclass(kind, public) else None


def not_default(
    kind: type, config: dict[str, Any], without: tuple[str, ...] = ("name",)
) -> list[str] | None:
    """Keyword arguments, as code, by which a config differs from a class's defaults.

    Args:
        kind: Class of Keras.
        config: Dict, what `get_config()` of an object gives.
        without: Names of arguments that are left out.

    Returns:
        List of strings; `None` if a value is no plain one.
    """
    parameters = inspect.signature(kind).parameters
    differing = {
        key: value
        for key, value in config.items()
        if key not in without
        and value != (parameters[key].default if key in parameters else None)
    }
    if not all(isinstance(value, _PLAIN) for value in differing.values()):
        return None
    return [f"{key}={value!r}" for key, value in differing.items()]

"""Tells the models that Keras records a graph of from all others."""

from typing import Any

import keras

from fixinit import _keras


def functional_of(layer: Any) -> Any:
    """The functional model that a layer is, `None` if it is none."""
    if not isinstance(layer, keras.Model) or _has_own_call(layer):
        return None
    if isinstance(layer, keras.Sequential):
        return _keras.functional(layer) if layer.built else None
    return layer if _keras.is_functional(layer) else None


def _has_own_call(model: Any) -> bool:
    """Whether the `call` of a model may do something else than run its graph.

    Keras's does not, and that of `fixinit.models` only refuses integers before.
    """
    owner = next(cls for cls in type(model).__mro__ if "call" in vars(cls))
    return owner.__module__.partition(".")[0] not in ("keras", "fixinit")


def no_graph(model: Any) -> ValueError | TypeError:
    """The error for a model that Keras records no graph of."""
    if isinstance(model, keras.Sequential) and not _has_own_call(model):
        return ValueError(
            f"Model `{model.name}` is not built, so it has no graph yet. Call it on "
            "data, or start it with keras.Input(shape)."
        )
    if isinstance(model, keras.Model):
        return TypeError(
            f"Model `{model.name}` is a subclass of {type(model).__mro__[1].__name__} "
            "with a `call` of its own, of which Keras records no graph. Make it "
            "functional: `inputs = keras.Input(shape); keras.Model(inputs, "
            "model.call(inputs))`."
        )
    return TypeError(
        f"Argument `model` must be a functional or Sequential keras.Model. Received: "
        f"{model!r} of type {type(model).__name__}"
    )

"""Tells the models that Keras records a graph of from all others."""

from typing import Any

import keras
from keras import tree

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
    return has_own(model, "call")


def has_own(model: Any, method: str) -> bool:
    """Whether a method of a model is one of the user's own class."""
    return is_own(next(cls for cls in type(model).__mro__ if method in vars(cls)))


def is_subclassed(model: Any) -> bool:
    """Whether a model is one of the user's own class of which there is no graph."""
    return (
        isinstance(model, keras.Model)
        and functional_of(model) is None
        and (_has_own_call(model) or not isinstance(model, keras.Sequential))
    )


def has_call(model: Any) -> bool:
    """Whether a model has a `call`, which `keras.Model` alone has not."""
    return _has_own_call(model) or _keras.is_functional(model)


def is_own(kind: type) -> bool:
    """Whether a class is the user's own: neither of Keras nor of the library."""
    return kind.__module__.partition(".")[0] not in ("keras", "fixinit")


def input_again(tensor: Any, shape: Any = None) -> Any:
    """A new input like a symbolic input of a model, of another shape if one is given.

    Made from the layer's config, it keeps what `keras.Input` has no argument for.
    """
    layer, _, _ = _keras.origin(tensor)
    config = layer.get_config()
    if shape is not None:
        config["batch_shape"] = tuple(shape)
    return type(layer).from_config(config).output


def ends_again(functional: Any, tensors: dict[int, Any]) -> tuple[Any, Any]:
    """`(inputs, outputs)` of a model that is made again, in its structures.

    Args:
        functional: Functional `keras.Model`.
        tensors: Dict from ids of its symbolic tensors to the new ones.
    """
    inputs, outputs = (
        tree.map_structure(lambda tensor: tensors[id(tensor)], structure)
        for structure in (
            _keras.input_structure(functional),
            _keras.output_structure(functional),
        )
    )
    return inputs, outputs


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

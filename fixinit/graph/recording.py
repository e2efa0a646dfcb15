"""What Keras records of a call, what it passes on, and where the two differ."""

from typing import Any

import keras
from keras import tree

from fixinit import _keras
from fixinit.graph.functional import functional_of, is_own
from fixinit.graph.recognition import normalizes


def may_open(operation: Any) -> bool:
    """Whether a layer may become the operations in it.

    Not one that normalizes, of which nothing but these would be left.
    """
    is_layer = isinstance(operation, keras.layers.Layer)
    is_model = functional_of(operation) is not None
    if not is_layer or is_model or not is_own(type(operation)):
        return False
    return not normalizes(operation)


def says_its_shape(layer: Any, given: Any, args: Any, kwargs: Any) -> bool:
    """Whether what a layer of one's own gives has the shape that the layer says."""
    try:
        found = keras.Operation.compute_output_spec(layer, *args, **kwargs)
    except Exception:
        return True  # it was recorded, and cannot be looked into
    pairs = zip(tree.flatten(given), tree.flatten(found), strict=False)
    return all(
        len(a.shape) == len(b.shape)
        and all(m == n or None in (m, n) for m, n in zip(a.shape, b.shape, strict=True))
        for a, b in pairs
        if isinstance(a, keras.KerasTensor) and isinstance(b, keras.KerasTensor)
    )


def shapes_of(functional: Any, args: Any) -> list[Any] | None:
    """The shapes that a model is called with, `None` if that is not clear."""
    given = [x for x in tree.flatten(args) if isinstance(x, keras.KerasTensor)]
    if len(given) != len(functional.inputs):
        return None
    own = [tensor.shape for tensor in functional.inputs]
    shapes = [tuple(x.shape) for x in given]
    alike = all(
        len(a) == len(b) and all(m in (None, n) for m, n in zip(a, b, strict=True))
        for a, b in zip(own, shapes, strict=True)
    )
    return shapes if alike else None


def is_value(x: Any) -> bool:
    """Whether an output is one of the graph: a symbolic tensor, or a constant."""
    return isinstance(x, keras.KerasTensor) or keras.ops.is_tensor(x)


def as_passed(layer: Any, args: Any, kwargs: Any) -> Any:
    """The keyword arguments of a call as Keras would pass them on.

    With the mask of its input, and without a mode that it does not ask for.
    """
    if "training" not in layer.call_signature_parameters:
        kwargs = {name: value for name, value in kwargs.items() if name != "training"}
    if "mask" not in layer.call_signature_parameters or len(args) != 1:
        return kwargs
    if kwargs.get("mask") is not None or not isinstance(args[0], keras.KerasTensor):
        return kwargs
    mask = _keras.get_mask(args[0])
    return kwargs if mask is None else {**kwargs, "mask": mask}

"""Every private part of Keras that fixinit uses, each with the reason."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras.src import applications, ops
from keras.src.activations import activations
from keras.src.backend.common import masking

# Keras records the call of an operation as an object of one of its classes, which
# tells what the call computes. It exports the functions and none of the classes.
_OPERATION_MODULES = (
    ops.numpy,
    ops.nn,
    ops.core,
    ops.math,
    ops.linalg,
    ops.image,
    activations,
)

# `keras.applications` scales residual branches with these two, and exports neither.
LayerScale = applications.convnext.LayerScale
CustomScaleLayer = applications.inception_resnet_v2.CustomScaleLayer


def operation(name: str) -> type:
    """The class whose objects Keras records for calls of an operation.

    Args:
        name: String, the name of the class, such as `"Add"`.

    Raises:
        ImportError: If the installed Keras has no such class.
    """
    for module in _OPERATION_MODULES:
        kind = vars(module).get(name)
        if isinstance(kind, type) and issubclass(kind, keras.Operation):
            return kind
    raise ImportError(
        f"Keras {keras.__version__} has no operation class `{name}` where fixinit "
        "looks for it. Install a version of Keras that setup.py of fixinit allows."
    )


# Masks


def get_mask(tensor: Any) -> Any:
    """The mask that Keras has attached to a tensor, `None` where there is none.

    A layer without an argument `mask` has no other way to read it.
    """
    return masking.get_keras_mask(tensor)


def set_mask(tensor: Any, mask: Any) -> None:
    """Attaches a mask to a tensor, as calls of layers that support masking do."""
    masking.set_keras_mask(tensor, mask)


@contextlib.contextmanager
def kept_masks(*tensors: Any) -> Iterator[None]:
    """A context that leaves the masks of tensors as they are.

    `keras.layers.MultiHeadAttention` takes the masks of its inputs off.
    """
    before = [get_mask(tensor) for tensor in tensors]
    try:
        yield
    finally:
        for tensor, mask in zip(tensors, before, strict=True):
            set_mask(tensor, mask)

"""Every private part of Keras that fixinit uses, each with the reason."""

import keras
from keras.src import applications, ops
from keras.src.activations import activations

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

"""Custom gradients, which TensorFlow keeps no longer than they are needed."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras

_local = threading.local()


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """`keras.ops.custom_gradient`, of which `forgotten_gradients` can let go.

    Args:
        function: Callable of tensors that returns `(outputs, gradient)`, as
            `keras.ops.custom_gradient` takes it.
    """
    wrapped = keras.ops.custom_gradient(function)
    if keras.backend.backend() != "tensorflow":
        return wrapped
    import tensorflow as tf

    def call(*args: Any) -> Any:
        outputs = wrapped(*args)
        names = getattr(_local, "names", None)
        registered = _registered()
        if names is not None and registered and not tf.executing_eagerly():
            # The last thing that a traced call does is to register its gradient.
            names.append(next(reversed(registered)))
        return outputs

    return call


@contextlib.contextmanager
def forgotten_gradients() -> Iterator[None]:
    """A context, or decorator, of the trace of what nothing will differentiate again.

    TensorFlow registers the gradient of every traced call of a `tf.custom_gradient`
    under a name of its own and for ever, and with it the tensors that it reads, and
    with those the graph. A gradient that is taken by a tape inside of the traced
    function needs none of that afterwards.
    """
    outer = getattr(_local, "names", None)
    _local.names = []
    try:
        yield
    finally:
        registered = _registered()
        for name in _local.names:
            registered.pop(name, None)
        _local.names = outer


def _registered() -> dict[str, Any]:
    """TensorFlow's gradients by name; it has no public way to remove one."""
    from tensorflow.python.framework import ops

    return getattr(ops.gradient_registry, "_registry", {})

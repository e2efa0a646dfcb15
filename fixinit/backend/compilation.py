"""Compilation of functions of tensors."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras

from fixinit._typing import Tensor


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles `function` of tensors; on PyTorch it stays as it is."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # The kernels, and so the bits, of eager execution.
        traced = tf.function(function, jit_compile=False, autograph=False)
        # Calling it would warn when equal functions are traced for several layers.
        return lambda *args: traced.get_concrete_function(*args)(*args)
    if backend == "jax":
        import jax

        return jax.jit(function)
    return function


def without_gradients() -> contextlib.AbstractContextManager[Any]:
    """A context in which PyTorch keeps nothing for gradients; others do not anyway."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


def is_eager(tensor: Tensor) -> bool:
    """Whether operations on `tensor` run at once, and are not traced."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.executing_eagerly()
    if backend == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    return True


def under_xla() -> bool:
    """Whether TensorFlow traces a graph that XLA will compile."""
    import tensorflow as tf

    graph = tf.compat.v1.get_default_graph()
    while graph is not None:
        context = graph._get_control_flow_context()
        if context is not None and context.IsXLAContext():
            return True
        graph = getattr(graph, "outer_graph", None)
    return False


def unknown(backend: str) -> RuntimeError:
    """The error for a backend of Keras that is not supported."""
    return RuntimeError(
        "This needs the TensorFlow, JAX or PyTorch backend of Keras. "
        f"Received: {backend!r}. Set KERAS_BACKEND."
    )

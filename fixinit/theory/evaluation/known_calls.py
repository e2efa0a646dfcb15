"""Calls that are made: on tensors that are known, and by layers that read nothing."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import graph
from fixinit.layers.parameter import Parameter
from fixinit.theory.calculus.known import Known, example, is_long, known
from fixinit.theory.calculus.moments import Moments

_SAMPLES = 2


def token_input(call: graph.Call, spec: Any, x: Moments) -> Moments:
    """An input of whole numbers or truth values as `Known`, others as they are.

    Tokens all differ, and masks hide nothing.
    """
    dtype, shape = keras.backend.standardize_dtype(spec.dtype), (*x.shape,)
    shape = (*shape, x.total_channels) if len(spec.shape) > 1 else shape
    is_mask = dtype == "bool" or "mask" in call.name
    if not (dtype == "bool" or "int" in dtype):
        return x
    if is_long(shape) or (len(shape) > 1 and not is_mask):
        return x
    return known(example(call.name, shape, dtype, spec.shape[0] or _SAMPLES))


def known_outputs(
    call: graph.Call, operation: Any, read: Sequence[Moments], constants: Any
) -> list[Moments] | None:
    """What a call gives for tensors that are known, `None` if it reads others.

    A layer that gives the same whatever it reads, such as embeddings of positions,
    counts by the numbers it has now.
    """
    is_constant = call in constants
    if not is_constant:
        if not all(isinstance(x, Known) for x in read):
            return None
        if getattr(operation, "variables", None):
            return None
    given = [_tensor(x) for x in read]
    try:
        args, kwargs = call.fill(given)
        with keras.StatelessScope():
            found = tree.flatten(operation(*args, **kwargs))
        arrays = [np.asarray(ops.convert_to_numpy(y)) for y in found]
    except Exception:
        # Its rule may know it; it need not run on the few samples that are known.
        return None
    if any(np.issubdtype(a.dtype, np.floating) and np.isnan(a).any() for a in arrays):
        return None  # JAX's rows of a table for tokens that it does not have.
    if isinstance(operation, Parameter):
        return [known(array, is_batch=False) for array in arrays]
    if is_constant and any(np.issubdtype(a.dtype, np.floating) for a in arrays):
        return [_drawn(operation, array[:1]) for array in arrays]
    is_batch = any(isinstance(x, Known) and x.is_batch for x in read)
    return [known(array, is_batch) for array in arrays]


def readable(x: Moments, operation: Any) -> Any:
    """What a rule gets for a tensor: an operation, for weights, their numbers."""
    if isinstance(operation, keras.layers.Layer):
        return x
    return x.array if isinstance(x, Known) and not x.is_batch else x


def _tensor(x: Moments) -> Any:
    if isinstance(x, Known):
        return ops.convert_to_tensor(x.array)
    return ops.zeros((_SAMPLES, *x.shape, x.total_channels))


def _drawn(operation: Any, array: np.ndarray) -> Moments:
    """Numbers that are the same for all inputs: a table, or weights that were drawn."""
    y = known(array)
    if not getattr(operation, "trainable_variables", None):
        return y
    mean, square = (
        float(array.mean()),
        float(np.mean(np.square(array, dtype="float64"))),
    )
    z = Moments.inputs(array.shape[1:], mean, max(square - mean**2, 0.0))
    z.cross = z.same
    return z

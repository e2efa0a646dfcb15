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
from fixinit.theory.calculus.reshaping import reshape

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
    try:
        arrays = _called(call, operation, read)
        others = arrays
        if not (all(isinstance(x, Known) for x in read)):
            others = _called(call, operation, read, unknown=1.0)
    except Exception:
        # Its rule may know it; it need not run on the few samples that are known.
        return None
    if not all(map(np.array_equal, arrays, others)):
        return None  # what it reads is constant, but not known
    if any(np.issubdtype(a.dtype, np.floating) and np.isnan(a).any() for a in arrays):
        return None  # JAX's rows of a table for tokens that it does not have.
    if isinstance(operation, Parameter):
        return [known(array, is_batch=False) for array in arrays]
    if is_constant and any(np.issubdtype(a.dtype, np.floating) for a in arrays):
        return [_drawn(operation, array[:1]) for array in arrays]
    is_batch = any(isinstance(x, Known) and x.is_batch for x in read)
    return [known(array, is_batch) for array in arrays]


def _called(
    call: graph.Call, operation: Any, read: Sequence[Moments], unknown: float = 0.0
) -> list[np.ndarray]:
    """What a call gives, for one number in the place of all that is not known."""
    args, kwargs = call.fill([_tensor(x, unknown) for x in read])
    with keras.StatelessScope():
        found = tree.flatten(operation(*args, **kwargs))
    return [np.asarray(ops.convert_to_numpy(y)) for y in found]


def readable(x: Moments, spec: Any, operation: Any) -> Any:
    """What a rule gets for a tensor: an operation, for weights, their numbers.

    Layers take the first axis for the batch, which of weights is one of 1.
    """
    if isinstance(operation, keras.layers.Layer):
        shape = x.shape
        if shape[:1] != (1,) or len(spec.shape) != len(shape) + 1 or not spec.shape[0]:
            return x
        if not isinstance(x, Known):
            return reshape(x, shape[1:])
        y = known(x.array)
        y.node.link((x,), lambda g: [g[:, None]])
        return y
    return x.array if isinstance(x, Known) and not x.is_batch else x


def _tensor(x: Moments, unknown: float) -> Any:
    if isinstance(x, Known):
        return ops.convert_to_tensor(x.array)
    return ops.full((_SAMPLES, *x.shape, x.total_channels), unknown)


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

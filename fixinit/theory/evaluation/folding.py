"""Values of a graph that are the same for all inputs, as arrays."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import graph, layers
from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments


def folded(
    call: graph.Call, operation: Any, read: Sequence[np.ndarray | None]
) -> list[np.ndarray] | None:
    """What a call gives, if that depends on parameters and constants alone.

    Args:
        call: `fixinit.graph.Call`.
        operation: Its layer or operation.
        read: List of the arrays that it reads, `None` for what depends on the inputs.

    Returns:
        List of arrays, one per output; `None` if it depends on the inputs, or is a
        layer with weights to draw.
    """
    if isinstance(operation, layers.Parameter):
        return [np.asarray(ops.convert_to_numpy(operation.parameter))]
    if isinstance(operation, keras.layers.Layer) or not read:
        return None
    if any(array is None for array in read):
        return None
    args, kwargs = call.fill([ops.convert_to_tensor(array) for array in read])
    with keras.StatelessScope():
        found = tree.flatten(operation.call(*args, **kwargs))
    return [np.asarray(ops.convert_to_numpy(x)) for x in found]


def as_moments(array: np.ndarray) -> Moments:
    """The moments of an array without a batch, or with one that is broadcast."""
    values = array[0] if array.ndim > 1 and len(array) == 1 else array
    return calculus.constant(np.atleast_1d(values))

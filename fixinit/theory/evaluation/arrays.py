"""Constant arrays among the arguments of a call."""

from typing import Any

import numpy as np
from keras import ops, tree

from fixinit.theory.calculus.known import known


def with_arrays(values: Any) -> Any:
    """A structure with `Known` in the place of arrays of floats, whose first axis is
    the batch.

    Example:

    >>> from fixinit.theory.evaluation.arrays import with_arrays
    >>> x, y = with_arrays([np.ones((1, 4, 8)), None])
    >>> x.shape, x.total_channels, y
    ((4,), 8, None)
    """
    return tree.map_structure(_with_array, values)


def _with_array(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        if not ops.is_tensor(value):
            return value
        value = ops.convert_to_numpy(value)
    is_float = np.issubdtype(np.asarray(value).dtype, np.floating)
    return known(value) if is_float and value.ndim else value

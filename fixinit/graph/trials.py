"""Layers of somebody else's are tried out."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import backend

# The sizes of axes that are open: what depends on the size shows at the other one.
OPEN_SIZES = (8, 11)


def tried(
    run: Callable[[], Any], values: Iterable[tuple[keras.Variable, Any]] = ()
) -> list[np.ndarray] | None:
    """The tensors that a function gives which calls layers of classes of one's own.

    Weights, other states of layers and random states stay as they are.

    Args:
        run: Function to a structure of tensors.
        values: Pairs of a variable and the value that it has instead.

    Returns:
        List of arrays, or `None` if the function raises something: such a layer may ask
        for other numbers than it gets, and fails in ways of its own.
    """
    state = [(variable, _cast(value, variable.dtype)) for variable, value in values]
    try:
        with backend.kept_random_state(), keras.StatelessScope(state_mapping=state):
            return [ops.convert_to_numpy(y) for y in tree.flatten(run())]
    except Exception:
        return None


def _cast(value: Any, dtype: str) -> Any:
    return ops.cast(ops.convert_to_tensor(value), dtype)

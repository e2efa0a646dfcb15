"""Functions that only their code describes, evaluated by the backend."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import backend
from fixinit._typing import Tensor

# Shapes behind the batch. A function may ask for as many axes as it is written for.
_TAILS = ((8,), (3, 8), (3, 3, 8))
# Python numbers take either; functions that hold tensors may ask for the second.
_DTYPES = ("float64", "float32")
_BATCH, _TRIALS = 4, 8
# Of float32 functions with a few operations.
_TOLERANCE = 1e-4


class Evaluated:
    """An element-wise function of one or more arrays, with its partial derivatives.

    Derivatives are those that the backend takes: what has none, such as a step, has 0.

    Args:
        function: Callable from tensors of one shape to a tensor of that shape.
        count: int, how many tensors it takes.
        tail: Tuple of ints, the shape behind the batch that it is called with.
        dtype: String.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        count: int,
        tail: tuple[int, ...],
        dtype: str,
    ) -> None:
        self._function, self._count = function, count
        self._tail, self._dtype = tail, dtype
        self._differentiate = backend.value_and_gradients(self._total, compiles=False)

    def _total(self, tensors: Sequence[Tensor]) -> Tensor:
        result = ops.cast(self._function(*tensors), self._dtype)
        # Comparisons and steps have derivatives too, which are 0.
        return ops.sum(result) + 0 * ops.sum(tensors[0])

    def value(self, *arrays: np.ndarray) -> np.ndarray:
        """The function of arrays of one shape."""
        size, shape = arrays[0].size, arrays[0].shape
        with keras.StatelessScope(), backend.kept_random_state():
            found = self._function(*self._tensors(arrays))
        return _numpy(found).ravel()[:size].reshape(shape)

    def partials(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """The derivative by each of the arrays."""
        size, shape = arrays[0].size, arrays[0].shape
        with keras.StatelessScope(), backend.kept_random_state():
            _, found = self._differentiate(self._tensors(arrays))
        return [_numpy(g).ravel()[:size].reshape(shape) for g in found]

    def _tensors(self, arrays: Sequence[np.ndarray]) -> list[Tensor]:
        """The arrays as tensors of the shape that the function takes."""
        size, row = arrays[0].size, int(np.prod(self._tail))
        rows = max(-(-size // row), _BATCH)
        padded = np.zeros((len(arrays), rows * row), self._dtype)
        padded[:, :size] = [array.ravel() for array in arrays]
        return [ops.convert_to_tensor(p.reshape(rows, *self._tail)) for p in padded]

    def acts_on_elements(self) -> bool:
        """Whether each output depends on the inputs at its own place, and on nothing
        else, and in the same way at every place.

        Random inputs are exchanged at random places, and moved to other places.
        """
        rng = np.random.default_rng(0)
        shape = (self._count, _BATCH * int(np.prod(self._tail)))
        given = 2 * rng.standard_normal(shape)
        result = self.value(*given)
        scale = np.abs(np.where(np.isfinite(result), result, 0.0)).max()

        def agree(a: np.ndarray, b: np.ndarray) -> bool:
            within = {"rtol": _TOLERANCE, "atol": _TOLERANCE * scale}
            return np.allclose(a, b, equal_nan=True, **within)

        for trial in range(_TRIALS):
            kept, order = rng.random(shape[1]) < 0.5, rng.permutation(shape[1])
            others = 2.0 ** (trial % 4) * rng.standard_normal(shape)
            changed = self.value(*np.where(kept, given, others))
            moved = self.value(*given[:, order])
            if not (agree(changed[kept], result[kept]) and agree(moved, result[order])):
                return False
        return True


def evaluated(function: Callable[..., Tensor], count: int = 1) -> Evaluated | None:
    """A function that acts element by element, `None` if this one does not.

    Args:
        function: Callable from tensors of one shape to a tensor, of any axes; or of
            those that it is written for.
        count: int, how many tensors it takes.
    """
    for dtype in _DTYPES:
        ways = [Evaluated(function, count, tail, dtype) for tail in _TAILS]
        ways = [way for way in ways if _runs(way)]
        if ways:
            return ways[0] if all(map(_acts, ways)) else None
    return None


def _runs(way: Evaluated) -> bool:
    """Whether a function takes such tensors, and gives and differentiates as many."""
    points = [np.linspace(0.5, 1.5, _BATCH * 8)] * way._count
    tensors = way._tensors(points)
    try:
        with keras.StatelessScope(), backend.kept_random_state():
            shape = tuple(way._function(*tensors).shape)
        way.partials(*points)
    except Exception:
        # It is somebody else's code, and may want other shapes: whether it runs is
        # what is asked.
        return False
    return shape == tuple(tensors[0].shape)


def _acts(way: Evaluated) -> bool:
    """Whether a function acts on elements, and takes all numbers."""
    try:
        return way.acts_on_elements()
    except Exception:
        return False  # as in `_runs`


def _numpy(tensor: Tensor) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


class Known:
    """What was found for objects, for as long as they are there.

    Example:

    >>> known = Known()
    >>> relu = keras.layers.ReLU()
    >>> known.get(relu, "name", lambda: relu.name)
    're_lu'
    """

    def __init__(self) -> None:
        self._found: Any = weakref.WeakKeyDictionary()

    def get(self, owner: Any, key: Any, make: Callable[[], Any]) -> Any:
        """What was made for an object and a key, made once."""
        try:
            found = self._found.setdefault(owner, {})
        except TypeError:
            return make()  # neither hashed nor referred to weakly
        if key not in found:
            found[key] = make()
        return found[key]

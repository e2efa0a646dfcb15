"""Random numbers for layers that are tried out."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np

from fixinit import _keras, backend


def random_array(
    shape: Sequence[int], dtype: str, rng: np.random.Generator
) -> np.ndarray:
    """Standard normal numbers, or whole numbers that every vocabulary has: 0 and 1.

    Args:
        shape: Sequence of ints.
        dtype: String.
        rng: `numpy.random.Generator`.

    Returns:
        Array of that dtype.
    """
    if keras.backend.is_float_dtype(dtype):
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)


@contextlib.contextmanager
def drawing_alike(*models: keras.Model) -> Iterator[Callable[[], None]]:
    """A context that leaves the random states of models and of the backend as they are.

    Yields:
        A function that brings them back to where they were.
    """
    states = [state for model in models for state in _keras.seed_states(model)]
    with contextlib.ExitStack() as stack, _keras.unseeded_state() as unseeded:
        states.append(unseeded)
        before = [keras.ops.convert_to_numpy(state).copy() for state in states]
        stack.enter_context(backend.kept_random_state())

        def again() -> None:
            stack.close()
            stack.enter_context(backend.kept_random_state())
            for state, value in zip(states, before, strict=True):
                state.assign(value)

        try:
            yield again
        finally:
            again()

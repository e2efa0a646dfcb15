"""Random numbers for layers that are tried out."""

from collections.abc import Sequence

import numpy as np


def random_array(
    shape: Sequence[int], dtype: str, rng: np.random.Generator
) -> np.ndarray:
    """Standard normal numbers, or whole numbers that every vocabulary has: 0 and 1.

    Args:
        shape: Sequence of ints.
        dtype: String.
        rng: `numpy.random.Generator`.
    """
    if "float" in dtype:
        return rng.standard_normal(shape)
    return rng.integers(0, 2, shape)

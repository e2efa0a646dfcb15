"""Masks of attention, as arrays."""

from typing import Any

import numpy as np
from keras import ops

from fixinit.theory.calculus.known import Known
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting


def mask_array(mask: Any, setting: Setting, rank: int = 3) -> np.ndarray | None:
    """A mask of one sample as an array of truth values, `None` if it hides nothing.

    One of fewer than `rank` axes has no batch.
    """
    if mask is None:
        return None
    if isinstance(mask, Known):
        mask = mask.array
    elif isinstance(mask, Moments):
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, whose mask depends on activations "
            "or on inputs that are no integers. Give masks as inputs of dtype 'bool'."
        )
    seen = np.asarray(ops.convert_to_numpy(mask)).astype(bool)
    seen = seen[0] if seen.ndim >= rank else seen
    return None if seen.all() else seen


def causal(
    queries: int, keys: int, hides: bool = True, window: int | None = None
) -> np.ndarray:
    """Which keys a query sees: those up to its place, and no more than a window."""
    behind = np.arange(queries)[:, None] - np.arange(keys)
    seen = behind >= 0 if hides else np.ones((queries, keys), bool)
    return seen if window is None else seen & (np.abs(behind) < window)

"""Masks of attention, as arrays."""

from typing import Any

import numpy as np

from fixinit.theory.calculus.known import Known
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting


def mask_array(mask: Any, setting: Setting) -> np.ndarray | None:
    """A mask of one sample as an array of truth values, `None` if it hides nothing."""
    if mask is None:
        return None
    if isinstance(mask, Known):
        mask = mask.array
    elif isinstance(mask, Moments):
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, whose mask depends on activations "
            "or on inputs that are no integers. Give masks as inputs of dtype 'bool'."
        )
    seen = np.asarray(mask).astype(bool)[0]
    return None if seen.all() else seen


def causal(
    queries: int, keys: int, hides: bool = True, window: int | None = None
) -> np.ndarray:
    """Which keys a query sees: those up to its place, and no more than a window."""
    behind = np.arange(queries)[:, None] - np.arange(keys)
    seen = behind >= 0 if hides else np.ones((queries, keys), bool)
    return seen if window is None else seen & (np.abs(behind) < window)

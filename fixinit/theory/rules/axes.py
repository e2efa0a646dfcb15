"""Axes of tensors as rules need them: counted from 0, without the batch."""

from typing import Any

from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting


def axis_of(axis: int, rank: int, setting: Setting) -> int:
    """One axis of a tensor of `rank` axes with the batch.

    Raises:
        NoRuleError: If it is the batch.
    """
    if not 0 < axis % rank:
        raise NoRuleError(
            f"No variance rule for `{setting.name}` along the batch. "
            f"Received: axis={axis}"
        )
    return axis % rank - 1


def axes_of(axes: Any, x: Moments, setting: Setting) -> list[int]:
    """The axes of what Keras takes as `axis`, sorted; an int, several, or all."""
    rank = len(x.shape) + 2
    if axes is None:
        axes = range(rank)
    given = [axes] if isinstance(axes, int) else list(axes)
    return sorted({axis_of(int(axis), rank, setting) for axis in given})

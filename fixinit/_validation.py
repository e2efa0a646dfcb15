"""Argument checks shared by the whole library: one wording for one mistake.

Each returns the value that it has checked, in the type that it is used in.
"""

import difflib
import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Choice = TypeVar("Choice")


def check_choice(argument: str, value: Choice, allowed: Iterable[Any]) -> Choice:
    """Refuses a value that is not one of `allowed`, and suggests the nearest."""
    allowed = list(allowed)
    if value in allowed:
        return value
    nearest = difflib.get_close_matches(str(value), map(str, allowed), n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(
        f"Argument `{argument}` must be one of {allowed}.{hint} "
        f"Received: {argument}={value!r}"
    )


def check_positive_int(
    argument: str, value: Any, minimum: int = 1, hint: str = ""
) -> int:
    """Refuses anything but an integer of at least `minimum`; `hint` ends the error."""
    is_int = hasattr(value, "__index__") and not isinstance(value, bool)
    if is_int and int(value) >= minimum:
        return int(value)
    raise ValueError(
        f"Argument `{argument}` must be an integer of at least {minimum}. "
        f"Received: {argument}={value!r}.{' ' + hint if hint else ''}"
    )


def check_branch(branch: Any, num_branches: Any) -> tuple[int, int]:
    """Refuses an index of a branch outside `[0, num_branches)`; returns both."""
    num_branches = check_positive_int("num_branches", num_branches)
    branch = check_positive_int("branch", branch, minimum=0)
    if branch >= num_branches:
        raise ValueError(
            "Argument `branch` counts from 0 and must be smaller than "
            f"`num_branches`. Received: branch={branch}, num_branches={num_branches}"
        )
    return branch, num_branches


def check_number(
    argument: str, value: Any, allowed: str, valid: Callable[[float], bool]
) -> float:
    """Refuses anything but a finite real number for which `valid(value)` is true.

    `allowed` says in words which numbers these are.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and valid(value):
        return float(value)
    raise ValueError(
        f"Argument `{argument}` must be {allowed}. Received: {argument}={value!r}"
    )


def check_sequence(argument: str, value: Any, example: Any) -> tuple:
    """Refuses anything but a sequence, such as a shape; returns a tuple.

    `example` stands in the error. Strings are refused too.
    """
    try:
        if not isinstance(value, str):
            return tuple(value)
    except TypeError:
        pass
    raise ValueError(
        f"Argument `{argument}` must be a tuple such as {example}. "
        f"Received: {argument}={value!r}"
    )

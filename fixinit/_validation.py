"""Argument checks shared by the whole library: one wording for one mistake."""

import difflib
import math
import numbers


def check_choice(argument, value, allowed):
    """Refuses a `value` that is not one of `allowed`, and suggests the nearest."""
    allowed = list(allowed)
    if value in allowed:
        return value
    nearest = difflib.get_close_matches(str(value), map(str, allowed), n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(
        f"Argument `{argument}` must be one of {allowed}.{hint} "
        f"Received: {argument}={value!r}"
    )


def check_positive_int(argument, value, minimum=1, hint=""):
    """Refuses anything but an integer of at least `minimum`."""
    is_int = hasattr(value, "__index__") and not isinstance(value, bool)
    if is_int and int(value) >= minimum:
        return int(value)
    raise ValueError(
        f"Argument `{argument}` must be an integer of at least {minimum}. "
        f"Received: {argument}={value!r}.{' ' + hint if hint else ''}"
    )


def check_branch(branch, num_branches):
    """Refuses what is not the index of one of some branches: `(branch, number)`."""
    num_branches = check_positive_int("num_branches", num_branches)
    branch = check_positive_int("branch", branch, minimum=0)
    if branch >= num_branches:
        raise ValueError(
            "Argument `branch` counts from 0 and must be smaller than "
            f"`num_branches`. Received: branch={branch}, num_branches={num_branches}"
        )
    return branch, num_branches


def check_number(argument, value, allowed, valid):
    """Refuses anything but a finite real number for which `valid(value)` is true."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and valid(value):
        return float(value)
    raise ValueError(
        f"Argument `{argument}` must be {allowed}. Received: {argument}={value!r}"
    )


def check_sequence(argument, value, example):
    """Refuses what is not a sequence, such as a tuple or a shape; returns a tuple."""
    try:
        if not isinstance(value, str):
            return tuple(value)
    except TypeError:
        pass
    raise ValueError(
        f"Argument `{argument}` must be a tuple such as {example}. "
        f"Received: {argument}={value!r}"
    )

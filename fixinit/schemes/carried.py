"""Checks that a scheme's answers carry the start that it declares."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fixinit.layers import facts_of
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site

_TOLERANCE = 1e-6  # of factors that went through float32


def check_branch_end(
    scheme: Scheme, site: Site, answer: Sequence[keras.layers.Layer]
) -> None:
    """Refuses a `branch_end` without the multiplier that `start` declares."""
    start = scheme.started(site)
    if start.by != "multiplier" or start.scale == 1:
        return
    facts = [facts_of(layer) for layer in answer]
    if not any(x.start is not None or (x.scales_branch and x.linear) for x in facts):
        raise _not_carried(
            scheme,
            start,
            f"branch_end() = {[type(layer).__name__ for layer in answer]}, of which "
            "none is a multiplier by its `fixinit_facts`",
            "Add the layers of super().branch_end(site), or declare by='layers'",
        )


def check_kernel(
    scheme: Scheme, site: Site, answer: keras.initializers.Initializer
) -> None:
    """Refuses a drawn last kernel where `start` declares one of zeros."""
    start = scheme.started(site)
    if start.by != "kernel" or not (site.is_last and start.is_zero):
        return
    if _draws_numbers(answer):
        raise _not_carried(
            scheme,
            start,
            f"kernel_initializer() = {type(answer).__name__} at the last weight layer",
            "Override draw(site), which kernel_initializer scales, in its place",
        )


def check_merge(scheme: Scheme, site: Site, answer: keras.layers.Layer) -> None:
    """Refuses an addition of other factors than `start` declares."""
    start, facts = scheme.started(site), facts_of(answer)
    if not facts.adds:
        return
    given = facts.factors or (1.0, 1.0)
    scale = start.merge_scale
    if start.is_zero and given[1]:
        scale = given[1]  # what carries the zero is multiplied by it
    expected = start.shortcut_scale, scale
    pairs = zip(given, expected, strict=True)
    if not all(math.isclose(*pair, rel_tol=_TOLERANCE) for pair in pairs):
        raise _not_carried(
            scheme,
            start,
            f"merge() with the factors {given}",
            f"Its factors of shortcut and branch must be {expected}",
        )


def _draws_numbers(initializer: keras.initializers.Initializer) -> bool:
    """Whether an initializer draws other numbers than zeros, as far as one tells."""
    if isinstance(initializer, keras.initializers.Zeros):
        return False
    try:
        drawn = initializer((1, 1))
    except Exception:  # it is for kernels of another rank
        return False
    return bool(np.any(keras.ops.convert_to_numpy(drawn)))


def _not_carried(scheme: Scheme, start: Any, answer: str, fix: str) -> ValueError:
    return ValueError(
        f"Scheme {scheme!r} declares {start!r}, and its answers do not carry it. "
        f"Received: {answer}. {fix}."
    )

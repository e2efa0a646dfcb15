"""Layers whose calls are seen by others, and what their errors say."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras


@contextlib.contextmanager
def watched(layer: Any, call: Callable) -> Iterator[None]:
    """Has `call(layer, record, args, kwargs)` done in the stead of a layer's call."""
    kind = type(layer)

    def instead(self: Any, *args: Any, **kwargs: Any) -> Any:
        return call(self, functools.partial(kind.__call__, self), args, kwargs)

    attributes: dict[str, Any] = {"__call__": instead, "__module__": kind.__module__}
    if isinstance(layer, keras.layers.EinsumDense):
        # Its own gives the sizes that it was built with, open ones among them.
        attributes["compute_output_spec"] = keras.Operation.compute_output_spec
    layer.__class__ = type(kind.__name__, (kind,), attributes)
    try:
        yield
    finally:
        layer.__class__ = kind


@contextlib.contextmanager
def unwatched(layer: Any) -> Iterator[None]:
    """Calls a layer that is watched without anything in between."""
    kind = type(layer)
    layer.__class__ = kind.__mro__[1]
    try:
        yield
    finally:
        layer.__class__ = kind


def told(error: Exception) -> str:
    """What an error says, in one line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # colours of terminals
    lines = text.strip().splitlines() or [""]
    # Keras says on top where an error was, and below what it was.
    told = [line.strip() for line in lines if line.strip()]
    what = (line for line in told if not line.startswith("Exception enc"))
    return next(what, type(error).__name__)[:300]

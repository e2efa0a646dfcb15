"""Recognizes normalization of one's own by what it computes."""

import weakref
from typing import Any

import keras
import numpy as np

from fixinit import _keras
from fixinit.graph.trials import tried
from fixinit.layers.facts import inherited_facts

# A multiple of the input that normalization takes back, and what may be left of it:
# epsilons are small beside variances of 1.
_FACTOR, _TOLERANCE = 8.0, 0.02
# How often inputs are changed, which share of them, and how many outputs follow.
_CHANGES, _SHARE, _MOST = 8, 0.2, 0.8
_known: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()


def normalizes(layer: keras.layers.Layer) -> bool:
    """Whether a layer that declares nothing normalizes what it reads.

    It does if it gives the same for a multiple of its input, in the shape of its
    input, and if every output depends on more than one input. The layer is run on
    standard normal numbers, and stays as it is.

    Args:
        layer: Layer of one input, which holds no other layers. Others are not
            recognized.
    """
    if layer not in _known:
        _known[layer] = _is_scale_invariant(layer)
    return _known[layer]


def centers(layer: keras.layers.Layer) -> bool:
    """Whether a layer that normalizes takes the mean out too."""
    x = _inputs(layer)
    return x is not None and _are_equal(_run(layer, x), _run(layer, x + 1))


def _is_scale_invariant(layer: Any) -> bool:
    x = _inputs(layer)
    if x is None or _keras.flatten_layers(layer, include_self=False):
        return False
    if inherited_facts(layer).normalizes:
        return False  # it normalizes, and does more than that
    y = _run(layer, x)
    if y is None or y.shape != x.shape or np.ptp(y) == 0:
        return False
    if not _are_equal(y, _run(layer, _FACTOR * x)):
        return False
    return _follows_changes(layer, x, y)


def _follows_changes(layer: Any, x: np.ndarray, y: np.ndarray) -> bool:
    """Whether outputs follow the inputs at their places, and depend on others too.

    Behind a ReLU half of them do not follow, and of a maximum nearly none.
    """
    rng = np.random.default_rng(1)
    follow, others = [], False
    for _ in range(_CHANGES):
        # Few at a time, for what normalizes over space takes out what all share.
        is_moved = rng.random(x.shape) < _SHARE
        moved = x + np.where(is_moved, 1.5 * rng.choice([-1.0, 1.0], x.shape), 0.0)
        z = _run(layer, moved.astype("float32"))
        if z is None:
            return False
        is_other = np.abs(z - y) > 1e-4 * np.sqrt(np.mean(np.square(y)))
        follow.append(is_other[is_moved])
        others = others or bool(np.any(is_other[~is_moved]))
    return others and bool(np.mean(np.concatenate(follow)) > _MOST)


def _inputs(layer: Any) -> np.ndarray | None:
    """Standard normal numbers as a built layer of one input reads them.

    In the shape for which it was built, or with the last axis of its weights: some are
    built by hand for another size than they are called with.
    """
    if not getattr(layer, "built", False):
        return None
    shape = (layer.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, (tuple, list)) or len(shape) < 2:
        return None
    *sizes, last = shape
    if not all(n is None or isinstance(n, int) for n in shape):
        return None
    shapes = [tuple(weight.shape) for weight in layer.weights]
    for n in (last, *(shape[-1] for shape in shapes if shape)):
        known = (2, *(m or 8 for m in sizes[1:]), n or 0)
        x = np.random.default_rng(0).normal(size=known).astype("float32")
        if known[-1] > 1 and _run(layer, x) is not None:
            return x
    return None


def _run(layer: Any, x: np.ndarray) -> np.ndarray | None:
    """What a layer gives in test mode; `None` if it does not take `x`."""
    given = tried(lambda: layer(x))
    if given is None or len(given) != 1:
        return None
    (y,) = given
    return y.astype("float64") if np.issubdtype(y.dtype, np.floating) else None


def _are_equal(y: Any, other: Any, tolerance: float = _TOLERANCE) -> bool:
    if y is None or other is None:
        return False
    size = np.sqrt(np.mean(np.square(y)))
    return bool(np.max(np.abs(y - other)) <= tolerance * size)

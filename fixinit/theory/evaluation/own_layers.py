"""Layers of other authors without a rule: normalizations and rotations of channels."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import _keras, backend
from fixinit.graph.recognition import centers, normalizes
from fixinit.theory import calculus
from fixinit.theory.calculus.channel_maps import map_channels
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.sites import sites
from fixinit.theory.calculus.windows import Window
from fixinit.theory.registry import Setting

# Numbers that a map of channels is looked at with, at most.
_MOST = 2**24
_LONGEST = 512  # of axes that a layer may mix
_TOLERANCE = 1e-3


def apply_own_layer(
    layer: Any, setting: Setting, args: tuple, kwargs: dict
) -> Moments | None:
    """Applies a layer that normalizes, or that multiplies channels by known matrices.

    The first is recognized by what it gives for multiples of its input. The second,
    such as a rotary embedding of positions, is tried out on all channels; it has no
    weights, and its matrices depend on the position alone.

    Args:
        layer, setting, args, kwargs: As in `fixinit.theory.application.apply`.
    """
    tensors = [v for v in tree.flatten((args, kwargs)) if isinstance(v, Moments)]
    if len(tensors) != 1:
        return None
    (x,) = tensors
    if normalizes(layer):
        center = centers(layer)
        y = calculus.normalize_by_input(x, 0.0, center=center, by_square=not center)
        return calculus.scale(y, _size(layer))
    if any(np.ptp(ops.convert_to_numpy(v)) for v in layer.trainable_variables):
        return None  # weights that were drawn
    if "training" in inspect.signature(layer.call).parameters:
        kwargs = {**kwargs, "training": setting.training}
    run = functools.partial(_run, layer, args, kwargs)
    maps = _channel_maps(run, x)
    if maps is not None:
        return map_channels(x, maps)
    matrix = _position_map(run, x)
    if matrix is None:
        return None
    rest = [Window.gather(n, 0, n) for n in x.shape[1:]]
    return calculus.spatial(x, [Window.linear(matrix), *rest])


def calls_as_parent(layer: Any) -> bool:
    """Whether an attention layer with a `call` of its own computes what Keras's does.

    Both are called on random queries and values.
    """
    if not layer.built:
        return False
    kinds = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
    kind = next(k for k in kinds if isinstance(layer, k))
    rng, parts = np.random.default_rng(0), _keras.attention_parts(layer)
    given = [
        rng.standard_normal((2, length, dense.kernel.shape[0])).astype("float32")
        for length, dense in ((4, parts.query), (6, parts.value))
    ]
    given = [ops.convert_to_tensor(x) for x in given]
    try:
        with keras.StatelessScope():
            found = [
                ops.convert_to_numpy(call(layer, *given))
                for call in (type(layer).call, kind.call)
            ]
    except Exception:
        # It is somebody else's code, which may want other arguments.
        return False
    return found[0].shape == found[1].shape and _agree(*found)


def _size(layer: Any) -> float:
    """The root mean square of what a layer that normalizes gives."""
    rng = np.random.default_rng(0)
    batch, *sizes = layer.get_build_config()["input_shape"]
    x = rng.standard_normal((2, *(n or 8 for n in sizes))).astype("float32")
    with keras.StatelessScope():
        y = np.asarray(ops.convert_to_numpy(layer(x)), "float64")
    return float(np.sqrt(np.mean(y**2)))


def _run(layer: Any, args: tuple, kwargs: dict, values: np.ndarray) -> Any:
    """What a layer gives for numbers in the place of its tensor, `None` if it fails."""
    tensor = ops.convert_to_tensor(values.astype("float32"))

    def fill(value: Any) -> Any:
        return tensor if isinstance(value, Moments) else value

    given = tree.map_structure(fill, (args, kwargs))
    try:
        with keras.StatelessScope(), backend.kept_random_state():
            found = layer(*given[0], **given[1])
        return np.asarray(ops.convert_to_numpy(found), "float64")
    except Exception:
        # It is somebody else's code: whether it runs on such numbers is what is asked.
        return None


def _position_map(run: Callable[[np.ndarray], Any], x: Moments) -> Any:
    """A matrix that a layer multiplies the first axis of positions by."""
    if not x.shape or x.shape[0] > _LONGEST:
        return None
    length, others = x.shape[0], (*x.shape[1:], x.total_channels)
    vectors = np.eye(length).reshape(length, length, *(1,) * len(others))
    trial = np.random.default_rng(0).standard_normal((2, length, *others))
    found, rows = run(trial), run(np.broadcast_to(vectors, (length, length, *others)))
    if found is None or rows is None or rows.shape[2:] != others:
        return None
    matrix = rows.reshape(length, rows.shape[1], -1)[..., 0].T
    rebuilt = np.einsum("ts,ns...->nt...", matrix, trial)
    same = rebuilt.shape == found.shape
    return matrix if same and _agree(rebuilt, found) else None


def _agree(a: np.ndarray, b: np.ndarray) -> bool:
    return np.allclose(a, b, atol=_TOLERANCE * np.abs(b).max())


def _channel_maps(run: Callable[[np.ndarray], Any], x: Moments) -> Any:
    """Matrices `(*positions, channels, channels)` that a layer multiplies by."""
    channels, count = x.total_channels, int(np.prod(x.shape))
    if channels**2 * count > _MOST:
        return None
    rng = np.random.default_rng(0)
    vectors = np.broadcast_to(
        np.eye(channels).reshape(channels, *(1,) * len(x.shape), channels),
        (channels, *x.shape, channels),
    )
    trial = rng.standard_normal((2, *x.shape, channels))
    maps, found = run(vectors), run(trial)
    if maps is None or found is None:
        return None
    if maps.shape[:-1] != vectors.shape[:-1] or found.shape[:-1] != trial.shape[:-1]:
        return None
    maps = np.moveaxis(maps, 0, -2)
    rebuilt = np.einsum("n...c,...cd->n...d", trial, maps)
    if rebuilt.shape != found.shape or not _agree(rebuilt, found):
        return None
    for axis, n in enumerate(x.shape):
        maps = np.take(maps, sites(n).index, axis=axis)
    return maps

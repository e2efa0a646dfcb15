"""The facts of Lambda layers, by what their functions compute."""

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import _keras
from fixinit.graph.random_inputs import random_array
from fixinit.graph.trials import OPEN_SIZES, tried
from fixinit.layers.facts import Facts, register_facts

_BATCH = 4
_TRIALS = 4
_TOLERANCE = 1e-4
# Points at which a function of single numbers is evaluated, and ones far out.
_POINTS = np.linspace(-8, 8, 65)
_FAR = 1000.0
_FARTHEST = 2.0**30  # times that: what is added there may hide smaller numbers
_FLAT = 8  # so many points in a row make a range

_Run = Callable[..., np.ndarray | None]
_known: weakref.WeakKeyDictionary[Any, Facts] = weakref.WeakKeyDictionary()


def lambda_facts(layer: Any) -> Facts:
    """What the function of a Lambda layer computes, tried out on random numbers.

    Args:
        layer: `keras.layers.Lambda`. Of one that was not called on symbolic tensors
            nothing is known.
    """
    if layer in _known:
        return _known[layer]
    node = next(iter(_keras.calls_of(layer)), None)
    if node is None:
        return Facts()
    tensors = list({id(x): x for x in node.input_tensors}.values())
    takes_mask = any(isinstance(x, keras.KerasTensor) for x in _masks(node))
    by_mode = "training" in inspect.getfullargspec(layer.function).args
    if by_mode or takes_mask or not all("float" in x.dtype for x in tensors):
        _known[layer] = Facts()
        return _known[layer]

    def run(*arrays: np.ndarray) -> np.ndarray | None:
        return _given(layer, node, tensors, arrays)

    _known[layer] = Facts()  # for whoever asks while it is tried
    found = set()
    try:
        for size in OPEN_SIZES if _has_open_axes(tensors) else OPEN_SIZES[:1]:
            rng = np.random.default_rng(0)
            found.add(_facts(run, [_drawn(x.shape, size, rng) for x in tensors]))
    except BaseException:
        del _known[layer]
        raise
    # Functions of one size, as crops are, may do something else at another.
    _known[layer] = found.pop() if len(found) == 1 else Facts()
    return _known[layer]


def _has_open_axes(tensors: list[Any]) -> bool:
    return any(None in x.shape[1:] for x in tensors)


def register_lambda() -> None:
    """Has Lambda layers known by what they compute."""
    register_facts(keras.layers.Lambda, lambda_facts)


def _masks(node: Any) -> list[Any]:
    arguments = node.arguments
    return [*arguments.args[1:2], arguments.kwargs.get("mask")]


def _drawn(shape: Any, size: int, rng: np.random.Generator) -> np.ndarray:
    sizes = [n or size for n in shape[1:]]
    return random_array([shape[0] or _BATCH, *sizes], "float32", rng)


def _given(layer: Any, node: Any, tensors: list[Any], arrays: Any) -> Any:
    """What a Lambda gives for arrays; `None` if it fails, or gives something else
    each time."""

    def call() -> Any:
        filled = [ops.convert_to_tensor(np.asarray(x, "float32")) for x in arrays]
        by_id = dict(zip(map(id, tensors), filled, strict=True))
        args, kwargs = node.arguments.fill_in(by_id)
        return [layer(*args, **kwargs) for _ in range(2)]

    found = tried(call)
    if found is None or len(found) != 2 or found[0].dtype.kind != "f":
        return None
    first, second = (np.asarray(y, "float64") for y in found)
    return first if np.array_equal(first, second, equal_nan=True) else None


def _facts(run: _Run, xs: list[np.ndarray]) -> Facts:
    y = run(*xs)
    if y is None or not np.all(np.isfinite(y)):
        return Facts()
    return _of_one(run, xs[0], y) if len(xs) == 1 else _of_several(run, xs, y)


def _of_one(run: _Run, x: np.ndarray, y: np.ndarray) -> Facts:
    if y.shape == x.shape and _acts_on_elements(run, [x], y):
        return _of_function(lambda points: _at(run, points, x.shape))
    places = _places(run, x, y)
    if places is not None:
        whole = len(set(places)) == x.size
        return Facts(rearranges=True, linear=whole, follows_head=True)
    if _is_linear(run, [x], y):
        return Facts(linear=True, follows_head=True)
    return Facts()


def _of_several(run: _Run, xs: list[np.ndarray], y: np.ndarray) -> Facts:
    alike = all(x.shape == y.shape for x in xs)
    if _is_linear(run, xs, y):
        factors = _factors(run, xs) if alike else None
        if factors is None:
            return Facts(linear=True, follows_head=True)
        if not any(abs(factor) == 1 for factor in factors):
            return Facts(joins=True, linear=True)
        plain = all(factor == 1 for factor in factors)
        return Facts(
            adds=True,
            linear=True,
            follows_head=True,
            factors=None if plain else factors,
        )
    if _is_product(xs, y):
        return Facts(multiplies=True)
    return Facts(joins=alike and _acts_on_elements(run, xs, y))


def _of_function(function: Callable[[np.ndarray], np.ndarray | None]) -> Facts:
    """The facts of an element-wise function of one number."""
    ends = np.array([-_FAR, _FAR])
    values, far, farthest = map(function, (_POINTS, ends, _FARTHEST * ends))
    if values is None or far is None or not np.all(np.isfinite(values)):
        return Facts()
    middle = len(_POINTS) // 2
    slope = (values[-1] - values[0]) / (_POINTS[-1] - _POINTS[0])
    points, given = np.append(_POINTS, ends), np.append(values, far)
    if _are_equal(given, values[middle] + slope * points):
        if farthest is not None and not np.ptp(np.append(given, farthest)):
            return Facts(constant=True)
        is_identity = _are_equal(values, _POINTS)
        return Facts(linear=is_identity, multiplies=not is_identity, follows_head=True)
    flat = any(not np.any(values[i : i + _FLAT]) for i in range(len(values) - _FLAT))
    # What is 0 up to 0 is of the kind of the ReLU, also where it ends at 6.
    is_rectifier = not np.any(values[: middle + 1])
    bounded = not is_rectifier and np.max(np.abs(far)) < 1.5 * np.max(np.abs(values))
    links = bool(bounded or np.min(values) > 0)
    return Facts(activates=True, bounded=bool(bounded), flat=flat, follows_head=links)


def _at(run: _Run, points: np.ndarray, shape: Any) -> np.ndarray | None:
    """The values of an element-wise function of arrays at some points."""
    size = int(np.prod(shape))
    found = []
    for start in range(0, len(points), size):
        y = run(np.resize(points[start : start + size], shape))
        if y is None:
            return None
        found.append(y.ravel()[: len(points) - start])
    return np.concatenate(found)


def _acts_on_elements(run: _Run, xs: list[np.ndarray], y: np.ndarray) -> bool:
    """Whether each output depends on the inputs at its place, everywhere alike."""
    rng = np.random.default_rng(1)
    for trial in range(_TRIALS):
        order, kept = rng.permutation(y.size), rng.random(y.shape) < 0.5
        moved = run(*(x.ravel()[order].reshape(x.shape) for x in xs))
        others = [2.0**trial * rng.standard_normal(x.shape) for x in xs]
        pairs = zip(xs, others, strict=True)
        changed = run(*(np.where(kept, x, other) for x, other in pairs))
        if moved is None or changed is None:
            return False
        if not _are_equal(moved.ravel(), y.ravel()[order]):
            return False
        if not _are_equal(np.where(kept, changed, y), y):
            return False
    return True


def _places(run: _Run, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Where in the input the numbers of the output stand; `None` if they do not."""
    order = np.argsort(x.ravel())
    values = x.ravel()[order].astype("float64")
    found = np.minimum(np.searchsorted(values, y.ravel()), x.size - 1)
    if not np.array_equal(values[found], y.ravel()):
        return None
    places = order[found]
    other = np.random.default_rng(1).standard_normal(x.shape).astype("float32")
    again = run(other)
    same = again is not None and np.array_equal(other.ravel()[places], again.ravel())
    return places if same else None


def _is_linear(run: _Run, xs: list[np.ndarray], y: np.ndarray) -> bool:
    rng = np.random.default_rng(1)
    others = [rng.standard_normal(x.shape) for x in xs]
    second = run(*others)
    pairs = zip(xs, others, strict=True)
    third = run(*(2 * x - 3 * other for x, other in pairs))
    if second is None or third is None or third.shape != y.shape:
        return False
    return bool(np.any(y)) and _are_equal(third, 2 * y - 3 * second)


def _factors(run: _Run, xs: list[np.ndarray]) -> tuple[float, ...] | None:
    """The factors of a weighted sum of arrays; `None` if it is none."""
    found = []
    for index, x in enumerate(xs):
        part = run(*(x if i == index else 0 * x for i in range(len(xs))))
        if part is None:
            return None
        factor = float(np.sum(part * x) / np.sum(np.square(x)))
        if not _are_equal(part, factor * x) or factor == 0:
            return None
        found.append(float(f"{factor:.5g}"))
    return tuple(found)


def _is_product(xs: list[np.ndarray], y: np.ndarray) -> bool:
    """Whether an array is the product of some others, up to a factor."""
    try:
        product = np.prod(np.broadcast_arrays(*xs), axis=0)
    except ValueError:
        return False
    if product.shape != y.shape:
        return False
    return _are_equal(y, np.sum(product * y) / np.sum(np.square(product)) * product)


def _are_equal(a: np.ndarray, b: np.ndarray) -> bool:
    size = np.max(np.abs(b), initial=0)
    return np.allclose(a, b, rtol=0, atol=_TOLERANCE * size + 1e-12)

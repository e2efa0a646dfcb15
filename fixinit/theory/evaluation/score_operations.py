"""Operations between the scores of attention and the average with their softmax."""

import dataclasses
import numbers
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit.theory.calculus.attention import weights
from fixinit.theory.calculus.known import Known
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.scores import Scores
from fixinit.theory.registry import Setting

# What is added to scores that no query is to see.
_HIDES = -1e3
_SAME = ("Cast", "SaturateCast", "Identity", "Copy", "ConvertToTensor", "StopGradient")


def apply_to_scores(
    operation: Any, setting: Setting, args: tuple, kwargs: dict
) -> Moments | None:
    """What an operation makes of scores or of their softmax, `None` if of no others.

    Args:
        operation, setting, args, kwargs: As in `fixinit.theory.application.apply`.
    """
    flat = tree.flatten((args, kwargs))
    x = next(
        (v for v in flat if isinstance(v, Moments) and (v.scores or v.weighs)), None
    )
    if x is None:
        return None
    name = type(operation).__name__
    if name in _SAME:
        return x
    if x.scores is not None:
        return _of_scores(name, operation, x, x.scores, args, kwargs)
    if isinstance(operation, keras.layers.Dropout) and x.weighs is not None:
        if not setting.training:
            return x
        kept = 1 - operation.rate
        y = x.like(x.mean, x.same, x.cross)
        y.weighs = dataclasses.replace(x.weighs, keep=x.weighs.keep * kept)
        y.node.link((x,), lambda g: [g / kept])
        return y
    return None


def _of_scores(
    name: str, operation: Any, x: Moments, scores: Scores, args: tuple, kwargs: dict
) -> Moments | None:
    given = [*args, *kwargs.values()]
    if isinstance(operation, keras.layers.Softmax) or name == "Softmax":
        if not _is_last(operation.axis, x):
            return None
        rest = [v for v in given if v is not x and v is not None]
        masks = [m for m in map(_array, rest) if m is not None]
        if masks:
            scores = scores.masked(masks[0].astype(bool))
        y = weights(scores)
        y.weighs = dataclasses.replace(scores, nodes=(x.node, y.node))
        return y
    if name == "Where":
        condition, *values = given
        seen = _array(condition)
        if seen is None:
            return None
        seen = seen.astype(bool)
        return _made(x, scores.masked(seen if values[0] is x else ~seen))
    other = next((v for v in given if v is not x), None)
    if name in ("Multiply", "Divide", "TrueDivide"):
        factor = _number(other)
        if factor is None or (name != "Multiply" and given[0] is not x):
            return None
        factor = factor if name == "Multiply" else 1 / factor
        changed = dataclasses.replace(scores, factor=scores.factor * factor)
        return _made(x, changed, factor)
    bias = _bias_of(operation, x) if isinstance(operation, keras.layers.Layer) else None
    if bias is not None:
        return _added(x, scores, bias, 1.0)
    if name in ("Add", "Subtract"):
        return _added(x, scores, other, -1.0 if name == "Subtract" else 1.0)
    return None


def _added(x: Moments, scores: Scores, other: Any, sign: float) -> Moments | None:
    """Scores and what biases them: masks, numbers, or random numbers for all inputs."""
    values = _array(other)
    if values is not None:
        values = sign * values.astype("float64")
        seen = values > _HIDES
        mean = np.where(seen, values, 0.0) / scores.factor
        if scores.mean is not None:
            mean = mean + scores.mean
        changed = scores if seen.all() else scores.masked(seen)
        if np.any(mean):
            changed = dataclasses.replace(changed, mean=mean)
        return _made(x, changed)
    if isinstance(other, Moments) and other.scores is None:
        spread = max(other.mean_square - other.mean_value**2, 0.0)
        return _made(x, dataclasses.replace(scores, added=scores.added + spread))
    return None


def _bias_of(layer: Any, x: Moments) -> np.ndarray | None:
    """What a layer without weights adds to all scores, such as ALiBi."""
    if layer.variables:
        return None
    shape = (2, *x.shape, x.total_channels)
    given = [np.zeros(shape), np.random.default_rng(0).standard_normal(shape)]
    try:
        with keras.StatelessScope():
            found = [ops.convert_to_numpy(layer(v.astype("float32"))) for v in given]
    except Exception:
        # It is somebody else's code: whether it takes scores alone is what is asked.
        return None
    bias = np.asarray(found[0], "float64")
    if bias.shape != shape or not np.allclose(found[1] - given[1], bias, atol=1e-4):
        return None
    return bias[:1]


def _made(x: Moments, scores: Scores, factor: float = 1.0) -> Moments:
    y = scores.moments()
    y.node.link((x,), lambda g: [factor**2 * g])
    return y


def _is_last(axes: Any, x: Moments) -> bool:
    given = axes if isinstance(axes, (list, tuple)) else [axes]
    return list(given) in ([-1], [len(x.shape) + 1])


def _array(value: Any) -> np.ndarray | None:
    """Numbers that are known, of one sample of the batch."""
    if isinstance(value, Known):
        return value.array[0]
    if isinstance(value, Moments) or isinstance(value, (numbers.Number, type(None))):
        return None
    found = np.asarray(ops.convert_to_numpy(value))
    return found[0] if found.ndim > 2 and len(found) == 1 else found


def _number(value: Any) -> float | None:
    if isinstance(value, numbers.Real):
        return float(value)
    found = None if value is None else _array(value)
    if found is None or len(np.unique(found)) != 1:
        return None
    return float(np.unique(found)[0])

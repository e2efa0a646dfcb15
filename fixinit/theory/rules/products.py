"""Rules for products of activations with activations: scores and their averages."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras.layers import Layer

from fixinit.theory import calculus
from fixinit.theory.calculus.attention import attend
from fixinit.theory.calculus.choosing import choose
from fixinit.theory.calculus.drawn import common_width
from fixinit.theory.calculus.known import Known
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.scores import scores_of
from fixinit.theory.errors import NoRuleError
from fixinit.theory.evaluation import apply_elementwise
from fixinit.theory.evaluation.arrays import with_arrays
from fixinit.theory.registry import Setting, how_to_register, register
from fixinit.theory.rules.masks import causal, mask_array
from fixinit.theory.rules.operations import operand

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@register("Einsum")
def einsum(operation: Any, setting: Setting, *operands: Any) -> Moments:
    equation = operation.subscripts.replace(" ", "")
    if len(operands) != 2 or "->" not in equation or "..." in equation:
        raise _refused(operation, setting)
    inputs, output = equation.split("->")
    first, second = inputs.split(",")
    return _product(operation, setting, operands, (first, second, output))


@register("Matmul")
def matmul(operation: Any, setting: Setting, x1: Any, x2: Any) -> Moments:
    if not (isinstance(x1, Moments) and isinstance(x2, Moments)):
        raise _refused(operation, setting)
    if len(x1.shape) != len(x2.shape) or not x1.shape:
        raise _refused(operation, setting)
    rows = _LETTERS[: len(x1.shape)]
    letters = (f"{rows}yz", f"{rows}zx", f"{rows}yx")
    return _product(operation, setting, (x1, x2), letters)


@register(keras.layers.Dot)
def dot_layer(layer: Layer, setting: Setting, xs: Any) -> Moments:
    """Inner products of two tensors, of unit vectors where it normalizes."""
    ranks = [len(x.shape) + 2 for x in xs]
    axes = [layer.axes] * 2 if isinstance(layer.axes, int) else list(layer.axes)
    axes = [axis % rank for axis, rank in zip(axes, ranks, strict=True)]
    letters = [list(_LETTERS[: ranks[0]]), list("a" + _LETTERS[-ranks[1] + 1 :])]
    letters[1][axes[1]] = letters[0][axes[0]]
    summed = letters[0][axes[0]]
    output = [c for c in letters[0] if c != summed]
    output += [c for c in letters[1][1:] if c != summed]
    if layer.normalize:
        xs = [_unit(x, axis, layer, setting) for x, axis in zip(xs, axes, strict=True)]
    whole = ("".join(letters[0]), "".join(letters[1]), "".join(output))
    return _product(layer, setting, xs, whole)


def _unit(x: Moments, axis: int, layer: Any, setting: Setting) -> Moments:
    """Vectors along the channels, of length 1."""
    if axis != len(x.shape) + 1:
        raise _refused(layer, setting)
    y = calculus.normalize_by_input(x, 0.0, center=False, by_square=True)
    return calculus.scale(y, x.total_channels**-0.5)


@register("DotProductAttention")
def dot_product_attention(
    operation: Any,
    setting: Setting,
    query: Moments,
    key: Moments,
    value: Moments,
    bias: Any = None,
    mask: Any = None,
    **options: Any,
) -> Moments:
    """Of tensors `(batch, positions, heads, channels)`."""
    query, key, value = with_arrays((query, key, value))
    if bias is not None or any(len(x.shape) != 2 for x in (query, key, value)):
        raise _refused(operation, setting)
    if query.shape[1] != key.shape[1]:
        times = query.shape[1] // key.shape[1]
        key, value = (calculus.select(x, 1, _repeated(x, times)) for x in (key, value))
    q, k, v = (calculus.permute(x, [1, 0]) for x in (query, key, value))
    scale = getattr(operation, "scale", None)
    scale = q.total_channels**-0.5 if scale is None else float(scale)
    scores = dataclasses.replace(scores_of(q, k), factor=scale)
    scores = scores.masked(mask_array(mask, setting))
    if getattr(operation, "is_causal", False):
        scores = scores.masked(causal(q.shape[-1], k.shape[-1]))
    y = attend(scores, v, 1.0, common_width(k.sources, v.sources))
    return calculus.permute(y, [1, 0])


def _repeated(x: Moments, times: int) -> list[int]:
    return [i for i in range(x.shape[1]) for _ in range(times)]


def _product(
    operation: Any, setting: Setting, operands: Any, letters: tuple[str, str, str]
) -> Moments:
    """The sum over the letters that the output lacks."""
    if not all(isinstance(x, Moments) for x in operands):
        raise _refused(operation, setting)
    (a, b), (left, right, output) = operands, letters
    if not left[0] == right[0] == output[0]:
        raise _refused(operation, setting)
    left, right, output = left[1:], right[1:], output[1:]
    summed = [c for c in left if c in right and c not in output]
    if len(summed) != 1 or set(output) != set(left + right) - set(summed):
        raise _refused(operation, setting)
    if b.weighs is not None:
        a, b, left, right = b, a, right, left
    if a.weighs is not None:
        y, made = _averaged(a, b, left, right, summed[0], operation, setting)
    else:
        pair = ((a, left), (b, right))
        y, made = _scores(pair, output, summed[0], operation, setting)
    if made == output:
        return y
    return calculus.transpose(y, [made.index(c) for c in output])


def _averaged(
    kernel: Moments,
    value: Moments,
    left: str,
    right: str,
    summed: str,
    operation: Any,
    setting: Setting,
) -> tuple[Moments, str]:
    """Values that are averaged with the weights of a softmax."""
    scores = kernel.weighs
    if right[-1] == summed:
        value, right = _turned_back(value, right)
    if scores is None or left[-1] != summed or right[-1] == summed:
        raise _refused(operation, setting)
    if not set(right[:-1]) <= set(left[:-2] + summed):
        raise _refused(operation, setting)
    v = _aligned(value, right, [*left[:-2], summed])
    width = common_width(scores.key.sources, v.sources)
    return attend(scores, v, scores.keep, width), left[:-1] + right[-1]


def _aligned(x: Moments, letters: str, wanted: Any) -> Moments:
    """`x` with the wanted spatial axes, of size 1 where it has none."""
    x = calculus.permute(x, [letters.index(c) for c in wanted if c in letters])
    sizes = iter(x.shape)
    return calculus.reshape(x, [next(sizes) if c in letters else 1 for c in wanted])


def _scores(
    pair: Any, output: str, summed: str, operation: Any, setting: Setting
) -> tuple[Moments, str]:
    """Products of queries and keys, summed over their channels."""
    turned = []
    for x, letters in pair:
        turned.append(
            _turned_back(x, letters) if letters[-1] != summed else (x, letters)
        )
    (a, left), (b, right) = turned
    if not left[-1] == right[-1] == summed:
        raise _refused(operation, setting)
    if not left[:-1] and not right[:-1]:
        return _inner(a, b), ""
    if output[-1] in left:
        a, b, left, right = b, a, right, left
    key = output[-1]
    own = [c for c in left[:-1] if c not in right]
    if key not in right or not own or (set(right[:-1]) - set(left) - {key}):
        raise _refused(operation, setting)
    # Of several axes that the keys lack, the last one of the output holds queries.
    query = next(c for c in reversed(output) if c in own)
    rows = [c for c in output if c not in (query, key)]
    q, k = _aligned(a, left, [*rows, query]), _aligned(b, right, [*rows, key])
    return scores_of(q, k).moments(), "".join([*rows, query, key])


def _inner(a: Moments, b: Moments) -> Moments:
    """The inner product of two vectors of channels, as one channel."""
    both = calculus.multiply([a, b])
    count = both.total_channels
    return calculus.mix(both, [], 1, (1.0, 0.0)) if count else both


def _turned_back(x: Moments, letters: str) -> tuple[Moments, str]:
    """A tensor whose channels were transposed, before that, and its letters."""
    if x.turned is None:
        return x, letters
    before, order = x.turned
    back = [""] * len(order)
    for place, axis in enumerate(order):
        back[axis] = letters[place]
    return before, "".join(back)


def _refused(operation: Any, setting: Setting) -> NoRuleError:
    return NoRuleError(
        f"No variance rule for {type(operation).__name__} `{setting.name}`, a product "
        "of activations other than scores of attention, the average with their "
        f"softmax, or an inner product of channels. {how_to_register(operation)}"
    )


@register("Where")
def where(operation: Any, setting: Setting, condition: Any, x1: Any, x2: Any) -> Any:
    """A condition that is known, and everywhere the same."""
    if isinstance(condition, Known):
        chosen = np.unique(condition.array.astype(bool))
        if len(chosen) == 1:
            found = x1 if chosen[0] else x2
            if isinstance(found, Moments):
                return found
    y = apply_elementwise(operation, setting, (condition, x1, x2), {})
    if y is None and isinstance(condition, Moments):
        y = choose(condition, *(_tensor(x, condition, setting) for x in (x1, x2)))
    if y is None:
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which chooses between activations "
            "by a condition that differs between positions. "
            + how_to_register(operation)
        )
    return y


def _tensor(value: Any, like: Moments, setting: Setting) -> Moments:
    """Activations, or a number as such."""
    found = operand(value, setting)
    if isinstance(found, Moments):
        return found
    return Moments.inputs((*(1 for _ in like.shape), 1), found, 0.0)

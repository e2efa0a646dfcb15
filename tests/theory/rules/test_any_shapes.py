"""Rules for attention, products and joins, on tensors of any shapes."""

import keras
import numpy as np
import pytest

from fixinit import theory
from fixinit.layers import Parameter
from tests.marks import on_torch

layers, ops = keras.layers, keras.ops
FEW, MANY = range(6), range(6, 150)


class Tensors:
    """Tensors of random kinds: with a batch, without, known, and of weights."""

    def __init__(self, seed):
        self.rng, self.inputs = np.random.default_rng(seed), []

    def size(self):
        return int(self.rng.choice([1, 2, 3, 5]))

    def chance(self, share):
        return self.rng.random() < share

    def choose(self, *options):
        return options[self.rng.integers(len(options))]

    def input(self, *shape, dtype="float32"):
        self.inputs.append(keras.Input(shape, dtype=dtype))
        return self.inputs[-1]

    def make(self, *shape):
        kind = self.rng.integers(6)
        if kind == 0:
            return layers.Dense(shape[-1])(self.input(*shape))
        if kind == 1:
            return layers.Embedding(9, shape[-1])(
                self.input(*shape[:-1], dtype="int32")
            )
        if kind == 2:
            lead = self.choose((1,), ())
            weight = Parameter((*lead, *shape), initializer="random_normal")
            return weight(self.input(*shape))
        if kind == 3:
            return np.full(self.choose((1, *shape), shape), 0.3, "float32")
        return self.input(*shape)

    def broadcast(self, sizes):
        return [1 if self.chance(0.2) else n for n in sizes]


def multi_head(t):
    rows, queries, keys = [t.size()] * t.choose(0, 1), t.size(), t.size()
    masks = [
        np.tril(np.ones((queries, keys), bool)),
        np.tril(np.ones((1, queries, keys), bool)),
        t.input(queries, keys, dtype="bool"),
        t.input(1, keys, dtype="bool"),
        None,
    ]
    layer = t.choose(
        layers.MultiHeadAttention(2, 4),
        layers.GroupQueryAttention(4, 4, 2),
        layers.MultiHeadAttention(2, 4, attention_axes=(len(rows) + 1,)),
    )
    query, value = t.make(*rows, queries, 8), t.make(*t.broadcast(rows), keys, 8)
    return layer(query, value, attention_mask=t.choose(*masks))


def one_head(t):
    queries, keys = t.size(), t.size()
    layer = t.choose(
        layers.Attention(use_scale=t.chance(0.5)),
        layers.Attention(score_mode="concat"),
        layers.AdditiveAttention(),
    )
    given = [t.make(queries, 8), t.make(keys, 8)]
    given += [t.make(keys, 8)] if t.chance(0.4) else []
    hidden = [t.input(n, dtype="bool") for n in (queries, keys)]
    return layer(given, mask=hidden) if t.chance(0.3) else layer(given)


def by_matmul(t):
    rows = [t.size() for _ in range(t.choose(0, 1, 2))]
    queries, keys, width = t.size(), t.size(), t.size()
    key = t.make(*t.broadcast(rows), keys, width)
    y = ops.matmul(t.make(*rows, queries, width), ops.swapaxes(key, -1, -2))
    if t.chance(0.5):
        y = y + t.choose(t.make(queries, keys), np.ones((1, keys), "float32"))
    value = t.make(*t.broadcast(rows), keys, t.size())
    return ops.matmul(ops.softmax(y), value)


def by_einsum(t):
    sizes = {letter: t.size() for letter in "cdefg"}
    words = []
    for letters in ("cdef", "cdefg"):
        kept = t.rng.permutation(list(letters))[: t.rng.integers(1, 4)]
        words.append("".join(kept))
    tensors = [t.make(*(sizes[c] for c in word)) for word in words]
    output = "".join(c for c in sorted({*words[0], *words[1]}) if t.chance(0.7))
    left, right = (
        "b" * (len(x.shape) > len(word)) + word
        for x, word in zip(tensors, words, strict=True)
    )
    return ops.einsum(f"{left},{right}->b{output}", *tensors)


def at_once(t):
    queries, keys, heads = t.size(), t.size(), t.choose(1, 2, 4)
    few = t.choose(heads, 1)
    query, key, value = (
        t.make(*s, 4) for s in ((queries, heads), (keys, few), (keys, few))
    )
    mask = np.tril(np.ones((1, 1, queries, keys), bool)) if t.chance(0.3) else None
    return ops.dot_product_attention(query, key, value, mask=mask)


def joined(t):
    shape = [t.size() for _ in range(t.choose(1, 2, 3))]
    a, b = (t.make(*t.broadcast(shape)) for _ in range(2))
    names = "add subtract multiply maximum minimum divide power arctan2 logaddexp"
    if t.chance(0.3):
        return ops.where(a > 0, b, t.make(*shape))
    return getattr(ops, t.choose(*names.split()))(a, b)


def merged(t):
    shape = [t.size() for _ in range(t.choose(1, 2, 3))]
    kind = t.choose("Add", "Multiply", "Average", "Maximum", "Minimum", "Dot")
    xs = [t.make(*t.broadcast(shape)) for _ in range(2)]
    return layers.Dot(-1)(xs) if kind == "Dot" else getattr(layers, kind)()(xs)


def side_by_side(t):
    shape = [t.size() for _ in range(t.choose(1, 2, 3))]
    axis = int(t.rng.integers(1, len(shape) + 1))
    xs = [t.make(*shape) for _ in range(2)]
    join = t.choose(layers.Concatenate(axis), lambda xs: ops.concatenate(xs, axis))
    return t.choose(join, lambda xs: ops.stack(xs, axis))(xs)


KINDS = [multi_head, one_head, by_matmul, by_einsum, at_once]
KINDS += [joined, merged, side_by_side]


def holds(kind, seed):
    """The prediction gives finite numbers, or says that it has no rule."""
    t = Tensors(seed)
    try:
        output = kind(t)
    except Exception:
        return  # Keras takes no such tensors.
    if not keras.backend.is_keras_tensor(output):
        return
    try:
        rows = theory.predict(keras.Model(t.inputs, [output, *t.inputs])).layers
    except theory.NoRuleError:
        return
    assert all(np.isfinite(row.mean_square) for row in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_a_result_or_an_error_for_a_missing_rule(kind):
    for seed in FEW:
        holds(kind, seed)


@on_torch
@pytest.mark.parametrize("kind", KINDS)
def test_likewise_for_many_shapes(kind):
    for seed in MANY:
        holds(kind, seed)

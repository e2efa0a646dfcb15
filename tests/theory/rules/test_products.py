"""Rules for products of activations, against operations that are run."""

import keras
import numpy as np
import pytest

from fixinit import theory
from tests.marks import on_torch
from tests.theory.measuring import check

layers, ops = keras.layers, keras.ops
LENGTH, WIDTH, HEADS = 8, 64, 4


def projected(x):
    size = (None, HEADS, WIDTH // HEADS)
    return layers.EinsumDense("abc,cde->abde", size)(x)


def by_einsum(x, mask=None, scale=0.25):
    q, k, v = (projected(x) for _ in range(3))
    scores = ops.einsum("aecd,abcd->acbe", k, q) * scale
    if mask is not None:
        scores = ops.where(mask, scores, -1e9)
    y = ops.einsum("acbe,aecd->abcd", ops.softmax(scores), v)
    return layers.EinsumDense("abcd,cde->abe", (None, WIDTH))(y)


def by_matmul(x):
    def heads(y):
        y = ops.reshape(y, (-1, LENGTH, HEADS, WIDTH // HEADS))
        return ops.transpose(y, (0, 2, 1, 3))

    q, k, v = ops.split(layers.Dense(3 * WIDTH)(x), 3, axis=-1)
    scores = ops.matmul(heads(q), ops.swapaxes(heads(k), -1, -2)) / 4
    scores = scores + np.tril(np.zeros((LENGTH, LENGTH), "float32"))
    y = ops.matmul(layers.Softmax()(scores), heads(v))
    y = ops.reshape(ops.transpose(y, (0, 2, 1, 3)), (-1, LENGTH, WIDTH))
    return layers.Dense(WIDTH)(y)


def by_one_operation(x):
    q, k, v = (projected(x) for _ in range(3))
    return ops.dot_product_attention(q, k, v, is_causal=True)


def causal(x):
    return by_einsum(x, np.tril(np.ones((1, 1, LENGTH, LENGTH), bool)))


@on_torch
@pytest.mark.parametrize("attend", [by_einsum, by_matmul, by_one_operation, causal])
def test_attention_of_single_operations(attend):
    def make():
        x = keras.Input((LENGTH, WIDTH))
        return keras.Model(x, attend(x))

    check(make, (LENGTH, WIDTH), rtol=0.08, seeds=8)


def test_single_operations_are_what_the_layer_is():
    x = keras.Input((LENGTH, WIDTH))
    options = {"use_bias": False, "name": "y"}
    layer = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, **options)
    whole = theory.predict(keras.Model(x, layer(x, x)))["y"].mean_square
    parts = theory.predict(keras.Model(x, by_einsum(x))).layers[-1].mean_square
    assert parts == pytest.approx(whole)


@on_torch
@pytest.mark.parametrize("normalize", [False, True])
def test_inner_products(normalize):
    def make():
        x = keras.Input((32,))
        both = [layers.Dense(256)(x), layers.Dense(256)(x)]
        return keras.Model(x, layers.Dot(axes=-1, normalize=normalize)(both))

    check(make, (32,), rtol=0.08, seeds=24)


def test_products_without_a_rule_are_refused():
    x = keras.Input((LENGTH, WIDTH))
    k, v = layers.Dense(WIDTH)(x), layers.Dense(WIDTH)(x)
    model = keras.Model(x, ops.einsum("bsk,bsv->bkv", k, v))
    with pytest.raises(theory.NoRuleError, match=r"register\('Einsum'\)"):
        theory.predict(model)


def test_a_query_that_depends_on_its_key_otherwise_is_refused():
    x = keras.Input((LENGTH, WIDTH))
    q = layers.Dense(WIDTH)(x)
    y = layers.Attention()([ops.tanh(q), q])
    with pytest.raises(theory.NoRuleError, match="depend on the same weights"):
        theory.predict(keras.Model(x, y))


def test_dropout_of_weights_is_an_identity_in_test_mode():
    def make(rate):
        inputs = x = keras.Input((LENGTH, WIDTH))
        q, k, v = (projected(x) for _ in range(3))
        kernel = ops.softmax(ops.einsum("aecd,abcd->acbe", k, q) * 0.25)
        if rate:
            kernel = layers.Dropout(rate)(kernel)
        return keras.Model(inputs, ops.einsum("acbe,aecd->abcd", kernel, v))

    plain, dropped = (theory.predict(make(rate)).layers for rate in (0, 0.1))
    for row in (0, -1):
        assert dropped[row].mean_square == plain[row].mean_square
        assert dropped[row].gradient == pytest.approx(plain[row].gradient)

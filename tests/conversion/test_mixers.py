"""Branches that mix positions or channels without weights."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.conversion.helpers import convert, normal, said
from tests.graph.test_mixing import MIXING, fourier, pool
from tests.marks import on_torch, slow_on_tensorflow


def gelu(h):
    return ops.tanh(h + 0.044715 * h**3)


def network(mix):
    x = inputs = keras.Input((8, 16), batch_size=2)
    for _ in range(4):
        x = x + mix(layers.LayerNormalization()(x))
        y = layers.Dense(32, "relu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(16)(y)
    return keras.Model(inputs, x)


@on_torch
def test_activations_by_operations_are_no_blocks():
    x = inputs = keras.Input((8, 16))
    for _ in range(2):
        x = x + layers.Dense(16)(gelu(layers.Dense(16)(layers.LayerNormalization()(x))))
    assert convert(keras.Model(inputs, x)).conversion["num_branches"] == 2


@on_torch
@pytest.mark.parametrize("mix", MIXING)
@pytest.mark.parametrize("scheme", ["fixup", "skip_init", "scaled_residual"])
def test_signals_keep_their_size(mix, scheme):
    free = convert(network(mix), scheme)
    assert free.conversion["num_branches"] == 8
    square = float(ops.mean(ops.square(free(normal(2, 8, 16)))))
    assert 0.1 < square < 10
    mixers = [block["branches"][0] for block in free.conversion["blocks"][::2]]
    zero = None if scheme == "scaled_residual" else "multiplier"
    assert [branch["zero"] for branch in mixers] == 4 * [zero]


@on_torch
def test_the_converted_network_has_the_same_blocks():
    free = convert(network(fourier))
    assert convert(free).conversion["num_branches"] == 8


@slow_on_tensorflow
@pytest.mark.every_backend
def test_branches_without_weights_train():
    free = convert(network(pool))
    free.compile(keras.optimizers.Adam(1e-2), "mse", run_eagerly=True)
    before = [np.array(ops.convert_to_numpy(v)) for v in free.trainable_variables]
    for step in range(3):
        free.train_on_batch(normal(2, 8, 16, seed=step), normal(2, 8, 16, seed=9))
    closed = [
        v
        for old, v in zip(before, free.trainable_variables, strict=True)
        if "start" in v.path and np.array_equal(old, ops.convert_to_numpy(v))
    ]
    assert not closed


@on_torch
@pytest.mark.parametrize("scheme", ["normalized_sum", "scaled_residual"])
def test_what_takes_away_the_stream_starts_small(scheme):
    """PoolFormer's pooling minus identity: with x, it would be the pooling alone."""
    model = network(lambda h: pool(h) - h)
    free = convert(model, scheme)
    # Of smooth signals, that of pooling is as large as they are.
    smooth = np.broadcast_to(normal(2, 1, 16), (2, 8, 16))
    for x in (normal(2, 8, 16), smooth):
        assert 0.2 < float(ops.mean(ops.square(free(x)))) < 6
    text = said(model, scheme)
    assert "start small, and a factor" in text and "differ" not in text
    # A second look finds what the first one found.
    assert convert(free, scheme).conversion["num_branches"] == 8


def test_multipliers_are_said():
    assert "by a multiplier" in said(network(fourier))

"""FLOPs and bytes of layers, against numbers by hand."""

import math

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.diagnostics import diagnose
from tests.marks import on_torch

TIME = (5, 3)
IMAGE = (8, 8, 4)
# Layer, shape of an input, FLOPs by hand.
CASES = [
    (layers.Dense(6), (7,), 2 * 7 * 6),
    (layers.Dense(6), TIME, 2 * 5 * 3 * 6),
    (layers.EinsumDense("abc,cde->abde", (5, 2, 6)), TIME, 2 * 5 * 3 * 2 * 6),
    (layers.EinsumDense("...x,xy->...y", 6), TIME, 2 * 5 * 3 * 6),
    (layers.Conv1D(6, 3, padding="same"), TIME, 2 * 5 * 3 * 3 * 6),
    (layers.Conv2D(6, 3, strides=2, padding="same"), IMAGE, 2 * 16 * 9 * 4 * 6),
    (layers.Conv2D(6, 3), IMAGE, 2 * 36 * 9 * 4 * 6),
    (layers.Conv2D(6, 3, groups=2, padding="same"), IMAGE, 2 * 64 * 9 * 2 * 6),
    (layers.Conv2DTranspose(6, 3, strides=2, padding="same"), IMAGE, 2 * 64 * 9 * 24),
    (layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), IMAGE, 64 * 8 * 18),
    (
        layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2),
        IMAGE,
        2 * 64 * (9 * 8 + 8 * 6),
    ),
    (layers.SimpleRNN(6), TIME, 2 * 5 * 6 * (3 + 6)),
    (layers.LSTM(6), TIME, 2 * 5 * 4 * 6 * (3 + 6)),
    (layers.GRU(6, return_sequences=True), TIME, 2 * 5 * 3 * 6 * (3 + 6)),
    (layers.Bidirectional(layers.LSTM(6)), TIME, 2 * 2 * 5 * 4 * 6 * (3 + 6)),
    (
        layers.TimeDistributed(layers.Conv1D(6, 3, padding="same")),
        (2, *TIME),
        2 * (2 * 5 * 3 * 3 * 6),
    ),
    (layers.BatchNormalization(), IMAGE, 0),
    (layers.MaxPooling2D(), IMAGE, 0),
    (layers.Flatten(), IMAGE, 0),
]


def found_for(build, shape, measures=("flops", "bytes"), batch=3):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, build(inputs))
    x = np.random.default_rng(0).normal(size=(batch, *shape)).astype("float32")
    return diagnose(model, x, measures=measures), model


@on_torch
@pytest.mark.parametrize(
    ("layer", "shape", "flops"), CASES, ids=lambda c: getattr(c, "name", None)
)
def test_flops_by_hand(layer, shape, flops):
    found, _ = found_for(layer, shape)
    assert found.layers[-1]["flops"] == flops
    assert found.asked["flops"] == flops


def test_flops_of_attention():
    attention = layers.MultiHeadAttention(2, 4, value_dim=5)
    found, _ = found_for(lambda x: attention(x, x), (6, 8))
    projections = 6 * 8 * 2 * (4 + 4 + 5) + 6 * 2 * 5 * 8
    assert found.layers[-1]["flops"] == 2 * (projections + 2 * 6 * 6 * (4 + 5))


def test_flops_of_grouped_attention_count_keys_once():
    attention = layers.GroupQueryAttention(4, num_query_heads=4, num_key_value_heads=2)
    found, _ = found_for(lambda x: attention(x, x), (6, 8))
    projections = 6 * 8 * (4 * 4 + 2 * 2 * 4) + 6 * 4 * 4 * 8
    assert found.layers[-1]["flops"] == 2 * (projections + 4 * 6 * 6 * (4 + 4))


def test_flops_of_operations():
    def build(x):
        scores = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        return ops.einsum("bij,bjk->bik", ops.softmax(scores), x)

    found, _ = found_for(build, TIME)
    assert found.asked["flops"] == 2 * (2 * 5 * 5 * 3)


def test_bytes_of_weights_and_activations():
    def build(x):
        dense = layers.Dense(3, dtype="mixed_float16")
        y = dense(x)
        return layers.Add()([y, dense(y)])

    found, _ = found_for(build, (3,))
    held = [row["parameter_bytes"] for row in found.layers]
    assert held == [0, 4 * (9 + 3), 4 * (9 + 3), 0]
    # The weights are shared, and are there once; activations are float16.
    assert found.asked["parameter_bytes"] == 4 * (9 + 3)
    assert [row["activation_bytes"] for row in found.layers] == [12, 6, 6, 12]


def test_a_layer_without_a_rule_is_unknown_until_it_has_one():
    class Twice(keras.layers.Dense):
        def call(self, x):
            return 2 * super().call(x)

    found, _ = found_for(Twice(4), (3,))
    assert math.isnan(found.layers[-1]["flops"])
    assert math.isnan(found.asked["flops"])
    assert "unknown FLOPs" in str(found)

    @fixinit.diagnostics.register_flops(Twice)
    def twice(layer, outputs, x):
        return 2 * math.prod(outputs.shape) * x.shape[-1]

    assert found_for(Twice(4), (3,))[0].layers[-1]["flops"] == 24


@on_torch
@pytest.mark.parametrize("stacked", [False, True])
def test_blocks_hold_the_sums_of_their_layers(stacked):
    model = fixinit.models.ResidualMLP(3, 16, stacked=stacked, seed=0)
    found = diagnose(model, np.ones((4, 40), "float32"), measures=("flops", "bytes"))
    assert {row["flops"] for row in found.blocks} == {2 * 2 * 16 * 16}
    rest = 2 * (40 * 16 + 16 * 10)
    assert found.asked["flops"] == rest + 3 * found.blocks[0]["flops"]
    if not stacked:
        assert found.asked["parameter_bytes"] == 4 * model.count_params()


@on_torch
@pytest.mark.parametrize(
    ("build", "published"),
    [
        # Multiply-adds: He et al. 2016 (ResNet-50, 3.8e9 with the stride in the 1x1
        # convolution), Sandler et al. 2018 (300e6), Howard et al. 2017 (569e6).
        (keras.applications.ResNet50, 3.86e9),
        (keras.applications.MobileNetV2, 300e6),
        (keras.applications.MobileNet, 569e6),
    ],
)
def test_published_multiply_adds(build, published):
    model = build(weights=None)
    x = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    found = diagnose(model, x, training=False, measures=("flops",))
    assert found.asked["flops"] / 2 == pytest.approx(published, rel=0.01)

import keras
import pytest
from keras import layers, ops

from fixinit.graph import find_blocks, trace

WIDTH = 8


def dense(x, name=None, activation=None):
    return layers.Dense(WIDTH, activation, name=name)(x)


def blocks(inputs, outputs):
    return find_blocks(trace(keras.Model(inputs, outputs)))


def focal(x, levels, shared):
    """Focal modulation: a query times a sum of contexts, each with its gate."""
    if shared:
        h = layers.Dense(2 * WIDTH + levels + 1)(x)
        query, context, gates = ops.split(h, [WIDTH, 2 * WIDTH], axis=-1)
    else:
        query, context, gates = dense(x), dense(x), layers.Dense(levels + 1)(x)
    total = 0
    for level in range(levels):
        context = layers.DepthwiseConv2D(3, padding="same", activation="gelu")(context)
        total = total + context * gates[..., level : level + 1]
    whole = ops.mean(context, axis=(1, 2), keepdims=True)
    total = (total + ops.gelu(whole) * gates[..., levels:]) / (levels + 1)
    return dense(query * dense(total))


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_sums_of_contexts_and_their_gates_are_no_blocks(levels, shared):
    x = inputs = keras.Input((6, 6, WIDTH))
    for index in range(3):
        h = focal(layers.LayerNormalization()(x), levels, shared)
        x = layers.Add(name=f"focal{index}")([x, h])
        h = dense(dense(layers.LayerNormalization()(x), activation="gelu"))
        x = layers.Add(name=f"mlp{index}")([x, h])
    found = blocks(inputs, x)
    assert [(block.name, block.branch_depth) for block in found] == [
        (f"{kind}{index}", depth)
        for index in range(3)
        for kind, depth in (("focal", 3 + levels), ("mlp", 2))
    ]


def test_weights_from_a_condition_leave_blocks():
    """As where a denoiser weighs its input and its network by the size of noise."""
    noise, x = inputs = keras.Input((1,)), keras.Input((WIDTH,))
    for _ in range(2):
        skip, out = 1 / (1 + noise**2), noise / (1 + noise)
        x = skip * x + out * dense(dense(x, activation="relu"))
    assert [block.branch_depth for block in blocks(inputs, x)] == [2, 2]

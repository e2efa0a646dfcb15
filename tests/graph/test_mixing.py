import keras
import pytest
from keras import layers, ops

import fixinit


def fourier(h):
    return ops.fft2((h, ops.zeros_like(h)))[0]


def shift(h):
    return ops.concatenate([h[:, 1:], h[:, :1]], axis=1)


def pool(h):
    return layers.AveragePooling1D(3, 1, "same")(h)


def pool_without_input(h):
    n = layers.LayerNormalization()(h)
    return pool(n) - n


def similar(h):
    return ops.matmul(ops.softmax(ops.matmul(h, ops.transpose(h, (0, 2, 1)))), h)


class Running(layers.Layer):
    """A mixing of positions in a class of its own."""

    def call(self, x):
        return ops.cumsum(x, axis=1)


class Waves(layers.Layer):
    """The places of a sequence, whatever stands in it."""

    def call(self, x):
        places = ops.arange(x.shape[1], dtype=x.dtype)[:, None]
        return ops.sin(places) + ops.zeros_like(x)


MIXING = [fourier, shift, pool, pool_without_input, similar, lambda h: Running()(h)]
ELEMENTWISE = [
    ops.relu,
    lambda h: 0.044715 * h**3,
    lambda h: layers.Dropout(0.1)(h),
    lambda h: layers.LayerNormalization()(h),
    lambda h: Waves()(h),
]


@pytest.mark.parametrize("mix", MIXING)
def test_what_mixes_without_weights_is_a_branch(mix):
    x = keras.Input((8, 16), batch_size=2)
    (block,) = fixinit.graph.find_blocks(
        fixinit.graph.trace(keras.Model(x, x + mix(x)))
    )
    assert block.branch_depth == 0 and not block.weights
    assert block.input == block.merge.inputs[block.shortcut]


@pytest.mark.parametrize("function", ELEMENTWISE)
def test_what_acts_element_by_element_is_none(function):
    x = keras.Input((8, 16), batch_size=2)
    model = keras.Model(x, x + function(x))
    assert not fixinit.graph.find_blocks(fixinit.graph.trace(model))


def test_sums_of_two_mixtures_have_no_shortcut():
    x = keras.Input((8, 16))
    both = layers.MaxPooling1D(3, 1, "same")(x) + layers.AveragePooling1D(3, 1, "same")(
        x
    )
    assert not fixinit.graph.find_blocks(fixinit.graph.trace(keras.Model(x, both)))

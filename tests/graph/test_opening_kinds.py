"""What layers of one's own do that symbolic tensors alone do not allow."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.graph import opened
from fixinit.graph.kinds import is_unknown
from fixinit.graph.recognition import normalizes
from tests.marks import slow_on_tensorflow

pytestmark = pytest.mark.every_backend


class Outer(layers.Layer):
    """A block around something: `x + f(norm(x))`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.LayerNormalization(name="norm")
        self.dense = layers.Dense(4, name="dense")

    def call(self, x):
        return x + self.dense(self.norm(x))


class WithoutMode(layers.Layer):
    """Does not ask for the mode that the layer around it passes on."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, name="dense")

    def call(self, x):
        return self.dense(x)


class PassesMode(Outer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.part = WithoutMode(name="part")

    def call(self, x, training=None):
        return x + self.part(self.norm(x), training=training)


class Capitals(Outer):
    """An `einsum` with capital letters, which Keras cannot give the shape of."""

    def call(self, x):
        h = self.norm(x)
        scores = ops.softmax(ops.einsum("bsc,bSc->bsS", h, h))
        return x + self.dense(ops.einsum("bsS,bSc->bsc", scores, h))


class Rotary(layers.Layer):
    """Angles of places, of which it says another shape than they have."""

    def build(self, shape):
        self.rates = self.add_weight(shape=(2,), initializer="ones", trainable=False)

    def call(self, places):
        return ops.cast(places, "float32")[:, None] * self.rates

    def compute_output_shape(self, shape):
        return shape


class Rotates(Outer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rotary = Rotary(name="rotary")

    def call(self, x):
        angles = self.rotary(ops.arange(x.shape[1]))[:3, :]
        angles = ops.concatenate([angles, angles], axis=-1)
        return x + self.dense(self.norm(x) * ops.cos(angles))


class OwnNorm(layers.Layer):
    def call(self, x):
        return x * ops.rsqrt(ops.mean(ops.square(x), -1, keepdims=True) + 1e-6)


class Scaled(layers.Layer):
    """Normalizes twice as much as it reads: Keras takes that for sparse."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = OwnNorm(name="norm")
        self.dense = layers.Dense(4, name="dense")

    def call(self, x):
        return x + self.dense(self.norm(x * 2.0))


class Windows(Outer):
    """Windows of an image as one larger batch."""

    def call(self, x):
        batch = ops.shape(x)[0]
        h = ops.reshape(self.norm(x), (batch * 3, 1, 4))
        return x + ops.reshape(self.dense(h), (batch, 3, 4))


class WithConstant(Outer):
    """Gives a constant beside a tensor."""

    def call(self, x):
        return super().call(x), ops.ones((1, 3, 1))


def assert_equal(got, expected):
    for pair in zip(*map(keras.tree.flatten, (got, expected)), strict=True):
        first, second = map(ops.convert_to_numpy, pair)
        np.testing.assert_allclose(first, second, atol=1e-5)


def model_of(layer):
    inputs = keras.Input((3, 4))
    return keras.Model(inputs, layer(inputs))


@slow_on_tensorflow
@pytest.mark.parametrize(
    "kind", [PassesMode, Capitals, Rotates, Scaled, Windows, WithConstant]
)
def test_opens_and_converts(kind, tmp_path):
    model = model_of(kind(name="own"))
    x = np.random.default_rng(0).normal(size=(5, 3, 4)).astype("float32")
    with opened(model) as found:
        assert not found.shut and found.shapes is None
        names = {layer.name for layer in found.model.layers}
        assert "own_norm" in names
        for before, after in zip(
            keras.tree.flatten(model(x)),
            keras.tree.flatten(found.model(x)),
            strict=True,
        ):
            np.testing.assert_allclose(
                ops.convert_to_numpy(before), ops.convert_to_numpy(after), atol=1e-5
            )
    free = fixinit.convert(model, "fixup", seed=0)
    assert free.conversion["num_branches"] == len(free.conversion["blocks"]) == 1
    assert "own_norm" not in {layer.name for layer in free.layers}
    free.save(tmp_path / "free.keras")
    loaded = keras.models.load_model(tmp_path / "free.keras")
    assert_equal(free(x), loaded(x))


def test_normalization_of_ones_own_never_becomes_operations():
    with opened(model_of(Scaled(name="own"))) as found:
        norm = found.model.get_layer("own_norm")
        assert is_unknown(norm) and normalizes(norm)


def test_models_inside_open_in_the_sizes_that_they_are_called_with():
    class Places(Outer):
        def call(self, x):
            batch, length, _ = ops.shape(x)
            places = ops.broadcast_to(ops.arange(length), (batch, length))
            return super().call(x) + ops.expand_dims(ops.cast(places, "float32"), -1)

    inner = keras.Input((None, 4))
    inner = keras.Model(inner, Places(name="places")(inner), name="inner")
    inputs = keras.Input((3, 4))
    with opened(keras.Model(inputs, inner(inputs))) as found:
        assert not found.shut and found.shapes is None
        inside = found.model.get_layer("inner")
        assert inside.input_shape == (None, 3, 4)
        assert "places_norm" in {layer.name for layer in inside.layers}

"""DyT and Derf: their functions in the place of normalizations of tokens."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit import schemes
from fixinit.layers import DynamicErf, DynamicTanh, PointwiseNormalization
from recipes.real_models.networks import NETWORKS
from tests.conversion.helpers import convert, said
from tests.marks import on_torch, slow_where_compiled

KINDS = {"dyt": DynamicTanh, "derf": DynamicErf}
BOTH = pytest.mark.parametrize("scheme", KINDS)


def functions(model):
    return [x for x in model.layers if isinstance(x, PointwiseNormalization)]


# Branches, and normalizations: two for each block, T5's decoder has three.
BACKBONES = {
    "BertBackbone": (4, 5),
    "GPT2Backbone": (4, 5),
    "LlamaBackbone": (4, 5),
    "ViTBackbone": (4, 5),
    "T5Backbone": (10, 12),
}


@on_torch
@BOTH
@pytest.mark.parametrize("name", BACKBONES)
def test_converts_backbones_of_keras_hub_in_one_line(name, scheme):
    pytest.importorskip("keras_hub")
    branches, normalizations = BACKBONES[name]
    free = convert(NETWORKS[name].build(), scheme)
    assert free.conversion["num_branches"] == branches
    found = functions(free)
    assert len(found) == normalizations
    assert all(type(layer) is KINDS[scheme] for layer in found)
    # Root mean square normalizations have no shift, and get none.
    assert all(
        layer.center == (name not in ("LlamaBackbone", "T5Backbone")) for layer in found
    )
    kinds = (layers.LayerNormalization, layers.RMSNormalization)
    assert not any(isinstance(layer, kinds) for layer in free.layers)


def transformer_block(x, normalize):
    width = x.shape[-1]
    attention = layers.MultiHeadAttention(2, width // 2)
    read = normalize(x)
    x = x + attention(read, read)
    branch = layers.Dense(2 * width, "gelu")(normalize(x))
    return x + layers.Dense(width)(branch)


def small(normalize=lambda x: layers.LayerNormalization()(x)):
    x = inputs = keras.Input((6, 16))
    for _ in range(2):
        x = transformer_block(x, normalize)
    return keras.Model(inputs, layers.Dense(3)(normalize(x)))


@slow_where_compiled
@pytest.mark.every_backend
@BOTH
def test_functions_stand_where_normalization_was_and_train(scheme, tmp_path):
    free = convert(small(), scheme)
    assert len(functions(free)) == 5
    x = np.random.default_rng(0).normal(size=(32, 6, 16)).astype("float32")
    y = x[:, :, :3]
    free.compile("adam", "mse")
    losses = free.fit(x, y, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    free.save(tmp_path / "free.keras")
    loaded = keras.models.load_model(tmp_path / "free.keras", safe_mode=True)
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), free.predict(x, verbose=0), rtol=1e-6, atol=1e-6
    )


@on_torch
def test_kernels_are_drawn_as_the_model_has_them():
    normal = keras.initializers.RandomNormal(stddev=0.02)

    def block(x):
        branch = layers.Dense(256, "gelu", kernel_initializer=normal, use_bias=False)
        return x + layers.Dense(64)(branch(layers.LayerNormalization()(x)))

    x = inputs = keras.Input((64,))
    x = block(block(x))
    free = convert(keras.Model(inputs, x), "dyt", seed=0)
    first, last = [x for x in free.layers if isinstance(x, layers.Dense)][:2]
    # Standard deviations of 16,384 numbers: four of their standard errors.
    kernel = keras.ops.convert_to_numpy(first.kernel)
    assert kernel.std() == pytest.approx(0.02, rel=4 / np.sqrt(2 * kernel.size))
    assert not first.use_bias and last.use_bias
    glorot = np.sqrt(2 / (64 + 256))
    kernel = keras.ops.convert_to_numpy(last.kernel)
    assert kernel.std() == pytest.approx(glorot, rel=4 / np.sqrt(2 * kernel.size))
    kernels = [x.kernel for x in free.layers if isinstance(x, layers.Dense)]
    a, b = (
        keras.ops.convert_to_numpy(kernels[0]),
        keras.ops.convert_to_numpy(kernels[2]),
    )
    assert not np.any(a == b)


@on_torch
@BOTH
def test_takes_the_place_of_the_other_and_gives_way_to_others(scheme):
    once = convert(small(), scheme)
    other = "derf" if scheme == "dyt" else "dyt"
    twice = convert(once, other)
    assert {type(layer) for layer in functions(twice)} == {KINDS[other]}
    assert len(functions(twice)) == 5
    assert not functions(convert(twice, "rezero"))


@on_torch
def test_alpha_is_an_argument():
    free = convert(small(), schemes.DyT(alpha=0.8))
    assert float(functions(free)[0].alpha) == pytest.approx(0.8)


@on_torch
@pytest.mark.parametrize(
    ("normalization", "says"),
    [
        (layers.BatchNormalization, "worse results in the place of batch"),
        (layers.UnitNormalization, "LayerNormalization, RMSNormalization"),
        (lambda: layers.LayerNormalization(axis=(1, 2)), "one axis, the channels"),
    ],
)
def test_refuses_other_normalization(normalization, says):
    model = small(lambda x: normalization()(x))
    with pytest.raises(ValueError, match=says):
        fixinit.convert(model, "dyt")


@on_torch
def test_normalization_that_is_kept_is_not_refused():
    x = inputs = keras.Input((6, 16))
    x = layers.BatchNormalization(name="data")(x)
    x = transformer_block(x, lambda x: layers.LayerNormalization()(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    free = convert(model, "dyt", keep=("data",))
    assert len(functions(free)) == 2
    assert isinstance(free.get_layer("data"), layers.BatchNormalization)


@pytest.mark.parametrize("alpha", [0, float("nan"), "half", None])
@pytest.mark.parametrize("kind", [schemes.DyT, schemes.Derf])
def test_refuses_what_is_no_alpha(kind, alpha):
    with pytest.raises((ValueError, TypeError), match="alpha"):
        kind(alpha=alpha)


@on_torch
def test_layers_that_the_model_draws_are_no_news():
    assert "of a kind that the converter does not know" not in said(small(), "dyt")


def block_of(normalization, shape=(6, 16)):
    """One residual block behind a normalization."""
    x = inputs = keras.Input(shape)
    return keras.Model(inputs, x + layers.Dense(shape[-1])(normalization(x)))


def function_of(normalization, shape=(6, 16)):
    (function,) = functions(convert(block_of(normalization, shape), "dyt"))
    return function


@on_torch
@pytest.mark.parametrize(
    ("normalization", "shape", "axis", "size"),
    [
        (layers.LayerNormalization(axis=1), (6, 16), 1, 6),
        (layers.GroupNormalization(4), (6, 16), -1, 16),
        (layers.TimeDistributed(layers.LayerNormalization(axis=2)), (3, 5, 7), 3, 7),
        (layers.TimeDistributed(layers.LayerNormalization()), (3, 5, 7), -1, 7),
        (layers.LayerNormalization(rms_scaling=True), (6, 16), -1, 16),
    ],
    ids=["axis", "groups", "along time", "last, along time", "rms_scaling"],
)
def test_axes_are_those_of_the_normalization(normalization, shape, axis, size):
    found = function_of(normalization, shape)
    assert (found.axis, tuple(found.gamma.shape)) == (axis, (size,))
    assert found.center != getattr(normalization, "rms_scaling", False)


@on_torch
def test_axis_behind_layers_of_other_formats():
    x = inputs = keras.Input((3, 8, 8))
    x = layers.Conv2D(4, 3, data_format="channels_first")(x)
    x = layers.Reshape((36, 4))(layers.Permute((2, 3, 1))(x))
    x = x + layers.Dense(4)(layers.LayerNormalization()(x))
    (found,) = functions(convert(keras.Model(inputs, x), "dyt"))
    assert tuple(found.gamma.shape) == (4,)


@on_torch
def test_what_a_normalization_was_given_stays():
    found = function_of(
        layers.LayerNormalization(
            gamma_initializer="zeros",
            beta_initializer=keras.initializers.Constant(0.5),
            gamma_regularizer="l2",
            beta_constraint="non_neg",
            trainable=False,
        )
    )
    assert not np.any(found.gamma) and np.all(np.equal(found.beta, 0.5))
    assert isinstance(found.gamma.regularizer, keras.regularizers.L2)
    assert isinstance(found.beta.constraint, keras.constraints.NonNeg)
    assert not found.trainable
    assert not function_of(layers.LayerNormalization(scale=False, center=False)).scale


class OwnNorm(layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight(shape=shape[-1:], initializer="ones")

    def call(self, x):
        return self.gain * x * ops.rsqrt(ops.mean(x * x, axis=-1, keepdims=True))


class DeclaredNorm(OwnNorm):
    fixinit_facts = fixinit.layers.Facts(normalizes=True)


@on_torch
@pytest.mark.parametrize("kind", [OwnNorm, DeclaredNorm])
def test_normalization_of_ones_own_is_replaced_and_named(kind):
    model = block_of(kind(name="own"))
    (found,) = functions(convert(model, "dyt"))
    assert found.scale and not found.center
    assert "author's own is replaced" in said(model, "dyt")


class Scale(layers.Layer):
    fixinit_facts = fixinit.layers.Facts(scales_branch=True, linear=True)

    def build(self, shape):
        self.gain = self.add_weight(shape=shape[-1:], initializer="ones")

    def call(self, x):
        return 1e-6 * self.gain * x


@on_torch
def test_scales_of_branches_are_the_models_own():
    x = inputs = keras.Input((6, 16))
    branch = layers.Dense(16)(layers.LayerNormalization()(x))
    model = keras.Model(inputs, x + Scale(name="scale")(branch))
    assert isinstance(convert(model, "dyt").get_layer("scale"), Scale)


def thousandth(shape, dtype=None):
    return ops.full(shape, 1e-3, dtype)


@on_torch
def test_functions_may_be_initializers():
    x = inputs = keras.Input((6, 16))
    dense = layers.Dense(16, kernel_initializer=thousandth, name="dense")
    model = keras.Model(inputs, x + dense(layers.LayerNormalization()(x)))
    kernel = convert(model, "dyt").get_layer("dense").kernel
    assert np.allclose(kernel, 1e-3)
    assert "He's variances" not in said(model, "dyt")


@on_torch
def test_folding_does_not_ask_the_scheme():
    x = inputs = keras.Input((16,))
    x = layers.BatchNormalization()(layers.Dense(16)(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    assert not functions(convert(model, "dyt", weights="fold"))


@on_torch
@pytest.mark.parametrize("name", schemes.names())
def test_who_refuses_batch_normalization_declares_it(name):
    model = block_of(layers.BatchNormalization())
    if not schemes.get(name).refuses_batch_norm:
        convert(model, name)
        return
    with pytest.raises(ValueError, match=name):
        convert(model, name)


@pytest.mark.parametrize(("alpha", "variance"), [(0.5, 1e-20), (1e-200, 1.0)])
def test_next_to_zero_functions_are_linear(alpha, variance):
    grown = schemes.DyT(alpha).predicted_variance(1, variance)
    expected = variance + (alpha * variance**0.5) ** 2
    assert grown[1] == pytest.approx(expected, rel=1e-9)
    assert schemes.DyT(1e200).predicted_variance(2).tolist() == [1, 2, 3]

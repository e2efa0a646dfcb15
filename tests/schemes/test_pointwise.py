"""DyT and Derf: their functions in the place of normalizations of tokens."""

import keras
import numpy as np
import pytest
from keras import layers

import fixinit
from fixinit import schemes
from fixinit.layers import DynamicErf, DynamicTanh, PointwiseNormalization
from tests.conversion.helpers import convert, said
from tests.marks import on_torch, slow_where_compiled

keras_hub = pytest.importorskip("keras_hub")
KINDS = {"dyt": DynamicTanh, "derf": DynamicErf}
BOTH = pytest.mark.parametrize("scheme", KINDS)


def functions(model):
    return [x for x in model.layers if isinstance(x, PointwiseNormalization)]


def bert():
    return keras_hub.models.BertBackbone(
        vocabulary_size=20,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=8,
    )


def gpt2():
    return keras_hub.models.GPT2Backbone(
        vocabulary_size=20,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=8,
    )


def llama():
    return keras_hub.models.LlamaBackbone(
        vocabulary_size=20,
        num_layers=2,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=16,
        intermediate_dim=32,
    )


def vit():
    return keras_hub.models.ViTBackbone(
        image_shape=(16, 16, 3),
        patch_size=4,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    )


def t5():
    return keras_hub.models.T5Backbone(
        vocabulary_size=20,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
    )


# Branches, and normalizations: two for each block, T5's decoder has three.
BACKBONES = {
    "BERT": (bert, 4, 5),
    "GPT-2": (gpt2, 4, 5),
    "Llama": (llama, 4, 5),
    "ViT": (vit, 4, 5),
    "T5": (t5, 10, 12),
}


@on_torch
@BOTH
@pytest.mark.parametrize("name", BACKBONES)
def test_converts_backbones_of_keras_hub_in_one_line(name, scheme):
    build, branches, normalizations = BACKBONES[name]
    free = convert(build(), scheme)
    assert free.conversion["num_branches"] == branches
    found = functions(free)
    assert len(found) == normalizations
    assert all(type(layer) is KINDS[scheme] for layer in found)
    # Root mean square normalizations have no shift, and get none.
    assert all(layer.center == (name not in ("Llama", "T5")) for layer in found)
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
def test_refuses_an_alpha_that_is_none(kind, alpha):
    with pytest.raises((ValueError, TypeError), match="alpha"):
        kind(alpha=alpha)


@on_torch
def test_layers_that_the_model_draws_are_no_news():
    assert "of a kind that the converter does not know" not in said(small(), "dyt")

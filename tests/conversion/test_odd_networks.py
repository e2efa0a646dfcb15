"""Networks in which it is easy to take one thing for another."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from tests.conversion.helpers import (
    assert_close,
    convert,
    normal,
    roles,
    said,
    still,
    zeros,
)
from tests.marks import on_torch, rest_on_torch

FREE = ("fixup", "scaled_residual", "skip_init", "rezero", "normalized_sum")


def dense(units=8, **kwargs):
    return layers.Dense(units, **kwargs)


def residual(x, last=dense):
    return x + last()(layers.ReLU()(dense()(x)))


@rest_on_torch("scheme", FREE, quick=2)
def test_conditions_are_no_shortcuts(scheme):
    """`x + W e`, where the stream x depends on e as well, as in diffusion models."""
    a, c = keras.Input((8,)), keras.Input((8,))
    e, x = dense(activation="relu")(c), residual(a)
    for _ in range(3):
        x = residual(x + dense()(e))
    free = convert(keras.Model([a, c], x), scheme)
    assert free.conversion["num_branches"] == 4
    one, other = (free([normal(2, 8, seed=s), np.ones((2, 8))]) for s in (0, 1))
    assert float(ops.max(ops.abs(one - other))) > 0.1


def test_what_else_is_read_is_no_head():
    inputs = keras.Input((8,))
    z = dense(4, name="latent")(layers.ReLU()(dense()(inputs)))
    y = dense(name="decoded")(layers.ReLU()(dense()(z)))
    free = convert(keras.Model(inputs, [z, y]))
    assert roles(free)["latent"] == "trunk" and roles(free)["decoded"] == "head"
    assert np.any(ops.convert_to_numpy(free.get_layer("latent").kernel))


def test_frozen_layers_are_not_zeroed():
    x = inputs = keras.Input((8,))
    x = residual(x, lambda: dense(trainable=False, name="frozen"))
    x = dense(4, trainable=False, name="head")(x)
    with pytest.warns(UserWarning, match="Frozen.*frozen"):
        free = fixinit.convert(keras.Model(inputs, x), "fixup", seed=0)
    assert zeros(free) == ["multiplier"]
    for name in ("frozen", "head"):
        assert np.any(ops.convert_to_numpy(free.get_layer(name).kernel))
    assert not still(free, normal(8, 8), normal(8, 4))


def test_frozen_gates_and_heads_are_named():
    inputs = keras.Input((8,))
    x = dense()(inputs)
    gate = dense(activation="sigmoid", name="gate", trainable=False)
    head = dense(3, name="scores", trainable=False)
    text = said(keras.Model(inputs, head(layers.ReLU()(x * gate(x)))))
    assert "Frozen" in text and "gate" in text and "scores" in text


def test_frozen_layers_without_kernels_keep_their_weights():
    inputs = keras.Input((8,))
    slopes = layers.PReLU(name="slopes", trainable=False)
    model = keras.Model(inputs, dense(3)(slopes(residual(inputs))))
    slopes.set_weights([np.arange(8.0)])
    (got,) = convert(model).get_layer("slopes").get_weights()
    np.testing.assert_array_equal(got, np.arange(8))


@on_torch
def test_outer_branches_with_constraints_stay_small():
    def last():
        return dense(32, kernel_constraint="unit_norm")

    x = inputs = keras.Input((32,))
    for _ in range(10):
        y = residual(dense(32)(x), lambda: dense(32))
        x = x + last()(layers.ReLU()(y))
    free = convert(keras.Model(inputs, x), "fixup")
    data = normal(16, 32)
    before = np.mean(free.predict(data) ** 2)
    free.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    free.train_on_batch(data, data)
    assert np.mean(free.predict(data) ** 2) == pytest.approx(before, rel=0.3)


def test_activations_that_are_not_registered():
    def squared(x):
        return ops.relu(x) ** 2

    inputs = keras.Input((8,))
    x = layers.BatchNormalization()(layers.Activation(squared)(dense()(inputs)))
    model = keras.Model(inputs, x + dense()(dense(activation=squared)(x)))
    x = normal(4, 8)
    folded = convert(model, weights="fold")
    assert_close(folded(x), model(x), rtol=1e-4, atol=1e-6)
    held = [getattr(x, "activation", None) for x in convert(model).layers]
    assert held.count(squared) == 2


def test_frozen_models_stay_frozen():
    inner = keras.Sequential([keras.Input((8,)), dense(), dense()], name="inner")
    inner.trainable = False
    inputs = keras.Input((8,))
    free = convert(keras.Model(inputs, dense(2)(inputs + inner(inputs))))
    assert not free.get_layer("inner").trainable_variables


@on_torch
@pytest.mark.parametrize(
    "end",
    [
        lambda h: dense()(h) * dense()(h),
        lambda h: (lambda y: y * y)(dense()(h)),
        lambda h: ops.divide(np.ones(8, "float32"), 1.5 + ops.tanh(dense()(h))),
        lambda h: ops.square(dense()(h)),
        lambda h: ops.abs(dense()(h)),
        lambda h: layers.LayerNormalization(name="kept")(dense()(h)),
        lambda h: dense()(h) + 1.0,
        lambda h: dense(kernel_constraint="unit_norm")(h),
    ],
    ids=[
        *("product", "own product", "quotient", "square", "absolute", "normalized"),
        *("shifted", "constrained"),
    ],
)
def test_zeros_that_could_not_be_trained_away(end):
    inputs = keras.Input((8,))
    outputs = inputs + end(layers.ReLU()(dense()(inputs)))
    model = keras.Model(inputs, outputs)
    keep = [x.name for x in model.layers if x.name == "kept"]
    free = convert(model, keep=keep)
    assert zeros(free) == ["multiplier"]
    assert not still(free)


def test_gates_that_are_shorter_than_what_they_gate():
    def conv(**kwargs):
        return layers.Conv2D(4, 3, padding="same", **kwargs)

    inputs = keras.Input((8, 8, 4))
    y = conv(name="second")(layers.ReLU()(conv(name="first")(inputs)))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    gate = dense(4, activation="sigmoid", name="gate")(gate)
    model = keras.Model(inputs, inputs + y * gate)
    for scheme in ("fixup", "scaled_residual"):
        free = convert(model, scheme)
        (branch,) = free.conversion["blocks"][0]["branches"]
        assert branch["weights"] == ["first", "second"]
        assert np.std(ops.convert_to_numpy(free.get_layer("gate").kernel)) < 1


def test_shared_layers_are_scaled_once():
    a, b = keras.Input((256,)), keras.Input((256,))
    shared = dense(64, activation="relu")
    outputs = [layers.Dropout(0.1)(shared(x)) for x in (a, b)]
    free = convert(keras.Model([a, b], outputs), "unnormalized")
    for y in free([normal(64, 256), normal(64, 256, seed=1)]):
        assert 0.5 < float(ops.mean(y**2)) < 2


def test_one_layer_in_two_places_is_not_zeroed():
    x = inputs = keras.Input((8,))
    shared = dense(name="shared")
    for _ in range(3):
        x = x + shared(layers.ReLU()(shared(x)))
    free = convert(keras.Model(inputs, x))
    assert zeros(free) == ["multiplier"] * 3
    np.testing.assert_allclose(free.predict(normal(2, 8)), normal(2, 8), rtol=1e-6)


@pytest.mark.parametrize("scheme", FREE)
def test_sums_that_are_broadcast_are_no_blocks(scheme):
    x = inputs = keras.Input((4, 4, 8))
    x = x + dense()(ops.mean(x, (1, 2), keepdims=True))
    with pytest.warns(UserWarning, match="Additions"):
        free = fixinit.convert(keras.Model(inputs, x), scheme)
    assert not free.conversion["blocks"]


def test_what_is_added_twice_is_added_twice():
    inputs = keras.Input((8,))
    y = dense()(inputs)
    free = convert(keras.Model(inputs, layers.add([inputs, y, inputs])), "rezero")
    assert not free.conversion["blocks"]


def test_factors_beside_additions_are_named():
    x = inputs = keras.Input((8,))
    x = (x + dense()(layers.ReLU()(dense()(x)))) * 0.5**0.5
    with pytest.warns(UserWarning, match="Factors.*multiply"):
        fixinit.convert(keras.Model(inputs, x))


def test_softmax_has_nothing_in_front_of_it():
    inputs = keras.Input((6, 8))
    scores = ops.softmax(ops.matmul(dense()(inputs), ops.transpose(inputs, (0, 2, 1))))
    x = inputs + dense()(ops.matmul(scores, dense()(inputs)))
    free = convert(keras.Model(inputs, x), "batch_norm")
    assert not [x.name for x in free.layers if "softmax" in x.name and "norm" in x.name]


def test_calls_of_nested_models_keep_their_arguments():
    inner = keras.Sequential([keras.Input((8,)), layers.Dropout(0.9)], name="inner")
    inputs, x = keras.Input((8,)), np.ones((4, 8), "float32")
    for training in (False, True):
        model = keras.Model(inputs, residual(inner(inputs, training=training)))
        outputs = ops.convert_to_numpy(convert(model)(x, training=None))
        assert np.allclose(outputs, x) is not training


def test_keeps_spectral_normalization():
    wrapper = layers.SpectralNormalization(dense(name="dense"), name="spectral")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, inputs + wrapper(layers.ReLU()(dense()(inputs))))
    free = convert(model, keep=("SpectralNormalization",))
    assert isinstance(free.get_layer("spectral"), layers.SpectralNormalization)
    removed = convert(model).conversion["removed"]
    assert removed == {"SpectralNormalization": ["spectral"]}


def test_names_that_are_taken():
    x = inputs = keras.Input((8,))
    x = x + dense(name="fc_activation")(dense(activation="relu", name="fc")(x))
    names = [layer.name for layer in convert(keras.Model(inputs, x)).layers]
    assert len(set(names)) == len(names)


def test_precision_of_operators():
    inputs, half = keras.Input((8,), dtype="bfloat16"), {"dtype": "mixed_bfloat16"}
    y = dense(**half)(layers.ReLU(**half)(dense(**half)(inputs)))
    free = convert(keras.Model(inputs, inputs + y))
    added = [x for x in free.layers if isinstance(x, fixinit.layers.ScalarMultiplier)]
    assert [x.compute_dtype for x in added] == ["bfloat16"]
    assert {v.dtype for v in free.variables} == {"float32"}


def test_masks_pass_sums():
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 8, mask_zero=True)(inputs)
    x = layers.add([x, dense()(layers.ReLU()(dense()(x)))])
    free = convert(keras.Model(inputs, x), "normalized_sum")
    outputs = free(np.array([[1, 2, 0, 0, 0]]))
    mask = keras.src.backend.get_keras_mask(outputs)
    assert ops.convert_to_numpy(mask).tolist() == [[True, True, False, False, False]]


@on_torch
def test_an_addition_that_is_called_again():
    x = inputs = keras.Input((8,))
    add = layers.Add(name="sum")
    for _ in range(2):
        branch = dense()(layers.ReLU()(dense()(layers.BatchNormalization()(x))))
        x = add([x, branch])
    for scheme in FREE:
        free = convert(keras.Model(inputs, x), scheme)
        assert free.conversion["num_branches"] == 2
        assert not still(free)


def test_parallel_branches_in_double_precision():
    inputs = keras.Input((8,), dtype="float64")
    branches = [dense(dtype="float64")(inputs) for _ in range(2)]
    x = layers.Add(dtype="float64")([inputs, *branches])
    free = convert(keras.Model(inputs, x), "normalized_sum")
    assert {layer.compute_dtype for layer in free.layers[1:]} == {"float64"}


@keras.saving.register_keras_serializable("tests")
class Standardized(layers.Dense):
    """A weight layer with a kernel of its own making."""

    def call(self, x):
        kernel = self.kernel - ops.mean(self.kernel, axis=0)
        return x @ (kernel / (ops.std(self.kernel, axis=0) + 1e-3)) + self.bias


@keras.saving.register_keras_serializable("tests")
class Wave(layers.Layer):
    """A layer that nobody can know."""

    def call(self, x):
        return x * ops.sin(x)


@keras.saving.register_keras_serializable("tests")
class OwnNorm(layers.Layer):
    """Normalization that only its outputs tell."""

    def call(self, x):
        return x / (ops.std(x, axis=-1, keepdims=True) + 1e-3)


@on_torch
def test_layers_of_ones_own_are_named():
    inputs = keras.Input((8,))
    x = OwnNorm(name="own_norm")(Standardized(8, name="standardized")(inputs))
    model = keras.Model(inputs, residual(Wave(name="wave")(x)))
    text = said(model)
    assert "kind that the converter does not know" in text and "standardized" in text
    assert "also if they normalize: wave" in text
    assert convert(model).conversion["removed"] == {"OwnNorm": ["own_norm"]}


def test_normalization_of_the_data_is_named():
    inputs = keras.Input((8,))
    x = residual(layers.BatchNormalization(name="of_data")(inputs))
    with pytest.warns(UserWarning, match=r"keep=\['of_data'\]"):
        fixinit.convert(keras.Model(inputs, x))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fixinit.convert(keras.Model(inputs, x), keep=["of_data"])


def test_normalization_of_joined_data_is_named():
    pair = [keras.Input((4,)), keras.Input((2, 2))]
    x = layers.concatenate([pair[0], layers.Flatten()(pair[1])])
    model = keras.Model(pair, residual(layers.BatchNormalization(name="of_data")(x)))
    assert "keep=['of_data']" in said(model)


def test_normalization_at_the_start_of_a_network_is_its_own():
    inputs = keras.Input((8,))
    y = dense()(layers.ReLU()(layers.BatchNormalization()(inputs)))
    assert "model's inputs" not in said(keras.Model(inputs, inputs + y))


def test_embeddings_to_compare_do_not_start_at_zero():
    """With a loss that compares outputs, no gradient would leave zero."""
    for end in (layers.UnitNormalization(), layers.BatchNormalization()):
        inputs = keras.Input((8,))
        model = keras.Model(inputs, end(dense(4, name="embed")(residual(inputs))))
        free = convert(model)
        assert roles(free) == {"embed": "features"}
        assert free.get_layer("embed").use_bias
        assert np.any(ops.convert_to_numpy(free.get_layer("embed").kernel))


def test_heads_that_start_at_zero_are_marked():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, dense(4, name="logits")(residual(inputs)))
    for scheme, zero in (("fixup", True), ("rezero", False)):
        free = convert(model, scheme)
        (other,) = free.conversion["others"]
        assert other == {"name": "logits", "role": "head", "zero": zero}
        text = str(fixinit.conversion.Record(**free.conversion))
        assert ("head, starts at 0: logits" in text) == zero
    kept = convert(model, keep=["logits"])
    assert np.any(ops.convert_to_numpy(kept.get_layer("logits").kernel))


def test_class_maps_that_are_averaged_are_heads():
    x = inputs = keras.Input((4, 4, 8))
    x = residual(x, lambda: layers.Conv2D(8, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1, name="maps")(x))
    free = convert(keras.Model(inputs, layers.Softmax()(x)))
    assert roles(free) == {"maps": "head"}
    assert free.get_layer("maps").use_bias


def test_averages_of_a_value_and_its_branch_are_named():
    inputs = keras.Input((8,))
    x = residual(inputs)
    x = layers.Average(name="mean")([x, dense()(layers.ReLU()(dense()(x)))])
    assert "no addition, is no residual block" in (text := said(keras.Model(inputs, x)))
    assert "mean" in text


def test_measures_of_spread_are_named():
    inputs = keras.Input((8,))
    x = residual(inputs)
    spread = ops.std(x, axis=-1, keepdims=True)
    assert "spread stay, also if they normalize: std" in said(
        keras.Model(inputs, x / (spread + 1e-3))
    )


def test_models_that_are_also_inside_of_others_are_named():
    inner = keras.Sequential([keras.Input((8,)), dense()], name="inner")
    inputs = keras.Input((3, 8))
    over_time = layers.TimeDistributed(inner, name="over_time")(inputs)
    x = layers.add([layers.Flatten()(over_time)[:, :8], inner(inputs[:, 0])])
    model = keras.Model(inputs, residual(x))
    # It is opened: there is one model with one layer.
    assert "share their weights no longer" not in said(model)
    kernels = [w for w in convert(model).weights if len(w.shape) == 2]
    assert len(kernels) == 3
    text = said(model, keep="over_time")
    assert "share their weights no longer" in text and "over_time" in text


@on_torch
def test_signals_that_may_explode_are_named():
    """Products of two ways: what is twice as large comes out four times as large."""
    x = inputs = keras.Input((16,))
    for _ in range(8):
        x = x + dense(16)(layers.multiply([dense(32)(x), dense(32)(x)]))
    model = keras.Model(inputs, x)
    assert "may vanish or explode" in said(model, "normalized_sum")
    assert "may vanish or explode" not in said(model, "rezero")


@on_torch
def test_embeddings_start_as_large_as_the_signal():
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(50, 64, name="embedding")(inputs)
    y = layers.MultiHeadAttention(2, 32, name="attention")(x, x)
    x = x + y
    x = x + dense(64)(layers.ReLU()(dense(64)(layers.LayerNormalization()(x))))
    model = keras.Model(inputs, dense(3)(layers.GlobalAveragePooling1D()(x)))
    for scheme in ("fixup", "scaled_residual"):
        free = convert(model, scheme)
        table = ops.convert_to_numpy(free.get_layer("embedding").embeddings)
        # 3200 squares of normals.
        assert abs(np.mean(table**2) - 1) < 5 * np.sqrt(2 / table.size)
        assert free.conversion["num_branches"] == 2
    text = said(model)
    assert "all else to keep what it reads" not in text  # attention has a rule
    assert "cannot be predicted" not in text


def test_frozen_embeddings_keep_what_they_know():
    inputs = keras.Input((5,), dtype="int32")
    embedding = layers.Embedding(10, 8, name="embedding")
    x = residual(layers.GlobalAveragePooling1D()(embedding(inputs)))
    model = keras.Model(inputs, dense(2)(x))
    table = normal(10, 8)
    embedding.set_weights([table])
    for frozen in (True, False):
        embedding.trainable = not frozen
        (got,) = convert(model).get_layer("embedding").get_weights()
        assert np.array_equal(got, table) == frozen


@pytest.mark.parametrize("weights", ["initialize", "fold"])
def test_tied_weights_stay_tied(weights):
    inputs = keras.Input((5,), dtype="int32")
    table = layers.Embedding(20, 8, name="table")
    x = residual(layers.BatchNormalization()(residual(table(inputs))))
    x = layers.Identity(name="last")(x)
    model = keras.Model(inputs, ops.einsum("btd,vd->btv", x, table.embeddings))
    free = convert(model, weights=weights)
    tokens = np.arange(10).reshape(2, 5)
    before = ops.convert_to_numpy(free(tokens))
    table.embeddings.assign(ops.zeros((20, 8)))
    assert_close(free(tokens), before, rtol=0, atol=0)
    x, y = keras.Model(free.inputs, [free.get_layer("last").output, free.output])(
        tokens
    )
    expected = ops.einsum("btd,vd->btv", x, free.get_layer("table").embeddings)
    assert_close(y, expected)


@pytest.mark.parametrize("weights", ["initialize", "fold"])
def test_tied_weights_of_layers_in_models(weights):
    """Of two kernels of one shape, it is the same one."""
    parts = [dense(use_bias=False, name="first"), layers.BatchNormalization()]
    parts += [layers.ReLU(), dense(use_bias=False, name="second")]
    inner = keras.Sequential([keras.Input((8,)), *parts], name="inner")
    for name, part in (("first", parts[0]), ("second", parts[-1])):
        inputs = keras.Input((8,))
        y = ops.einsum("bh,ih->bi", inner(inputs), part.kernel)
        free = convert(keras.Model(inputs, y), weights=weights)
        x = normal(4, 8)
        made = free.get_layer("inner")
        expected = ops.einsum("bh,ih->bi", made(x), made.get_layer(name).kernel)
        assert_close(free(x), expected)


class Doubling(layers.Dense):
    """Of unknown kind: it computes in its own way."""

    def call(self, x):
        return 2 * super().call(x)


def test_spectral_normalization_of_unknown_kinds():
    wrapper = layers.SpectralNormalization(Doubling(8), name="spectral")
    inputs = keras.Input((8,))
    free = convert(keras.Model(inputs, inputs + wrapper(layers.ReLU()(inputs))))
    assert type(free.get_layer("spectral")) is Doubling
    assert free.conversion["removed"] == {"SpectralNormalization": ["spectral"]}


class Own(keras.Model):
    """A functional model of the user's own class."""


def test_models_of_an_own_class_become_models_of_keras():
    inputs = keras.Input((8,))
    model = Own(inputs, residual(inputs))
    assert "The model is a Own" in said(model)
    assert "Own" in fixinit.conversion.explain(model, weights="fold").assumptions[0]


def test_policies_stay():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((8,))
        model = keras.Model(inputs, residual(inputs))
    finally:
        keras.config.set_dtype_policy("float32")
    assert convert(model).dtype_policy.name == "mixed_bfloat16"


def test_names_of_layers_that_stay_are_taken():
    x = inputs = keras.Input((8,))
    x = dense(name="fc_scalar_bias")(layers.ReLU()(x))
    free = convert(keras.Model(inputs, x + dense(name="fc")(dense()(x))))
    assert isinstance(free.get_layer("fc_scalar_bias"), layers.Dense)
    assert isinstance(free.get_layer("fc_scalar_bias_"), fixinit.layers.ScalarBias)


def test_additions_of_models_that_are_called_twice_keep_their_names():
    inputs = keras.Input((8,))
    sum_ = layers.Add(name="sum")([inputs, dense()(layers.ReLU()(inputs))])
    inner = keras.Model(inputs, sum_, name="inner")
    free = convert(keras.Model(inputs, inner(inner(inputs))), "scaled_residual")
    merge = free.get_layer("inner").get_layer("sum")
    assert isinstance(merge, fixinit.layers.ScaledAdd)


def test_names_of_sums_of_branches_are_taken():
    x = inputs = keras.Input((8,))
    y = dense(name="sum_branches")(x)
    parts = [dense()(layers.ReLU()(y)) for _ in range(2)]
    model = keras.Model(inputs, layers.Add(name="sum")([y, *parts]))
    free = convert(model, "scaled_residual")
    assert isinstance(free.get_layer("sum_branches"), layers.Dense)
    assert isinstance(free.get_layer("sum_branches_"), layers.Add)


def test_further_inputs_of_a_block_go_to_the_same_layer():
    inputs = keras.Input((8,))
    branch = [layers.LayerNormalization(), dense(), dense(name="last")]
    block = fixinit.layers.ResidualBlock(branch, context_layer=2)
    model = keras.Model(inputs, block(inputs))
    for scheme in ("unnormalized", "fixup", "batch_norm"):
        free = convert(model, scheme)
        (new,) = (h for h in free.layers if isinstance(h, type(block)))
        assert new.branch[new.context_layer].name == "last"


@pytest.mark.parametrize("lead", [(), (1,)])
def test_codes_of_positions_are_no_part_of_an_activation(lead):
    codes = ops.convert_to_tensor(normal(*lead, 16, 32))
    x = layers.Dense(32)(inputs := keras.Input((16, 24))) + codes
    y = layers.Dense(32, "relu")(layers.LayerNormalization()(x))
    model = keras.Model(inputs, layers.Dense(2)(x + layers.Dense(32)(y)))
    free = convert(model, "rezero")
    assert free.conversion["num_branches"] == 1

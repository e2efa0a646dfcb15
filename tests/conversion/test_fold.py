import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit import models
from fixinit.layers import ChannelAffine
from tests.conversion.helpers import NORMALIZATIONS, assert_close
from tests.marks import on_torch, slow_where_compiled


def trained(model, seed=0):
    """The model with weights and statistics as training might have left them."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = tuple(variable.shape)
        if variable.path.endswith(("moving_variance", "gamma")):
            variable.assign(rng.uniform(0.5, 2.0, shape))
        elif variable.path.endswith(("moving_mean", "beta", "bias")):
            variable.assign(rng.normal(0, 0.5, shape))
    return model


def check(model, x, affine=None, **options):
    folded = fixinit.convert(trained(model), weights="fold", **options)
    expected = ops.convert_to_numpy(model(x, training=False))
    got = ops.convert_to_numpy(folded(x, training=False))
    assert np.abs(expected - got).max() <= 1e-4 * np.abs(expected).max()
    if affine is not None:
        found = [x for x in folded._flatten_layers() if isinstance(x, ChannelAffine)]
        assert len(found) == affine
    if not options:
        left = [x for x in folded._flatten_layers() if isinstance(x, NORMALIZATIONS)]
        assert not left
    return folded


def normal(*shape):
    return np.random.default_rng(1).normal(size=shape).astype("float32")


@pytest.mark.every_backend
@pytest.mark.parametrize("preactivation", [False, True])
def test_networks_of_the_library(preactivation):
    model = models.CifarResNet(
        8, scheme="batch_norm", input_shape=(8, 8, 3), preactivation=preactivation
    )
    # In pre-activation order the first of every block and the head's stand behind sums.
    check(model, normal(2, 8, 8, 3), affine=4 if preactivation else 0)


@pytest.mark.every_backend
def test_stacks():
    model = models.ResidualMLP(6, units=8, scheme="batch_norm", stacked=True)
    folded = check(model, normal(2, 40))
    stacks = [x for x in folded.layers if isinstance(x, fixinit.layers.Stack)]
    assert len(stacks) == 1 and stacks[0].depth == 6


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Conv2D(6, 3, padding="same"),
        lambda: layers.Conv2D(6, 3, groups=3, use_bias=False),
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
        lambda: layers.SeparableConv2D(6, 3),
        lambda: layers.Conv2DTranspose(6, 3, strides=2),
        lambda: layers.Dense(6, use_bias=False),
    ],
    ids=["conv", "grouped", "depthwise", "separable", "transposed", "dense"],
)
def test_every_kind_of_weight_layer(layer):
    inputs = keras.Input((6, 6, 3))
    x = layers.BatchNormalization(scale=False)(layer()(inputs))
    x = layers.BatchNormalization(center=False)(x)
    model = keras.Model(inputs, layers.ReLU()(x))
    check(model, normal(2, 6, 6, 3), affine=0)


def activated(x, norm):
    return norm(layers.Dense(4, "relu")(x))


def dropped(x, norm):
    return norm(layers.Dropout(0.5)(layers.Dense(4)(x)))


def read_twice(x, norm):
    x = layers.Dense(4)(x)
    return layers.concatenate([norm(x), x])


def shared(x, norm):
    dense = layers.Dense(4)
    return layers.add([norm(dense(x)), dense(2 * x)])


def of_the_input(x, norm):
    return norm(x)


@pytest.mark.parametrize(
    "outputs", [activated, dropped, read_twice, shared, of_the_input]
)
def test_what_no_weight_layer_can_take(outputs):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, outputs(inputs, layers.BatchNormalization()))
    check(model, normal(3, 4), affine=1)


@pytest.mark.parametrize("all_frozen", [False, True])
def test_nested_models_and_frozen_layers(all_frozen):
    inner = keras.Sequential(
        [keras.Input((8,)), layers.Dense(8), layers.BatchNormalization()], name="inner"
    )
    inner.layers[0].trainable = False
    inner.layers[1].trainable = not all_frozen
    inputs = keras.Input((8,))
    x = layers.add([inputs, inner(inputs)])
    # What could be trained can be still: it does not go into a frozen layer.
    folded = check(keras.Model(inputs, x), normal(2, 8), affine=int(not all_frozen))
    trainable = [x.trainable for x in folded.get_layer("inner").layers[1:]]
    assert trainable == ([False] if all_frozen else [False, True])


@on_torch
def test_training_goes_on():
    model = models.ResidualMLP(2, units=8, scheme="batch_norm")
    folded = check(model, normal(2, 40))
    folded.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = folded.fit(normal(64, 40), np.arange(64) % 10, epochs=3, verbose=0)
    assert losses.history["loss"][-1] < losses.history["loss"][0]


def test_normalization_without_statistics_is_refused_or_kept():
    inputs = keras.Input((4,))
    x = layers.BatchNormalization()(layers.Dense(4)(inputs))
    model = keras.Model(inputs, layers.LayerNormalization(name="norm")(x))
    with pytest.raises(ValueError, match="norm .LayerNormalization.*keep"):
        fixinit.convert(model, weights="fold")
    check(model, normal(2, 4), keep=("norm",))


def test_normalization_of_every_step_of_time():
    inputs = keras.Input((3, 4, 4, 4))
    norm = layers.TimeDistributed(layers.BatchNormalization(axis=3))
    check(keras.Model(inputs, norm(inputs)), normal(2, 3, 4, 4, 4), affine=1)


def test_statistics_of_the_batch_are_refused():
    inputs = keras.Input((4,))
    outputs = layers.BatchNormalization(name="norm")(inputs, training=True)
    for act in (fixinit.convert, fixinit.conversion.explain):
        with pytest.raises(ValueError, match="norm.*training=True"):
            act(keras.Model(inputs, outputs), weights="fold")


def test_models_that_are_always_in_training_mode_are_refused():
    inner = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization()], name="inner"
    )
    inputs = keras.Input((4,))
    model = keras.Model(inputs, inner(inputs, training=True))
    with pytest.raises(ValueError, match="training=True.*inner"):
        fixinit.convert(model, weights="fold")


class Normed(layers.Dense):
    """A weight layer that divides its kernel by its norm."""

    def call(self, x):
        return x @ (self.kernel / keras.ops.norm(self.kernel)) + self.bias


def test_kernels_that_are_not_used_as_they_are_stay():
    inputs = keras.Input((4,))
    x = layers.BatchNormalization()(Normed(4)(inputs))
    check(keras.Model(inputs, x), normal(2, 4), affine=1)


def test_statistics_of_the_data_stay():
    standardize = layers.Normalization()
    standardize.adapt(3 + 5 * normal(64, 4))
    inputs = keras.Input((4,))
    x = layers.BatchNormalization()(layers.Dense(4)(standardize(inputs)))
    check(keras.Model(inputs, x), normal(2, 4), affine=0)


def test_kernels_that_training_constrains_stay():
    inputs = keras.Input((4,))
    weight = layers.Dense(4, kernel_constraint=keras.constraints.UnitNorm())
    x = layers.BatchNormalization()(weight(inputs))
    check(keras.Model(inputs, x), normal(2, 4), affine=1)


def test_channels_are_those_of_the_weight_layer():
    """A Dense layer has its own as the last axis, whatever comes before it."""
    inputs = keras.Input((4, 8))
    x = layers.AveragePooling1D(2, data_format="channels_first")(inputs)
    x = layers.BatchNormalization(axis=1)(layers.Dense(4)(x))
    check(keras.Model(inputs, x), normal(2, 4, 8), affine=1)


def test_statistics_of_the_batch_may_be_kept():
    inputs = keras.Input((4,))
    norm = layers.BatchNormalization(name="norm")
    model = keras.Model(inputs, norm(inputs, training=True))
    folded = fixinit.convert(trained(model), weights="fold", keep=("norm",))
    x = normal(64, 4)
    np.testing.assert_array_equal(folded.predict(x), model.predict(x))


def test_explains_what_is_folded(capsys):
    model = models.ResidualMLP(2, units=8, scheme="batch_norm")
    record = fixinit.conversion.explain(model, weights="fold")
    assert "folded" in capsys.readouterr().out
    assert not any(b["zero"] for block in record.blocks for b in block["branches"])


@pytest.mark.parametrize("use_bias", [False, True])
def test_spectral_normalization_in_front(use_bias):
    wrapped = layers.SpectralNormalization(layers.Conv2D(4, 3, use_bias=use_bias))
    inputs = keras.Input((6, 6, 3))
    x = layers.BatchNormalization()(wrapped(inputs))
    folded = check(keras.Model(inputs, x), normal(4, 6, 6, 3), affine=0)
    taken = folded.conversion["removed"]
    assert set(taken) == {"SpectralNormalization", "BatchNormalization"}


def test_regularized_activities_stay_what_they_are():
    inputs = keras.Input((4,))
    dense = layers.Dense(4, activity_regularizer="l2")
    model = keras.Model(inputs, layers.BatchNormalization()(dense(inputs)))
    folded = check(model, normal(8, 4), affine=1)
    x = normal(8, 4)
    model(x), folded(x)
    assert_close(folded.losses[0], model.losses[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "wrap", [layers.TimeDistributed, lambda x: layers.Pipeline([x])]
)
def test_statistics_of_data_inside_of_wrappers(wrap):
    data = 5 + 3 * normal(100, 4)
    known = layers.Normalization()
    known.adapt(data)
    inputs = keras.Input((6, 4))
    x = layers.BatchNormalization()(layers.Dense(8)(wrap(known)(inputs)))
    model = trained(keras.Model(inputs, x))
    x = 5 + 3 * normal(4, 6, 4)
    folded = fixinit.convert(model, weights="fold").predict(x)
    np.testing.assert_allclose(folded, model.predict(x), rtol=1e-4, atol=1e-5)
    free = fixinit.convert(model, "rezero")
    assert_close(free.layers[1](x), model.layers[1](x), rtol=1e-6)


def test_weights_that_an_operation_reads_keep_their_statistics_out():
    inputs = keras.Input((6,))
    dense = layers.Dense(16, use_bias=False)
    x = layers.ReLU()(layers.BatchNormalization()(dense(inputs)))
    model = keras.Model(inputs, ops.einsum("bh,ih->bi", x, dense.kernel))
    check(model, normal(8, 6), affine=1)


@slow_where_compiled
@pytest.mark.every_backend
def test_standardized_kernels_are_baked_in():
    model = fixinit.models.NFNet(
        stages=(1, 3, 1, 1),
        filters=(16, 16, 16, 16),
        group_size=8,
        input_shape=(32, 32, 3),
        scheme=fixinit.schemes.NormalizerFree(initial_gain=1.0),
        stacked=True,
        seed=0,
    )
    folded = fixinit.convert(model, weights="fold")
    kinds = (fixinit.layers.StandardizedKernel, fixinit.layers.Stack)
    left = [x for x in folded._flatten_layers() if isinstance(x, kinds)]
    assert all(isinstance(x, fixinit.layers.Stack) for x in left) and left
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(folded.predict(x, verbose=0), expected, atol=1e-6)


def test_statistics_behind_a_standardized_kernel_fold_into_it():
    x = keras.Input((6,))
    h = fixinit.layers.standardized(keras.layers.Dense(4, use_bias=False))(x)
    model = keras.Model(x, keras.layers.BatchNormalization()(h))
    rng = np.random.default_rng(0)
    model.layers[-1].set_weights(list(rng.uniform(0.5, 2, (4, 4))))
    folded = fixinit.convert(model, weights="fold")
    assert [type(layer) for layer in folded.layers[1:]] == [keras.layers.Dense]
    batch = rng.standard_normal((5, 6)).astype("float32")
    expected = model.predict(batch, verbose=0)
    np.testing.assert_allclose(folded.predict(batch, verbose=0), expected, atol=1e-5)

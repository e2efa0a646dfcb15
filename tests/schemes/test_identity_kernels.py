"""The schemes of constant kernels, ZerO and IDInit."""

import keras
import numpy as np
import pytest

import fixinit
from fixinit import initializers, schemes
from fixinit.schemes import Site
from tests.marks import slow_on_tensorflow

SCHEMES = {"zero_init": initializers.ZerO, "idinit": initializers.IDInit}


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("name", SCHEMES)
def test_roles(name):
    scheme, kind = schemes.get(name), SCHEMES[name]
    for role in ("branch", "stem", "projection", "trunk"):
        assert isinstance(scheme.kernel_initializer(Site(0, 4, role=role)), kind)
    for role in ("embedding", "query", "value"):
        made = scheme.kernel_initializer(Site(0, 4, role=role))
        assert isinstance(made, keras.initializers.HeNormal)


def test_last_layers():
    last, head = Site(0, 4, layer=1), Site(0, 4, role="head")
    for site in (last, head):
        zeros = schemes.ZerO().kernel_initializer(site)((3, 3))
        assert not numpy(zeros).any()
        small = schemes.IDInit().kernel_initializer(site)((3, 3))
        np.testing.assert_allclose(numpy(small), 1e-6 * np.eye(3), rtol=1e-4)


@pytest.mark.parametrize("name", SCHEMES)
def test_layers_of_every_kind_get_kernels_that_fit(name):
    scheme, kind = schemes.get(name), SCHEMES[name]
    layers, site = keras.layers, Site(0, 4)
    drawn = scheme.kernel_initializer(site)
    for layer, argument in {
        layers.Dense(4): "kernel_initializer",
        layers.Conv2D(4, 3, groups=2): "kernel_initializer",
        layers.DepthwiseConv1D(3): "depthwise_initializer",
    }.items():
        plain = type(layer).from_config({**layer.get_config(), argument: drawn})
        found = getattr(scheme.weight_layer(site, plain), argument)
        assert isinstance(found, kind)
        assert found.groups == getattr(layer, "groups", 1)
        assert found.depthwise == (argument == "depthwise_initializer")
    separable = layers.SeparableConv1D(4, 3, pointwise_initializer=drawn)
    found = scheme.weight_layer(site, separable).pointwise_initializer
    assert isinstance(found, keras.initializers.HeNormal)
    for layer in (
        layers.EinsumDense("ab,bcd->acd", (2, 3)),
        layers.Conv2DTranspose(4, 2),
    ):
        plain = type(layer).from_config(
            {**layer.get_config(), "kernel_initializer": drawn}
        )
        found = scheme.weight_layer(site, plain).kernel_initializer
        assert isinstance(found, keras.initializers.HeNormal)


def test_idinit_passes_a_gain_on_to_layers_of_other_kinds():
    scheme, last = schemes.IDInit(0.5), Site(0, 4, layer=1)
    layer = keras.layers.EinsumDense(
        "ab,bc->ac", 3, kernel_initializer=scheme.kernel_initializer(last)
    )
    found = scheme.weight_layer(last, layer).kernel_initializer
    assert isinstance(found, initializers.Rescaled) and found.gain == 0.5


@pytest.mark.parametrize("gain", [0, -1, np.nan, "a"])
def test_idinit_refuses(gain):
    with pytest.raises(ValueError, match="`last_gain` must be a"):
        schemes.IDInit(gain)


@pytest.mark.parametrize("gain", [1e-6, 0.5])
def test_idinit_grows_as_its_closed_form_says(gain):
    scheme = schemes.IDInit(gain)
    model = fixinit.models.ResidualMLP(
        4, 8, scheme=scheme, preactivation=True, input_shape=(8,), seed=0
    )
    x = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")
    # With its mirror image, it is symmetric around 0 exactly.
    found = fixinit.diagnostics.block_statistics(model, np.concatenate([x, -x]))
    expected = scheme.predicted_variance(4, float(np.mean(x**2)))
    np.testing.assert_allclose(found.mean_square, expected, rtol=1e-5)


@slow_on_tensorflow
@pytest.mark.every_backend
@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("dimension", [1, 2])
def test_networks_start_as_the_identity_and_train(name, dimension):
    model = fixinit.models.ResNet(
        (2, 1),
        (4, 8),
        scheme=name,
        input_shape=(*(8,) * dimension, 4),
        classes=3,
        seed=0,
        preactivation=True,
    )
    x = np.random.default_rng(0).normal(size=(6, *(8,) * dimension, 4))
    x, y = x.astype("float32"), np.arange(6) % 3
    block = keras.Model(model.inputs[0], model.get_layer("stage1_block2").output)
    np.testing.assert_allclose(numpy(block(x)), x, rtol=1e-4, atol=1e-4)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    first = float(model.train_on_batch(x, y))
    for _ in range(10):
        last = float(model.train_on_batch(x, y))
    assert first == pytest.approx(np.log(3), rel=1e-3) and last < 0.9 * first


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_converts_a_network_of_many_kinds(name):
    layers = keras.layers
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same")(x)
    for kind in (
        layers.DepthwiseConv2D(3, padding="same"),
        layers.Conv2D(8, 3, padding="same", groups=2),
        layers.SeparableConv2D(8, 3, padding="same"),
    ):
        y = layers.ReLU()(layers.BatchNormalization()(kind(x)))
        y = layers.BatchNormalization()(layers.Conv2D(8, 1)(y))
        x = layers.Add()([x, y])
    x = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    free = fixinit.convert(keras.Model(inputs, x), name, seed=0)
    assert [b["branches"][0]["depth"] for b in free.conversion["blocks"]] == [2, 2, 2]
    y = numpy(free(np.random.default_rng(0).normal(size=(4, 8, 8, 3))))
    assert np.isfinite(y).all() and np.abs(y).max() < 1e-3

"""The factor on kernels that puts a model on the edge of chaos."""

import math

import keras
import numpy as np
import pytest

import fixinit
from fixinit import backend, theory
from tests.marks import on_torch

layers = keras.layers


def plain(activation, depth=20, kernel="lecun_normal", bias=None, width=64):
    """Dense layers in a row."""
    x = inputs = keras.Input((width,))
    for _ in range(depth):
        x = layers.Dense(
            width, kernel_initializer=kernel, bias_initializer=bias or "zeros"
        )(x)
        x = layers.Activation(activation)(x)
    return keras.Model(inputs, layers.Dense(10)(x))


@pytest.mark.parametrize("keep", ["gradient", "variance"])
def test_relu_networks_are_critical_at_two_over_fan_in(keep):
    assert theory.critical_factor(plain("relu"), keep) == pytest.approx(2, rel=1e-9)
    he = plain("relu", kernel="he_normal")
    assert theory.critical_factor(he, keep) == pytest.approx(1, rel=1e-9)


def test_convolutions_are_critical_where_dense_layers_are_but_for_their_borders():
    x = inputs = keras.Input((8, 8, 16))
    for _ in range(6):
        x = layers.Conv2D(16, 3, activation="relu", kernel_initializer="he_normal")(
            layers.ZeroPadding2D(1)(x)
        )
    model = keras.Model(inputs, layers.Dense(10)(layers.Flatten()(x)))
    # A part of the taps reads zeros: the same part is missing on the way back.
    factor = theory.critical_factor(model)
    assert factor == pytest.approx(theory.critical_factor(model, "variance"), rel=0.05)
    assert 1.1 < factor < 1.3


@on_torch
def test_tanh_networks_are_critical_at_the_edge_of_chaos():
    # Schoenholz et al. 2017: 1.76 at a bias variance of 0.05, at the fixed point.
    weight, q = theory.edge_of_chaos("tanh", 0.05)
    bias = keras.initializers.RandomNormal(0.0, math.sqrt(0.05))
    model = plain("tanh", depth=25, bias=bias)
    # The first layer's variance is q* as well.
    start = (q - 0.05) / weight
    factor = theory.critical_factor(model, input_variance=start)
    assert factor == pytest.approx(weight, rel=1e-3)


@on_torch
def test_what_comes_before_the_fixed_point_counts():
    # Without biases the edge is at 1 for ever deeper networks. From inputs of
    # variance 1 on, tanh loses gradient on its first layers, which others make up for.
    short, long = (theory.critical_factor(plain("tanh", depth)) for depth in (5, 12))
    assert 1 < long < 1.9 < short
    small = theory.critical_factor(plain("tanh", 5), input_variance=1e-6)
    assert small == pytest.approx(1.0, abs=1e-4)


@on_torch
def test_gradients_keep_their_size_at_it():
    factor = theory.critical_factor(plain("tanh", 12, width=256))
    kernel, ratios = keras.initializers.VarianceScaling(factor, seed=None), []
    rng = np.random.default_rng(0)
    for seed in range(4):
        keras.utils.set_random_seed(seed)
        model = plain("tanh", 12, lambda *a, **k: kernel.clone()(*a, **k), width=256)
        first, last = (model.layers[i].output for i in (1, 23))
        start = keras.Model(model.input, first)
        middle = keras.Model(first, last)
        x, g = rng.standard_normal((2, 16, 256)).astype("float32")
        g = keras.ops.convert_to_tensor(g)
        h = keras.ops.stop_gradient(start(x))

        def loss(values, _, middle=middle, g=g):
            return keras.ops.sum(middle(values[0]) * g)

        _, (gradient,) = backend.value_and_gradients(loss)([h], [])
        ratios.append(np.mean(keras.ops.convert_to_numpy(gradient) ** 2))
    error = np.std(ratios, ddof=1) / np.sqrt(len(ratios))
    assert abs(np.mean(ratios) - 1) < 4 * error + 0.02


def residual(scheme, blocks=10, **options):
    return fixinit.models.ResidualMLP(blocks, 32, scheme=scheme, **options)


@on_torch
def test_residual_networks_need_a_growth_or_a_scaled_shortcut():
    # Every block multiplies the gradient's mean square by 1 + factor^2: two kernels.
    factor = theory.critical_factor(residual("unnormalized"), growth=math.e)
    assert 1 + factor**2 == pytest.approx(math.exp(1 / 10), rel=1e-6)
    with pytest.raises(ValueError, match="pass what may be tolerated"):
        theory.critical_factor(residual("unnormalized"))
    summed = theory.critical_factor(residual("normalized_sum"))
    assert summed == pytest.approx(1, rel=1e-9)
    with pytest.raises(ValueError, match="No factor"):
        theory.critical_factor(residual("rezero"), growth=2.0)


@pytest.mark.parametrize("stacked", [True, False])
def test_stacks_are_like_separate_blocks(stacked):
    model = residual("unnormalized", 6, stacked=stacked)
    # From the stem to the last sum there are six blocks.
    factor = theory.critical_factor(model, growth=2.0)
    assert (1 + factor**2) ** 6 == pytest.approx(2.0, rel=1e-6)


def test_ends_can_be_named():
    model = residual("unnormalized", stacked=False)
    factor = theory.critical_factor(
        model, growth=2.0, first="block1/merge", last="block2/merge"
    )
    assert factor == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: theory.critical_factor(plain("relu", 1)), "two weight layers"),
        (lambda: theory.critical_factor(plain("relu", 3), "x"), "`keep` must be one"),
        (lambda: theory.critical_factor(plain("relu", 3), growth=0), "`growth` must"),
        (lambda: theory.critical_factor(plain("relu", 3), first="x"), "`first` must"),
        (lambda: theory.critical_factor(residual("fixup")), "Leave out a head"),
        (
            lambda: theory.predict(plain("relu", 3), kernel_factor=-1.0),
            "`kernel_factor` must be",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

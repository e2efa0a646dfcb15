"""What weight layers were given on purpose stays, or is named."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from tests.conversion.helpers import convert, normal, said, still, zeros
from tests.marks import on_torch


def stack(x, **options):
    for _ in range(2):
        y = layers.Dense(16, "relu")(layers.BatchNormalization()(x))
        x = x + layers.Dense(16, **options)(y)
    return x


def constant(value):
    return keras.initializers.Constant(value)


def test_kernels_of_zeros_with_a_bias():
    """The localization network of a spatial transformer starts at the identity."""
    identity = np.array([1, 0, 0, 0, 1, 0], "float32")
    inputs = keras.Input((6,))
    theta = layers.Dense(
        6, kernel_initializer="zeros", bias_initializer=constant(identity), name="theta"
    )(layers.Dense(8, "relu")(inputs))
    x = layers.Dense(16)(layers.concatenate([inputs, theta]))
    model = keras.Model(inputs, layers.Dense(2)(stack(x)))
    free = convert(model)
    kernel, bias = (ops.convert_to_numpy(w) for w in free.get_layer("theta").weights)
    assert not np.any(kernel)
    np.testing.assert_array_equal(bias, identity)
    assert "zero on purpose" in (text := said(model)) and "theta" in text


def test_zeros_at_the_end_of_a_branch_are_the_schemes():
    inputs = keras.Input((16,))
    model = keras.Model(inputs, stack(inputs, kernel_initializer="zeros", name=None))
    free = convert(model, "skip_init")
    assert zeros(free) == ["multiplier"] * 2
    kernels = [x.kernel for x in free.layers if isinstance(x, layers.Dense)]
    assert all(np.any(ops.convert_to_numpy(kernel)) for kernel in kernels)
    assert "zero on purpose" not in said(model)


def test_zero_heads_stay_zero():
    inputs = keras.Input((16,))
    head = layers.Dense(2, kernel_initializer="zeros", name="head")
    free = convert(keras.Model(inputs, head(stack(inputs))), "skip_init")
    assert not np.any(ops.convert_to_numpy(free.get_layer("head").kernel))
    (other,) = free.conversion["others"]
    assert other["zero"]


@pytest.mark.parametrize("scheme", ["fixup", "scaled_residual"])
def test_offsets_of_gates_stay(scheme):
    """Highways: a gate that starts nearly shut, from a condition or from the stream."""
    inputs, condition = keras.Input((16,)), keras.Input((4,))
    x = layers.Dense(16)(inputs)
    for number, read in enumerate((x, condition)):
        gate = layers.Dense(
            16, "sigmoid", bias_initializer=constant(-3.0), name=f"gate{number}"
        )
        x = x * gate(read)
    free = convert(keras.Model([inputs, condition], layers.Dense(2)(stack(x))), scheme)
    for number in range(2):
        bias = ops.convert_to_numpy(free.get_layer(f"gate{number}").bias)
        np.testing.assert_array_equal(bias, np.full(16, -3.0))


def test_biases_on_purpose_in_branches_are_closed_by_a_multiplier():
    inputs = keras.Input((16,))
    model = keras.Model(inputs, stack(inputs, bias_initializer=constant(0.3)))
    free = convert(model)
    assert zeros(free) == ["multiplier"] * 2
    np.testing.assert_allclose(ops.convert_to_numpy(free(np.ones((1, 16)))), 1)
    assert "elsewhere than at zero stay" in said(model)
    assert not still(free)


def test_random_biases_are_no_purpose():
    inputs = keras.Input((16,))
    bias = keras.initializers.RandomNormal(stddev=0.01)
    free = convert(keras.Model(inputs, stack(inputs, bias_initializer=bias)))
    assert zeros(free) == ["kernel"] * 2


@on_torch
@pytest.mark.parametrize("scheme", ["fixup", "scaled_residual", "skip_init"])
@pytest.mark.parametrize("constraint", ["max_norm", "unit_norm"])
def test_kernels_start_inside_their_constraint(scheme, constraint):
    """As EEGNet has it: the first step changes nothing but what the gradient does."""
    inputs = keras.Input((16, 8, 1))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    x = layers.DepthwiseConv2D(
        (1, 8), depth_multiplier=2, depthwise_constraint=constraint, name="space"
    )(x)
    x = layers.Flatten()(layers.ELU()(layers.BatchNormalization()(x)))
    x = layers.Dense(8, "elu", kernel_constraint=constraint, name="hidden")(x)
    head = layers.Dense(4, "softmax", kernel_constraint=constraint, name="head")
    model = keras.Model(inputs, head(x))
    free = convert(model, scheme)
    for name in ("space", "hidden", "head"):
        layer = free.get_layer(name)
        limit = getattr(layer, "depthwise_constraint", None) or layer.kernel_constraint
        kernel = layer.weights[0]
        np.testing.assert_allclose(
            ops.convert_to_numpy(limit(kernel.value)),
            ops.convert_to_numpy(kernel),
            rtol=1e-3,
        )
    assert "start inside of them" in (text := said(model, scheme))
    assert "space" in text and "hidden" in text


def test_regularizers_stay():
    inputs = keras.Input((16,))
    options = {
        "kernel_regularizer": keras.regularizers.L2(0.1),
        "bias_regularizer": keras.regularizers.L2(0.1),
    }
    model = keras.Model(inputs, stack(inputs, **options))
    free = convert(model)
    held = [x.kernel_regularizer for x in free.layers if isinstance(x, layers.Dense)]
    assert [x is not None for x in held] == [False, True] * 2
    assert "with them their regularizers" in said(model)
    assert "with them their regularizers" not in said(model, "skip_init")


def test_one_initializer_for_many_layers_is_said():
    initializer = keras.initializers.HeNormal()
    x = inputs = keras.Input((16,))
    for name in "abc":
        x = layers.Dense(16, "relu", kernel_initializer=initializer, name=name)(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    text = "\n".join(fixinit.conversion.explain(model).assumptions)
    assert "equal kernels in the model: a, b, c" in text
    kernels = [ops.convert_to_numpy(convert(model).get_layer(n).kernel) for n in "abc"]
    assert not np.allclose(kernels[0], kernels[1])


@pytest.mark.parametrize("seed, says", [(3, True), (None, False)])
def test_equal_seeds_are_said(seed, says):
    x = inputs = keras.Input((16,))
    for _ in range(2):
        initializer = keras.initializers.HeNormal(seed=seed)
        x = layers.Dense(16, "relu", kernel_initializer=initializer)(x)
    text = said(keras.Model(inputs, layers.Dense(2)(x)))
    assert ("equal seeds" in text) == says


def test_a_seed_generator_draws_anew():
    initializer = keras.initializers.HeNormal(seed=keras.random.SeedGenerator(1))
    x = inputs = keras.Input((16,))
    for _ in range(2):
        x = layers.Dense(16, "relu", kernel_initializer=initializer)(x)
    assert "equal seeds" not in said(keras.Model(inputs, layers.Dense(2)(x)))


def test_priors_of_ones_own_class():
    class Prior(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return ops.full(shape, -4.0, dtype)

        def get_config(self):
            return {}

    inputs = keras.Input((16,))
    gate = layers.Dense(16, "sigmoid", bias_initializer=Prior(), name="gate")
    x = inputs * gate(keras.layers.Dense(4)(inputs))
    free = convert(keras.Model(inputs, layers.Dense(2)(stack(x))))
    assert float(ops.mean(free.get_layer("gate").bias)) == -4.0
    assert np.all(np.isfinite(ops.convert_to_numpy(free(normal(2, 16)))))


@on_torch
@pytest.mark.parametrize("scheme", ["fixup", "rezero", "scaled_residual"])
def test_branches_that_are_shut_by_zeros_of_their_own(scheme):
    """Diffusion transformers: the condition makes shift, scale and gate of zeros."""
    inputs = x, condition = keras.Input((4, 16)), keras.Input((8,))
    for number in range(3):
        options = {"kernel_initializer": "zeros", "name": f"modulation{number}"}
        made = layers.Dense(48, **options)(ops.silu(condition))
        shift, scale, gate = ops.split(layers.Reshape((1, 48))(made), 3, axis=-1)
        y = layers.LayerNormalization(center=False, scale=False)(x)
        y = layers.Dense(32, "gelu")(y * (1 + scale) + shift)
        x = x + gate * layers.Dense(16)(y)
    model = keras.Model(inputs, layers.Dense(2)(x))
    free = convert(model, scheme)
    assert free.conversion["num_branches"] == 3 and zeros(free) == [None] * 3
    kernel = free.get_layer("modulation0").kernel
    assert not np.any(ops.convert_to_numpy(kernel))
    data = [normal(16, 4, 16), normal(16, 8)]
    assert not [
        path
        for path in still(free, data, normal(16, 4, 2))
        if "scalar" not in path and "modulation" not in path and "bias" not in path
    ]
    assert "factor of the model's own" in said(model, scheme)


@pytest.mark.parametrize("bound", [0.01, None])
def test_streams_whose_size_a_constraint_has_are_said(bound):
    constraint = keras.constraints.MaxNorm(bound) if bound else None
    inputs = keras.Input((16,))
    x = layers.Dense(16, kernel_constraint=constraint, name="stream")(inputs)
    y = layers.Dense(16)(layers.ReLU()(layers.BatchNormalization()(x)))
    text = said(keras.Model(inputs, layers.Dense(2)(layers.add([x, y]))), "skip_init")
    assert ("kernels that the scheme draws: stream" in text) is bool(bound)

"""Ten kinds of networks without stem and head."""

import contextlib

import keras
import numpy as np
from keras.initializers import Orthogonal, VarianceScaling

import fixinit
from fixinit.initializers import DeltaOrthogonal, LooksLinear
from recipes.common.plotting.variants import variant

# Small inputs to tanh, where it is nearly linear and the edge of chaos near 1.
TANH_INPUT = 0.1
LENGTH = 8  # Positions of the convolutional networks.


def equal(label, kernel, activation="tanh", convolutional=False):
    """Equal layers without shortcuts."""
    options = {"activation": activation, "convolutional": convolutional}
    return variant(label, "#00877a", kernel=kernel, **options)


def residual(label, scheme):
    return variant(label, "#00877a", scheme=scheme)


def gaussian(gain=1.0):
    return VarianceScaling(gain, distribution="untruncated_normal", seed=0)


def orthogonal(gain=1.0):
    return Orthogonal(gain, seed=0)


KINDS = {
    "he_relu": equal("Gaussian, ReLU (He)", gaussian(2.0), "relu"),
    "orthogonal_relu": equal("Orthogonal, ReLU", orthogonal(np.sqrt(2)), "relu"),
    "looks_linear": equal("Looks-linear, CReLU", LooksLinear(seed=0), "crelu"),
    "gaussian_tanh": equal("Gaussian, tanh", gaussian()),
    "orthogonal_tanh": equal("Orthogonal, tanh", orthogonal()),
    "gaussian_convolution": equal(
        "Gaussian convolutions, tanh", gaussian(), convolutional=True
    ),
    "delta_orthogonal": equal(
        "Delta-orthogonal convolutions, tanh",
        DeltaOrthogonal(seed=0),
        convolutional=True,
    ),
    "unnormalized": residual("Residual, He alone", "unnormalized"),
    "scaled_residual": residual("Residual, branches x 1/sqrt(L)", "scaled_residual"),
    "fixup": residual("Fixup", "fixup"),
}


def build(settings, kind, depth):
    """A network, and inputs for it."""
    options = KINDS[kind].options
    shape, is_small = (settings.units,), False
    if "scheme" in options:
        model = residual_blocks(settings, depth, **options)
    else:
        if options["convolutional"]:
            shape = (LENGTH, settings.units // 8)
        model = equal_layers(layer(shape[-1], **options), depth, shape)
        is_small = options["activation"] != "relu"
    rng = np.random.default_rng(settings.seed)
    x = rng.standard_normal((settings.num_inputs, *shape))
    return model, TANH_INPUT * x if is_small else x


def residual_blocks(settings, depth, scheme):
    model = fixinit.models.ResidualMLP(
        depth,
        settings.units,
        scheme=scheme,
        input_shape=(settings.units,),
        seed=settings.seed,
        stacked=depth > 1,
    )
    blocks = model.get_layer("blocks" if depth > 1 else "block1")
    return keras.Model(blocks.input, blocks.output)


def equal_layers(layer, depth, shape):
    block = fixinit.layers.ResidualBlock(layer, plain=True)
    return keras.Sequential([keras.Input(shape), fixinit.layers.Stack(block, depth)])


def layer(units, kernel, activation, convolutional):
    """Activation and weights, in the order that keeps the width."""
    options = {"kernel_initializer": kernel, "use_bias": False}
    if activation == "crelu":
        return [fixinit.layers.CReLU(), keras.layers.Dense(units, **options)]
    if convolutional:
        weights = keras.layers.Conv1D(units, 3, padding="same", **options)
    else:
        weights = keras.layers.Dense(units, **options)
    return [weights, keras.layers.Activation(activation)]


@contextlib.contextmanager
def double_precision():
    """Networks in float64: Jacobians of deep ones span more than float32 resolves.

    JAX stays at float32, unless JAX_ENABLE_X64 is set.
    """
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)

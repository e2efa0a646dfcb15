"""Eleven kinds of networks from a number to a number."""

import keras
import numpy as np
from keras import ops

from fixinit.initializers import LooksLinear
from fixinit.layers import CReLU, ResidualBlock, ScaledAdd, Stack
from recipes.common.plotting.variants import variant


def kind(*look, shortcut=False, normalize="", scale=1.0, gain=2.0):
    """Label and style; what is normalized, the scale of branches, the kernels' gain."""
    options = {"normalize": normalize, "scale": scale, "gain": gain}
    return variant(*look, shortcut=shortcut, **options)


def residual(*look, **options):
    return kind(*look, shortcut=True, **options)


BOTH = "mean and variance"
# What shatters for one reason has one color.
KINDS = {
    "feedforward": kind("Feedforward", "#1a1a1a"),
    "feedforward_glorot": kind(
        "Feedforward, Glorot (notebook)", "#1a1a1a", "--", gain=1.0
    ),
    "feedforward_batch_norm": kind(
        "Feedforward + BatchNorm", "#c0242e", normalize=BOTH
    ),
    "feedforward_centered": kind(
        "Feedforward, mean removed only", "#c0242e", "--", normalize="mean"
    ),
    "feedforward_rescaled": kind(
        "Feedforward, rescaled only", "#1a1a1a", ":", normalize="variance"
    ),
    "looks_linear": kind("Looks-linear", "#f0a030", gain=1.0),
    "residual": residual("Residual", "#3b2f9b"),
    "residual_scaled": residual("Residual, branches x 0.1", "#3b2f9b", "--", scale=0.1),
    "residual_batch_norm": residual("Residual + BatchNorm", "#00877a", normalize=BOTH),
    "residual_batch_norm_scaled": residual(
        "Residual + BatchNorm, x 0.1", "#00877a", "--", normalize=BOTH, scale=0.1
    ),
    "residual_batch_norm_behind": residual(
        "Residual + BatchNorm behind ReLU", "#cc79b4", normalize=BOTH
    ),
}


def build(kind, depth, units):
    """A network of that kind; `redraw` draws its weights."""
    options = KINDS[kind].options
    what = options["normalize"]
    activation = CReLU if kind == "looks_linear" else keras.layers.ReLU
    layers = [*([Normalization(what)] if what else []), activation()]
    if kind.endswith("behind"):
        layers.reverse()
    inputs = keras.Input((1,))
    x = keras.layers.Dense(units)(inputs)
    if depth > 1:
        block = ResidualBlock(
            [*layers, keras.layers.Dense(units)],
            merge=ScaledAdd(branch_scale=options["scale"]),
            plain=not options["shortcut"],
        )
        x = Stack(block, depth - 1)(x)
        x = Normalization(what)(x) if what else x
    x = keras.layers.Dense(1)(activation(name="last")(x))
    return keras.Model(inputs, x)


class Normalization(keras.layers.Layer):
    """Removes the mean of every unit over the inputs, its variance, or both.

    The derivative is that of the network that results, with statistics held fixed, as
    at test time.
    """

    def __init__(self, what, **kwargs):
        super().__init__(**kwargs)
        self.what = what

    def call(self, inputs):
        mean, variance = ops.moments(inputs, axes=0)
        mean, variance = ops.stop_gradient(mean), ops.stop_gradient(variance)
        x = inputs - mean if self.what != "variance" else inputs
        return x if self.what == "mean" else x * ops.rsqrt(variance + 1e-5)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "what": self.what}


def redraw(model, kind, seed):
    """Draws new weights: biases have the variance of the kernels."""
    rng = np.random.default_rng(seed)
    gain = KINDS[kind].options["gain"]
    stem = model.layers[1]
    for v in model.trainable_variables:
        shape = tuple(v.shape)
        is_stem = v.path.split("/")[-2] == stem.name
        # The notebook draws all alike; otherwise the stem keeps the input's size.
        variance = (
            gain if is_stem and kind != "feedforward_glorot" else gain / stem.units
        )
        if kind == "looks_linear" and v.path.endswith("kernel") and not is_stem:
            v.assign(mirrored(shape, rng))
        else:
            v.assign(np.sqrt(variance) * rng.standard_normal(shape))


def mirrored(shape, rng):
    """Kernels [W, -W] with orthogonal W, stacked along the first axes if there are."""
    kernels = [
        ops.convert_to_numpy(LooksLinear(seed=int(rng.integers(2**31)))(shape[-2:]))
        for _ in range(int(np.prod(shape[:-2])))
    ]
    return np.reshape(kernels, shape)

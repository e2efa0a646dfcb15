"""Networks whose weights are functions of time, and how they are made deeper."""

import numpy as np
from keras import ops

import fixinit
from recipes.common.plotting.variants import variant
from recipes.common.training import families

# The scale of the branches, and whether weights start smooth in depth.
STARTS = {
    "inverse_smooth": variant(
        "1/L, smooth start", "#00877a", marker="o", scale="inverse", smooth=True
    ),
    "inverse": variant(
        "1/L, independent start", "#3b2f9b", marker="s", scale="inverse", smooth=False
    ),
    "inverse_sqrt": variant(
        "1/√L, independent start",
        "#c0242e",
        marker="^",
        scale="inverse_sqrt",
        smooth=False,
    ),
}


def build(settings, data, scale, num_blocks):
    """An untrained network: x + h F(x), with two layers in F."""
    scheme = fixinit.schemes.ScaledResidual(scale)
    options = {"scheme": scheme, "seed": settings.seed, "stacked": True}
    return families.residual_mlp(data, num_blocks, settings.units, **options)


def stacked_weights(model):
    """The variables that hold a weight of every block, along a first axis."""
    return model.get_layer("blocks").trainable_variables


def values(model):
    """Their values, as arrays of their own."""
    return [np.array(ops.convert_to_numpy(v)) for v in stacked_weights(model)]


def start_smooth(model):
    """Gives every block weights between the draws of the first two."""
    for variable in stacked_weights(model):
        variable.assign(smooth(ops.convert_to_numpy(variable)))


def smooth(weights):
    """Weights that turn from the first block's draw to the second's with depth.

    `cos(t) w_1 + sin(t) w_2` has the variance of the draws at every t.
    """
    angles = np.pi / 2 * (np.arange(len(weights)) + 0.5) / len(weights)
    angles = angles.reshape(-1, *(1,) * (weights.ndim - 1))
    return np.cos(angles) * weights[0] + np.sin(angles) * weights[1]


def interpolated(weights, factor):
    """The weights of `factor` times as many blocks, linear between the centres.

    Block l of L stands for the time (l + 1/2) / L; before the first centre and after
    the last one, weights are constant.
    """
    depth = len(weights)
    times = (np.arange(factor * depth) + 0.5) / factor - 0.5
    times = np.clip(times, 0, depth - 1)
    before = np.minimum(times.astype(int), depth - 2)
    part = (times - before).reshape(-1, *(1,) * (weights.ndim - 1))
    return (1 - part) * weights[before] + part * weights[before + 1]


def deepened(settings, data, scale, model, factor):
    """The model with `factor` times as many blocks, and steps as its depth has them."""
    depth = stacked_weights(model)[0].shape[0]
    deeper = build(settings, data, scale, factor * depth)
    for new, old in zip(deeper.variables, model.variables, strict=True):
        value = ops.convert_to_numpy(old)
        new.assign(value if new.shape == old.shape else interpolated(value, factor))
    return deeper


def roughness(weights):
    """How much neighbours differ, relative to their size: root mean squares."""
    steps = sum(np.square(np.diff(w, axis=0)).sum(axis=0).sum() for w in weights)
    sizes = sum(np.square(w).sum() for w in weights)
    depth = len(weights[0])
    return float(np.sqrt(steps / (depth - 1) / (sizes / depth)))

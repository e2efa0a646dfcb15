"""The networks of `recipes.regularizing_residuals`, by the way they are regularized."""

import keras

import fixinit
from recipes.regularizing_residuals.residual_noise import (
    NOISES,
    DisturbedFixup,
    NoisyBatchNorm,
    two_branch_network,
)

# Whether random weights mix the two branches of a block, or their mean is taken.
TWO_BRANCHES = {"even": False, "shake_shake": True}
BATCH_NORMS = {
    "batch_norm_frozen": NoisyBatchNorm(size=0),
    "batch_norm_128": "batch_norm",
    "batch_norm_32": NoisyBatchNorm(size=32),
    "batch_norm_8": NoisyBatchNorm(size=8),
    "plain": "batch_norm",
}
DECAYS = ("weak_decay", "strong_decay")


def build(settings, way, data, seed):
    """The untrained network of one way.

    Args:
        settings: `recipes.regularizing_residuals.__main__.Settings`.
        way: One of `recipes.regularizing_residuals.reading.WAYS`.
        data: `recipes.common.data.datasets.Dataset` of vectors.
        seed: int.
    """
    size = (settings.num_blocks, settings.units)
    shape, classes = data.input_shape, data.num_classes
    if way in TWO_BRANCHES:
        return two_branch_network(*size, shape, classes, TWO_BRANCHES[way], seed)
    model = fixinit.models.ResidualMLP(
        *size,
        scheme=_scheme(settings, way, seed),
        plain=way == "plain",
        input_shape=shape,
        classes=classes,
        seed=seed,
        stacked=False,
    )
    if way in DECAYS:
        _decay_branches(model, getattr(settings, way))
    return model


def blocks(model):
    """The residual blocks of a network, in order."""
    return [x for x in model.layers if isinstance(x, fixinit.layers.ResidualBlock)]


def _scheme(settings, way, seed):
    if way in NOISES:
        return DisturbedFixup(noise=way, last=settings.survival, seed=seed)
    return BATCH_NORMS.get(way, "fixup")


def _decay_branches(model, strength):
    """Adds an L2 penalty to kernels of branches: its gradient is `strength * w`."""
    for block in blocks(model):
        for variable in block.trainable_variables:
            if len(variable.shape) == 2:
                variable.regularizer = keras.regularizers.L2(strength / 2)

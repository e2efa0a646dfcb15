"""Networks whose residual branches are disturbed: by layers, or by BatchNorm itself."""

import dataclasses

import keras
from keras import ops

from fixinit import _keras, initializers, layers, schemes

NOISES = {
    "stochastic_depth": layers.StochasticDepth,
    "shake_drop": layers.ShakeDrop,
}


@dataclasses.dataclass(frozen=True)
class DisturbedFixup(schemes.Fixup):
    """Fixup with noise at the end of every branch, more of it the deeper it is."""

    noise: str = "stochastic_depth"
    last: float = 0.5
    seed: int = 0

    name = "disturbed_fixup"
    depends_on_branch = True

    def branch_end(self, site):
        survival = layers.survival_probability(
            site.branch, site.num_branches, self.last
        )
        disturb = NOISES[self.noise](survival, seed=self.seed + site.branch)
        return [*super().branch_end(site), disturb]


class GhostBatchNormalization(keras.layers.BatchNormalization):
    """Normalizes `size` samples at a time, whatever the batch (Hoffer et al. 2017)."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs, training=None, mask=None):
        if not training:
            return super().call(inputs, training=False)
        groups = ops.reshape(inputs, (-1, self.size, inputs.shape[-1]))
        mean, variance = ops.moments(groups, axes=1, keepdims=True)
        for moving, found in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            new = ops.mean(found, axis=(0, 1))
            moving.assign(self.momentum * moving + (1 - self.momentum) * new)
        groups = (groups - mean) / ops.sqrt(variance + self.epsilon)
        return ops.reshape(groups, ops.shape(inputs)) * self.gamma + self.beta

    def get_config(self):
        return {**super().get_config(), "size": self.size}


class FrozenBatchNormalization(keras.layers.BatchNormalization):
    """Normalizes with statistics that were set once, in training too."""

    calibrating = False

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=self.calibrating)


def calibrate(model, x):
    """Sets what `FrozenBatchNormalization` layers normalize with to what `x` gives."""
    found = [
        layer
        for layer in _keras.flatten_layers(model)
        if isinstance(layer, FrozenBatchNormalization)
    ]
    for layer in found:
        layer.calibrating, layer.momentum = True, 0.0
    if found:
        model(x, training=True)
    for layer in found:
        layer.calibrating = False


@dataclasses.dataclass(frozen=True)
class NoisyBatchNorm(schemes.BatchNorm):
    """BatchNorm over `size` samples at a time, or with frozen statistics if 0."""

    size: int = 0

    name = "noisy_batch_norm"

    def before_activation(self, site):
        options = {"momentum": self.momentum, "epsilon": self.epsilon}
        if self.size:
            return [GhostBatchNormalization(self.size, **options)]
        return [FrozenBatchNormalization(**options)]


def two_branch_network(num_blocks, units, input_shape, classes, shaken, seed):
    """Fixup's network, of which every branch is two of half the inner width.

    Args:
        shaken: bool. Whether Shake-Shake mixes them, or their mean is taken.
        seed: int.
    """
    inputs = x = keras.Input(input_shape)
    stem = keras.initializers.HeNormal(seed=seed)
    x = keras.layers.Dense(units, kernel_initializer=stem)(x)
    for index in range(num_blocks):
        first = seed + 3 * index + 1
        mode = "shake" if shaken else "even"
        mix = layers.ShakeShake(mode, mode, seed=first + 2)
        branch_input = keras.Input((units,))
        branches = [
            _fixup_branch(branch_input, units, num_blocks, first + i) for i in range(2)
        ]
        branch = keras.Model(branch_input, mix(branches))
        x = layers.ResidualBlock([branch], name=f"block{index + 1}")(x)
    x = keras.layers.ReLU()(x)
    outputs = keras.layers.Dense(classes, kernel_initializer="zeros")(x)
    return keras.Model(inputs, outputs)


def _fixup_branch(x, units, num_blocks, seed):
    kernel = initializers.Fixup(num_blocks, seed=seed)
    x = keras.layers.ReLU()(layers.ScalarBias()(x))
    x = keras.layers.Dense(units // 2, "relu", kernel_initializer=kernel)(x)
    x = keras.layers.Dense(units, kernel_initializer="zeros")(x)
    return layers.ScalarMultiplier()(x)

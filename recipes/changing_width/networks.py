"""Networks whose width grows in five ways, and what their mean squares do."""

import keras
import numpy as np
from keras.initializers import HeNormal, LecunNormal

from fixinit.layers import ProjectionShortcut, ScaledAdd, ZeroPaddingShortcut
from recipes.common.plotting.variants import variant

# From dark to light.
WAYS = {
    "zero_padding": variant("zeros appended", "#1a1a1a", marker="s"),
    "projection": variant("projection, He", "#3b2f9b", "--", "o"),
    "projection_lecun": variant("projection, LeCun", "#c0242e", ":", "D"),
    "widening": variant("widened at every block", "#00877a", marker="^"),
    "concatenation": variant("concatenated", "#f0a030", "--", "v"),
}


def widths(settings, way):
    """The width before the first block and after every block."""
    blocks, first = settings.num_blocks, settings.units
    if way in ("widening", "concatenation"):
        grown = [first + 3 * first * block // blocks for block in range(1, blocks + 1)]
    else:
        grown = [first * 2 ** (3 * block // blocks) for block in range(blocks)]
    return [first, *grown]


def branch_scale(settings, way):
    # What is not added does not add up.
    return 1.0 if way == "concatenation" else settings.num_blocks**-0.5


def predicted(settings, way):
    """Mean square after every block, that of the first block's input being 1."""
    gain = branch_scale(settings, way) ** 2
    curve = [1.0]
    width = widths(settings, way)
    for before, after in zip(width[:-1], width[1:], strict=True):
        kept = 1.0
        if way in ("zero_padding", "widening"):
            kept = before / after
        elif way == "projection" and after > before:
            # He's variance makes up for a ReLU that no projection passes.
            kept = 2.0
        added = gain
        if way == "concatenation":
            kept, added = before / after, gain * (1 - before / after)
        curve.append(curve[-1] * (kept + added))
    return curve


def build(settings, way, data, seed):
    """The network, and the activations before the first and after every block."""
    rng = np.random.default_rng(seed)

    def draw(initializer):
        return initializer(seed=int(rng.integers(2**31)))

    def dense(units, initializer=HeNormal):
        return keras.layers.Dense(units, kernel_initializer=draw(initializer))

    def shortcut(x, units):
        if x.shape[-1] == units or way == "concatenation":
            return x
        if way in ("zero_padding", "widening"):
            return ZeroPaddingShortcut(units)(x)
        kernel = draw(HeNormal if way == "projection" else LecunNormal)
        return ProjectionShortcut(units, kernel_initializer=kernel)(x)

    inputs = keras.Input(data.input_shape)
    x = dense(settings.units, LecunNormal)(inputs)
    taps = [x]
    for units in widths(settings, way)[1:]:
        joins = way == "concatenation"
        branch = keras.layers.ReLU()(dense(units)(keras.layers.ReLU()(x)))
        branch = dense(units - x.shape[-1] if joins else units)(branch)
        scaled_add = ScaledAdd(branch_scale=branch_scale(settings, way))
        merge = keras.layers.Concatenate() if joins else scaled_add
        x = merge([shortcut(x, units), branch])
        taps.append(x)
    head = keras.layers.Dense(data.num_classes, kernel_initializer="zeros")
    return keras.Model(inputs, head(keras.layers.ReLU()(x))), taps

"""Squeeze-and-excitation: gates of channels that read all positions."""

from collections.abc import Sequence

import keras

from fixinit._typing import Shape

# The gates are near 1/2 at the start.
GATE_SCALE = 2.0


def squeeze_excitation(
    shape: Shape, units: int, seeds: Sequence[int | None], prefix: str
) -> keras.Model:
    """The model `2 sigmoid(W2 relu(W1 mean(x) + b1) + b2) * x`, mean over space.

    It keeps the size of signals at the start, as NFNets have it.

    Args:
        shape: Shape of one sample, channels last.
        units: int. Number of hidden units, the rows of W1.
        seeds: The seeds of W1 and W2.
        prefix: String in front of the names of the layers. Keras has no scope for those
            of a functional model.

    References:

    - [Hu et al., 2018](https://arxiv.org/abs/1709.01507)
    - [Brock et al., 2021](https://arxiv.org/abs/2102.06171), section 4.1.
    """
    x = keras.Input(shape)
    pooling = getattr(keras.layers, f"GlobalAveragePooling{len(shape) - 1}D")
    gates = pooling(keepdims=True, data_format="channels_last", name=f"{prefix}_mean")(
        x
    )
    sizes = (units, "relu", "squeeze"), (shape[-1], "sigmoid", "excite")
    for (size, activation, name), seed in zip(sizes, seeds, strict=True):
        gates = keras.layers.Dense(
            size,
            activation,
            kernel_initializer=keras.initializers.LecunNormal(seed),
            name=f"{prefix}_{name}",
        )(gates)
    y = keras.layers.Multiply(name=f"{prefix}_gated")([x, gates])
    y = keras.layers.Rescaling(GATE_SCALE, name=f"{prefix}_scale")(y)
    return keras.Model(x, y, name="squeeze_excitation")

"""A network for time series, written with `keras.layers` alone."""

import keras
from keras import layers

# Of the paper: one entry a block, and the kernels in each of them.
_FILTERS, _KERNELS = (64, 128, 128), (8, 5, 3)


def time_series_resnet(length, classes):
    """The residual network of Wang et al. for time series, with BatchNorm.

    Three blocks of three convolutions, each with BatchNorm and all but the last with a
    ReLU; shortcuts are normalized too, behind a projection where the width changes.

    Args:
        length: int, of the series.
        classes: int.

    Returns:
        A functional `keras.Model`, which gives logits.

    Reference:

    - [Wang, Yan and Oates, 2017](https://arxiv.org/abs/1611.06455), section 2.3.
    """
    x = inputs = keras.Input((length, 1))
    for filters in _FILTERS:
        branch = x
        for index, size in enumerate(_KERNELS):
            branch = layers.Conv1D(filters, size, padding="same")(branch)
            branch = layers.BatchNormalization()(branch)
            if index < len(_KERNELS) - 1:
                branch = layers.ReLU()(branch)
        shortcut = x
        if x.shape[-1] != filters:
            shortcut = layers.Conv1D(filters, 1, padding="same")(x)
        shortcut = layers.BatchNormalization()(shortcut)
        x = layers.ReLU()(layers.add([shortcut, branch]))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(classes)(x), name="time_series_resnet")

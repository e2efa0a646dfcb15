"""The networks, as they are and converted."""

import keras

import fixinit
from recipes.common.training import applications, conversion
from recipes.converted_training.time_series import time_series_resnet

# A statistics' memory that settles within an epoch. Keras's 0.99 takes hundreds of
# steps, for which BatchNorm would be blamed.
MOMENTUM = 0.9
SIZE = 32
# The networks that read MNIST-1D; all others read digits.
SERIES = {
    "TimeSeriesResNet": lambda: time_series_resnet(length=40, classes=10),
    "ResidualMLP": lambda: fixinit.models.ResidualMLP(
        num_blocks=36, units=100, scheme="batch_norm", stacked=False
    ),
}


def check_model(name):
    if name not in SERIES:
        applications.check_name(name)


def make(model):
    """A network with BatchNorm and random weights, for ten classes."""
    if model in SERIES:
        return SERIES[model]()
    return applications.build(model, SIZE, classes=10)


def builder(model, scheme=None):
    """A function from seeds to networks; where there is a scheme, to converted ones."""

    def build(seed):
        keras.utils.set_random_seed(seed)
        network = make(model)
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = MOMENTUM
        if scheme is None:
            return network
        return conversion.convert(network, scheme, seed=seed)

    return build

"""The networks, as they are and converted."""

import keras

import fixinit
from fixinit import _keras
from recipes.common.training import applications, conversion
from recipes.converted_training.regularization import Regularization, with_noise
from recipes.converted_training.time_series import time_series_resnet

# A statistics' memory that settles within an epoch. Keras's 0.99 takes hundreds of
# steps, for which BatchNorm would be blamed.
MOMENTUM = 0.9
# Height and width of images, where nothing else is asked for.
SIZE = 32
CLASSES = 10
# The networks that read MNIST-1D; all others read digits.
SERIES = {
    "TimeSeriesResNet": lambda **noise: with_noise(
        time_series_resnet(length=40, classes=CLASSES), **noise
    ),
    "ResidualMLP": lambda **noise: fixinit.models.ResidualMLP(
        num_blocks=36, units=100, scheme="batch_norm", stacked=False, **noise
    ),
}
# Those of `fixinit.models` for images of any size.
IMAGES = {
    "ResNet20": lambda shape, **noise: fixinit.models.CifarResNet(
        20, scheme="batch_norm", input_shape=shape, **noise
    ),
    "WideResNet16": lambda shape, **noise: fixinit.models.WideResNet(
        16, 2, scheme="batch_norm", input_shape=shape, **noise
    ),
}
NO_REGULARIZATION = Regularization()


def check_model(name):
    if name not in SERIES and name not in IMAGES:
        applications.check_name(name)


def make(model, size=SIZE, regularization=NO_REGULARIZATION):
    """A network with BatchNorm and random weights, for ten classes.

    Args:
        model: String, its name.
        size: int. Height and width of images.
        regularization: `Regularization`, of which it gets the noise.
    """
    noise = regularization.noise
    if model in SERIES:
        return SERIES[model](**noise)
    if model in IMAGES:
        return IMAGES[model]((size, size, 3), **noise)
    if size >= applications.smallest_size(model):
        return with_noise(applications.build(model, size, classes=CLASSES), **noise)
    return with_noise(_for_small_images(model, size), **noise)


def _for_small_images(model, size):
    """A network of `keras.applications` for smaller images than these allow.

    They look at the size only where they are told it. The head is that of most.
    """
    features = getattr(keras.applications, model)(
        weights=None,
        include_top=False,
        input_tensor=keras.Input((size, size, 3)),
        pooling="avg",
    )
    logits = keras.layers.Dense(CLASSES, name="predictions")(features.output)
    return keras.Model(features.input, logits, name=features.name)


def builder(model, scheme=None, size=SIZE, regularization=NO_REGULARIZATION):
    """A function from seeds to networks; where there is a scheme, to converted ones."""

    def build(seed):
        keras.utils.set_random_seed(seed)
        network = make(model, size, regularization)
        for layer in _keras.flatten_layers(network):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = MOMENTUM
        if scheme is None:
            return network
        return conversion.convert(network, scheme, seed=seed)

    return build

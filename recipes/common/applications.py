"""Networks of `keras.applications`, by name."""

import keras


def is_application(name):
    """Whether `keras.applications` has a function of this name."""
    return callable(getattr(keras.applications, name, None))


def build(name, size, classes):
    """A network with random weights, for images of `size` x `size`; gives logits."""
    return getattr(keras.applications, name)(
        weights=None,
        input_shape=(size, size, 3),
        classes=classes,
        classifier_activation=None,
    )

"""Networks of `keras.applications`, by name."""

import keras

# Functions in CamelCase: the rest are modules.
NAMES = tuple(name for name in dir(keras.applications) if name[0].isupper())
# The least that some of the networks take, and the least that the others do.
_SMALLEST = {"Inception": 75, "Xception": 71}
_LEAST = 32


def smallest_size(name):
    """The height and width of the smallest images that a network takes."""
    sizes = (size for start, size in _SMALLEST.items() if name.startswith(start))
    return next(sizes, _LEAST)


def check_name(name):
    """Refuses what is not the name of a network."""
    if name not in NAMES:
        raise ValueError(
            f"{name!r} is not a network of keras.applications, which has: "
            f"{', '.join(NAMES)}."
        )


def build(name, size, classes):
    """A network with random weights, for images of `size` x `size`; gives logits."""
    return getattr(keras.applications, name)(
        weights=None,
        input_shape=(size, size, 3),
        classes=classes,
        classifier_activation=None,
    )

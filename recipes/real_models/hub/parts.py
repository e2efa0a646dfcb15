"""Makes networks of keras-hub from their arguments."""

import functools

from recipes.real_models.network import Network


def part(name, **arguments):
    """A function that makes a model or a layer of keras-hub.

    Args:
        name: Class of `keras_hub.models` or `keras_hub.layers`.
        arguments: Its arguments. Functions among them are called first.
    """
    return functools.partial(_made, name, arguments)


def _made(name, arguments):
    import keras_hub  # an extra

    home = keras_hub.models if hasattr(keras_hub.models, name) else keras_hub.layers
    arguments = {
        key: value() if isinstance(value, functools.partial) else value
        for key, value in arguments.items()
    }
    return getattr(home, name)(**arguments)


def backbones(**found):
    """Networks by name: the number of blocks, the arguments, and shapes of inputs."""
    return {
        name: Network(part(name, **arguments), blocks, *shapes)
        for name, (blocks, arguments, *shapes) in found.items()
    }

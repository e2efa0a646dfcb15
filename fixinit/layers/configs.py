"""Configs from which layers are made again in this process."""

from typing import Any

import keras


def config_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """The config of a layer, from which Keras can make it again in this process.

    An activation that is not registered has only a name in Keras's config.
    """
    config = layer.get_config()
    if callable(getattr(layer, "activation", None)) and "activation" in config:
        config["activation"] = layer.activation
    return config


def remade(layer: keras.layers.Layer, changes: dict[str, Any]) -> keras.layers.Layer:
    """A new layer of the same configuration, but for some arguments."""
    return type(layer).from_config({**config_of(layer), **changes})

"""The plain layers of Keras that layers of schemes take the place of."""

import keras

from fixinit._checked import checked


@checked
def plain_layer(layer: keras.Operation) -> keras.Operation:
    """What a layer stands for that a scheme has put in the place of a plain one.

    Such a layer gives it by `fixinit_plain()`, not built: without it, a network that is
    converted to another scheme would keep what belongs to the first.

    Example:

    >>> layer = fixinit.layers.ScaledActivation("relu", gain=1.7)
    >>> fixinit.layers.plain_layer(layer).activation.__name__
    'relu'

    Args:
        layer: Keras layer, or an operation of `keras.ops`.

    Returns:
        Keras layer, `layer` itself where it stands for no other.

    Raises:
        TypeError: If `layer` is neither.
    """
    plain = getattr(layer, "fixinit_plain", None)
    return layer if plain is None else plain()

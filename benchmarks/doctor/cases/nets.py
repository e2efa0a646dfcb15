"""Networks, optimizers and losses written as short strings.

A network is a string of layers: a letter, sizes, and after colons the activation (`-`
for none) and the initializer of the kernel.

    D50:relu:he_normal  Dense of 50 units        F       Flatten
    C32x3:relu          Conv2D, "same", 32 of 3x3  GA, g   global average, 2D and 1D
    c32x3, c32x3x2      Conv2D, "valid"; stride 2  BN      BatchNormalization
    K16x4:relu          Conv1D, "same"           LR      LeakyReLU
    L20, L20s           LSTM; all its outputs    P2      MaxPooling2D
    G20                 GRU                      X.5     Dropout
    B20, B20s           Bidirectional LSTM       S255    division by 255
    E1000x16            Embedding                A:relu  an activation alone
"""

import re
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

Shape = tuple[int, ...]

_WORD = re.compile(r"([A-Za-z]+)(.*)")
_INITIALIZERS: dict[str, Callable[[], keras.Initializer]] = {
    "uniform": lambda: keras.initializers.RandomUniform(-0.05, 0.05),
    "normal": lambda: keras.initializers.RandomNormal(stddev=0.05),
    # Of biases too, as in networks that are written by hand.
    "standard_normal": lambda: keras.initializers.RandomNormal(stddev=1.0),
}
_OPTIMIZERS: dict[str, type[keras.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "adamax": keras.optimizers.Adamax,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}
_LOGITS: dict[str, type[keras.losses.Loss]] = {
    "sparse_categorical_crossentropy_logits": (
        keras.losses.SparseCategoricalCrossentropy
    ),
}


def network(shape: Shape, text: str, dtype: str | None = None) -> keras.Sequential:
    """A Sequential model of the layers of a string.

    Args:
        shape: Shape of one input.
        text: The layers, as the module says.
        dtype: Of the input, `"int32"` for words.

    Raises:
        ValueError: If a word is no layer.
    """
    made = [layer(word) for word in text.split()]
    return keras.Sequential([keras.Input(shape, dtype=dtype), *made])


def layer(word: str) -> keras.layers.Layer:
    """The layer of one word of such a string."""
    head, *rest = word.split(":")
    activation, initializer = [*rest, None, None][:2]
    match = _WORD.fullmatch(head)
    if match is None or match[1] not in _LAYERS:
        raise ValueError(
            f"A layer begins with one of {sorted(_LAYERS)}. Received: {word!r}"
        )
    activation = None if activation == "-" else activation
    return _LAYERS[match[1]](match[2], activation, initializer)


def optimizer(text: str) -> keras.Optimizer:
    """An optimizer from `"adam"`, `"adam:.01"` or `"sgd:.1:.9"`; `.9n` for Nesterov."""
    name, *numbers = text.split(":")
    options: dict[str, Any] = {}
    if numbers:
        options["learning_rate"] = float(numbers[0])
    if len(numbers) > 1:
        options["momentum"] = float(numbers[1].rstrip("n"))
        options["nesterov"] = numbers[1].endswith("n")
    return _OPTIMIZERS[name](**options)


def compiled(model: keras.Model, loss: str, optimizer_text: str) -> keras.Model:
    """The model, compiled; a loss that ends in `_logits` takes logits."""
    made = _LOGITS[loss](from_logits=True) if loss in _LOGITS else loss
    # Compiling by XLA would take longer than the training.
    model.compile(optimizer(optimizer_text), made, jit_compile=False)
    return model


def _initializer(name: str | None) -> keras.Initializer | str:
    return _INITIALIZERS[name]() if name in _INITIALIZERS else name or "glorot_uniform"


def _dense(size: str, activation: str | None, name: str | None) -> layers.Layer:
    biased = name == "standard_normal"
    return layers.Dense(
        int(size),
        activation,
        kernel_initializer=_initializer(name),
        bias_initializer=_initializer(name) if biased else "zeros",
    )


def _conv(padding: str) -> Callable[..., layers.Layer]:
    def make(size: str, activation: str | None, name: str | None) -> layers.Layer:
        filters, width, stride = [*map(int, size.split("x")), 1][:3]
        return layers.Conv2D(
            filters,
            width,
            strides=stride,
            activation=activation,
            padding=padding,
            kernel_initializer=_initializer(name),
        )

    return make


def _conv_1d(size: str, activation: str | None, name: str | None) -> layers.Layer:
    filters, width = map(int, size.split("x"))
    return layers.Conv1D(
        filters,
        width,
        activation=activation,
        padding="same",
        kernel_initializer=_initializer(name),
    )


def _recurrent(kind: type[layers.Layer], size: str) -> layers.Layer:
    return kind(int(size.rstrip("s")), return_sequences=size.endswith("s"))


_LAYERS: dict[str, Callable[..., layers.Layer]] = {
    "D": _dense,
    "C": _conv("same"),
    "c": _conv("valid"),
    "K": _conv_1d,
    "E": lambda size, *_: layers.Embedding(*map(int, size.split("x"))),
    "L": lambda size, *_: _recurrent(layers.LSTM, size),
    "G": lambda size, *_: _recurrent(layers.GRU, size),
    "B": lambda size, *_: layers.Bidirectional(_recurrent(layers.LSTM, size)),
    "P": lambda size, *_: layers.MaxPooling2D(int(size)),
    "S": lambda size, *_: layers.Rescaling(1 / float(size)),
    "X": lambda size, *_: layers.Dropout(float(size)),
    "A": lambda _, activation, __: layers.Activation(activation),
    "F": lambda *_: layers.Flatten(),
    "GA": lambda *_: layers.GlobalAveragePooling2D(),
    "g": lambda *_: layers.GlobalAveragePooling1D(),
    "BN": lambda *_: layers.BatchNormalization(),
    "LR": lambda *_: layers.LeakyReLU(),
}

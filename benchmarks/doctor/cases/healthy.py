"""Healthy programs: ordinary networks as people train them."""

from typing import Any

import keras
import numpy as np
from keras import layers

from benchmarks.doctor.cases import nets, signals, tables
from benchmarks.doctor.cases.program import Built, Program, healthy

CATEGORICAL = "categorical_crossentropy"
SPARSE = "sparse_categorical_crossentropy"
LOGITS = "sparse_categorical_crossentropy_logits"
BINARY = "binary_crossentropy"


def sine() -> tables.Data:
    return tables.curve(np.sin, -3, 3)


def cancer() -> tables.Data:
    return tables.classes("breast_cancer", binary=True)


def mnist_1d() -> tables.Data:
    return signals.mnist_1d(flat=False)


def digits_to_themselves() -> tables.Data:
    x, _ = signals.digits()
    return x, x


# By name: data, shape of an input, layers, loss and what else `Program` takes.
PROGRAMS: dict[str, tuple[Any, ...]] = {
    "digits_mlp_glorot": (
        signals.digits,
        (784,),
        "D128:relu D64:relu D10:softmax",
        CATEGORICAL,
    ),
    "digits_mlp_logits": (
        lambda: signals.digits(hot=False),
        (784,),
        "D128:relu D10",
        LOGITS,
        "sgd:.05:.9",
    ),
    "digits_mlp_tanh": (
        signals.digits,
        (784,),
        "D128:tanh D64:tanh D10:softmax",
        CATEGORICAL,
    ),
    "digits_mlp_gelu": (
        signals.digits,
        (784,),
        "D128:gelu D128:gelu D10:softmax",
        CATEGORICAL,
    ),
    "iris_mlp": (
        lambda: tables.iris(hot=False, scaled=True),
        (4,),
        "D16:relu D16:relu D3:softmax",
        SPARSE,
        "adam:.01",
    ),
    "wine_mlp": (
        lambda: tables.classes("wine"),
        (13,),
        "D32:relu D16:relu D3:softmax",
        SPARSE,
    ),
    "cancer_mlp": (cancer, (30,), "D16:relu D8:relu D1:sigmoid", BINARY),
    "cancer_logreg": (cancer, (30,), "D1:sigmoid", BINARY, "sgd:.1"),
    "diabetes_elu": (
        lambda: tables.quantities("diabetes"),
        (10,),
        "D64:elu D64:elu D1",
        "mae",
    ),
    "linnerud_mlp": (
        lambda: tables.quantities("linnerud"),
        (3,),
        "D8:tanh D3",
        "mse",
        "sgd:.05",
    ),
    "mnist1d_cnn": (
        mnist_1d,
        (40, 1),
        "K25x5:relu K25x3:relu K25x3:relu F D10",
        LOGITS,
        "adam:.005",
    ),
    "mnist1d_lstm": (mnist_1d, (40, 1), "L32 D10:softmax", SPARSE, "adam:.005"),
    "imgs_cnn_rescaling": (
        lambda: signals.pictures(samples=256, top=255.0),
        (32, 32, 3),
        "S255 c16x3:relu P2 c32x3:relu P2 c64x3:relu F D64:relu X.3 D10:softmax",
        CATEGORICAL,
    ),
    "imgs_vgg_glorot": (
        lambda: signals.pictures(samples=128),
        (32, 32, 3),
        "C16x3:relu C16x3:relu P2 C32x3:relu C32x3:relu P2 C64x3:relu C64x3:relu F "
        "D64:relu D10:softmax",
        CATEGORICAL,
    ),
    "tokens_embed": (
        signals.words,
        (40,),
        "E1000x16 g D16:relu D1:sigmoid",
        BINARY,
        "adam",
        "int32",
    ),
    "tokens_bilstm": (
        signals.words,
        (40,),
        "E1000x32 B32s B16 D32:relu X.5 D1:sigmoid",
        BINARY,
        "adam",
        "int32",
    ),
    "bag_mlp": (signals.bags_of_words, (1000,), "D64:relu X.5 D1:sigmoid", BINARY),
    "autoencoder_deep": (
        digits_to_themselves,
        (784,),
        "D256:relu D128:relu D64:relu D16:relu D64:relu D128:relu D256:relu "
        "D784:sigmoid",
        "mse",
    ),
    "sine_mlp": (sine, (1,), "D32:tanh D32:tanh D1", "mse", "adam:.01"),
    "xor_adam": (
        lambda: tables.xor(40),
        (2,),
        "D8:tanh D1:sigmoid",
        BINARY,
        "adam:.01",
    ),
    "sine_mlp_shuffled": (
        lambda: tables.shuffled(*sine()),
        (1,),
        "D32:tanh D32:tanh D1",
        "mse",
        "adam:.01",
    ),
    "digits_sigmoid_hidden": (
        signals.digits,
        (784,),
        "D30:sigmoid D10:softmax",
        CATEGORICAL,
        "adam:.01",
    ),
    "lenet_tanh": (
        lambda: signals.digits((28, 28, 1), samples=500),
        (28, 28, 1),
        "C6x5:tanh P2 c16x5:tanh P2 F D84:tanh D10:softmax",
        CATEGORICAL,
    ),
    "wine_tiny_relu": (
        lambda: tables.classes("wine"),
        (13,),
        "D4:relu D3:softmax",
        SPARSE,
        "adam:.01",
    ),
}


def unet() -> Built:
    """A small U-Net of three sizes."""
    x, y = signals.segments()
    image = keras.Input((32, 32, 3))
    high = _twice(image, 8)
    middle = _twice(layers.MaxPooling2D()(high), 16)
    low = _twice(layers.MaxPooling2D()(middle), 32)
    up = layers.Conv2DTranspose(16, 2, 2)(low)
    up = _twice(layers.Concatenate()([up, middle]), 16)
    up = layers.Conv2DTranspose(8, 2, 2)(up)
    up = _twice(layers.Concatenate()([up, high]), 8)
    mask = layers.Conv2D(1, 1, activation="sigmoid")(up)
    return nets.compiled(keras.Model(image, mask), BINARY, "adam"), x, y


def _twice(h: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    for _ in range(2):
        h = layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
        )(h)
    return h


ORDINARY = [healthy(name, Program(*program)) for name, program in PROGRAMS.items()]
ORDINARY.append(healthy("unet", unet))

"""Healthy residual networks: by hand, published, of this package, and converted."""

import functools
from collections.abc import Callable

import keras
from keras import layers

import fixinit
from benchmarks.doctor.cases import nets, signals
from benchmarks.doctor.cases.healthy import LOGITS, SPARSE
from benchmarks.doctor.cases.program import Built, healthy
from benchmarks.doctor.cases.tables import Data

SCHEMES = (
    "batch_norm",
    "fixup",
    "scaled_residual",
    "skip_init",
    "rezero",
    "normalized_sum",
)
APPLICATIONS = (
    "ResNet50",
    "ResNet50V2",
    "MobileNetV2",
    "VGG16",
    "DenseNet121",
    "Xception",
)
# The smallest that each takes.
SIZES = {"Xception": 72}


def texts() -> Data:
    return signals.words(128, 20, 500, 4, labels="classes")


def encoder(pre_norm: bool, blocks: int = 4, units: int = 32) -> keras.Model:
    """A Transformer encoder with LayerNormalization before or behind its branches."""
    tokens = keras.Input((20,), dtype="int32")
    h = layers.Embedding(500, units)(tokens)
    for _ in range(blocks):
        for branch in (_attention, _two_layers):
            read = layers.LayerNormalization()(h) if pre_norm else h
            h = layers.Add()([h, branch(read, units)])
            h = h if pre_norm else layers.LayerNormalization()(h)
    if pre_norm:
        h = layers.LayerNormalization()(h)
    logits = layers.Dense(4)(layers.GlobalAveragePooling1D()(h))
    return nets.compiled(keras.Model(tokens, logits), LOGITS, "adamw:.0005")


def _attention(h: keras.KerasTensor, units: int) -> keras.KerasTensor:
    return layers.MultiHeadAttention(4, units // 4)(h, h)


def _two_layers(h: keras.KerasTensor, units: int) -> keras.KerasTensor:
    return layers.Dense(units)(layers.Dense(4 * units, activation="gelu")(h))


def handmade() -> keras.Model:
    """A residual perceptron with BatchNormalization, as people write it."""
    x = keras.Input((40,))
    h = layers.Dense(64)(x)
    for _ in range(6):
        branch = layers.ReLU()(layers.BatchNormalization()(h))
        h = layers.Add()([h, layers.Dense(64)(branch)])
    logits = layers.Dense(10)(layers.ReLU()(layers.BatchNormalization()(h)))
    return nets.compiled(keras.Model(x, logits), LOGITS, "adam")


def application(name: str, size: int = 64) -> keras.Model:
    """A network of `keras.applications` for ten classes, not trained."""
    make = getattr(keras.applications, name)
    return make(weights=None, input_shape=(size, size, 3), classes=10)


def built(
    make: Callable[[], keras.Model],
    data: Callable[[], Data],
    loss: str = LOGITS,
    optimizer: str = "sgd:.05:.9",
) -> Callable[[], Built]:
    """A function that builds a case of a network, its data and what it trains with."""

    def build() -> Built:
        x, y = data()
        return nets.compiled(make(), loss, optimizer), x, y

    return build


def converted(make: Callable[[], keras.Model], scheme: str) -> keras.Model:
    return fixinit.convert(make(), scheme, seed=0)


def applications() -> list[dict]:
    found = []
    for name in APPLICATIONS:
        size = SIZES.get(name, 64)
        make = functools.partial(application, name, size)
        data = functools.partial(signals.centred_pictures, size, 16)
        build = built(make, data, SPARSE, "adam")
        found.append(healthy(f"app_{name}", build, "applications", 0))
    return found


def own_models() -> list[dict]:
    """The families of this package, each by several schemes."""
    pictures = functools.partial(signals.centred_pictures, 32, 64)
    signals_1d = functools.partial(signals.mnist_1d, flat=False, samples=128)
    found = []
    for scheme in SCHEMES:
        options = {"scheme": scheme, "seed": 0}
        families = {
            "ResidualMLP": (
                functools.partial(fixinit.models.ResidualMLP, 16, 64, **options),
                signals.mnist_1d,
                30,
            ),
            "CifarResNet20": (
                functools.partial(fixinit.models.CifarResNet, 20, **options),
                pictures,
                0,
            ),
            "ResNet1D": (
                functools.partial(
                    fixinit.models.ResNet1D, input_shape=(40, 1), **options
                ),
                signals_1d,
                0,
            ),
        }
        for family, (make, data, train) in families.items():
            name = f"fixinit_{family}_{scheme}"
            found.append(healthy(name, built(make, data), "fixinit", train))
    return found


def conversions() -> list[dict]:
    """Networks that `fixinit.convert` has freed of normalization."""
    pictures = functools.partial(signals.centred_pictures, 64, 16)
    published = {
        "ResNet50": ("ResNet50", "fixup"),
        "MobileNetV2": ("MobileNetV2", "fixup"),
        "ResNet50_skip_init": ("ResNet50", "skip_init"),
    }
    found = []
    for name, (original, scheme) in published.items():
        make = functools.partial(
            converted, functools.partial(application, original), scheme
        )
        build = built(make, pictures, SPARSE)
        found.append(healthy(f"fixinit_convert_{name}", build, "converted", 0))
    for scheme in ("fixup", "scaled_residual", "rezero"):
        make = functools.partial(converted, handmade, scheme)
        name = f"fixinit_convert_resmlp_{scheme}"
        found.append(healthy(name, built(make, signals.mnist_1d), "converted"))
    make = functools.partial(converted, functools.partial(encoder, True), "fixup")
    build = built(make, texts)
    found.append(healthy("fixinit_convert_preln_encoder", build, "converted"))
    return found


RESIDUAL = [
    healthy("transformer_encoder_postln", lambda: (encoder(False), *texts())),
    healthy("resmlp_bn_handmade", lambda: (handmade(), *signals.mnist_1d())),
    *applications(),
    *own_models(),
    *conversions(),
]

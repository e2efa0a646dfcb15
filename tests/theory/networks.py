"""Networks of the kinds that people have, small enough to be measured."""

import keras
from keras import layers, ops

IMAGE = (64, 64, 3)
HE = {"kernel_initializer": "he_normal", "padding": "same"}


def conv(x, filters, size=3, strides=1, **options):
    return layers.Conv2D(filters, size, strides, activation="relu", **HE, **options)(x)


def classifier():
    """The convolutional network of the first Keras example."""
    x = inputs = keras.Input((28, 28, 1))
    for filters in (32, 64):
        x = layers.MaxPooling2D(2)(layers.Conv2D(filters, 3, activation="relu")(x))
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def u_net():
    x = inputs = keras.Input(IMAGE)
    skips = []
    for filters in (64, 128):
        x = conv(conv(x, filters), filters)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = conv(x, 256)
    for filters, skip in zip((128, 64), skips[::-1], strict=True):
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        x = conv(conv(layers.concatenate([x, skip]), filters), filters)
    return keras.Model(inputs, layers.Conv2D(2, 1, activation="sigmoid")(x))


def u_net_with_shortcuts():
    """Separable convolutions, shortcuts and BatchNormalization, down and up."""
    x = inputs = keras.Input(IMAGE)
    x = layers.Conv2D(32, 3, strides=2, padding="same")(x)
    x = before = layers.ReLU()(layers.BatchNormalization()(x))
    for filters in (64, 128):
        for _ in range(2):
            x = layers.SeparableConv2D(filters, 3, padding="same")(layers.ReLU()(x))
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = x + layers.Conv2D(filters, 1, strides=2, padding="same")(before)
        before = x
    for filters in (128, 64):
        x = layers.Conv2DTranspose(filters, 3, padding="same")(layers.ReLU()(x))
        x = layers.UpSampling2D(2)(layers.BatchNormalization()(x))
        x = x + layers.Conv2D(filters, 1)(layers.UpSampling2D(2)(before))
        before = x
    return keras.Model(inputs, layers.Conv2D(3, 3, padding="same")(x))


def dilated_segmentation():
    """Dilated convolutions side by side, with a decoder of bilinear resizing."""
    x = inputs = keras.Input(IMAGE)
    x = low = conv(conv(x, 64, strides=2), 64)
    x = conv(conv(x, 128, strides=2), 256, strides=2)
    pooled = conv(layers.AveragePooling2D(8)(x), 128, 1)
    parts = [layers.UpSampling2D(8, interpolation="bilinear")(pooled)]
    parts += [conv(x, 128, dilation_rate=rate) for rate in (1, 2, 4)]
    x = conv(layers.concatenate(parts), 128, 1)
    x = layers.UpSampling2D(4, interpolation="bilinear")(x)
    x = conv(conv(layers.concatenate([x, conv(low, 48, 1)]), 128), 128)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    return keras.Model(inputs, layers.Conv2D(20, 1)(x))


def feature_pyramid():
    x = inputs = keras.Input(IMAGE)
    stages = []
    for filters in (64, 128, 256):
        x = conv(x, filters, strides=2)
        stages.append(x)
    x = layers.Conv2D(128, 1)(stages[-1])
    levels = [x]
    for stage in stages[-2::-1]:
        x = layers.Resizing(*stage.shape[1:3], interpolation="nearest")(x)
        x = layers.Conv2D(128, 1)(stage) + x
        levels.append(x)
    outs = [layers.Resizing(32, 32)(conv(level, 64)) for level in levels]
    return keras.Model(inputs, layers.Conv2D(10, 1)(layers.add(outs)))


def pixel_shuffle_network():
    """Super-resolution with residual blocks and a shuffle of sub-pixels."""
    x = inputs = keras.Input((24, 24, 3))
    x = first = layers.Conv2D(64, 3, padding="same")(x)
    for _ in range(4):
        x = x + layers.Conv2D(64, 3, padding="same")(conv(x, 64))
    x = first + layers.Conv2D(64, 3, padding="same")(x)
    x = layers.Conv2D(256, 3, padding="same")(x)
    x = ops.transpose(ops.reshape(x, (-1, 24, 24, 2, 2, 64)), (0, 1, 3, 2, 4, 5))
    x = ops.reshape(x, (-1, 48, 48, 64))
    return keras.Model(inputs, layers.Conv2D(3, 3, padding="same")(x))


def sub_pixel_network():
    x = inputs = keras.Input((32, 32, 3))
    for filters, size in ((128, 5), (128, 3), (64, 3), (27, 3)):
        x = conv(x, filters, size)
    return keras.Model(inputs, ops.depth_to_space(x, 3))


def shuffled_groups():
    """Halves of the channels, of which one is convolved, and channels shuffled."""
    inputs = keras.Input((32, 32, 16))
    x = conv(inputs, 128)
    for _ in range(3):
        kept, y = ops.split(x, 2, axis=-1)
        y = layers.DepthwiseConv2D(3, padding="same")(conv(y, 64, 1))
        x = layers.concatenate([kept, conv(y, 64, 1)])
        x = ops.transpose(ops.reshape(x, (-1, 32, 32, 2, 64)), (0, 1, 2, 4, 3))
        x = ops.reshape(x, (-1, 32, 32, 128))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))


def mixer():
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Reshape((64, 128))(layers.Conv2D(128, 4, 4)(x))
    for _ in range(3):
        y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        y = layers.Dense(64)(layers.Dense(128, activation="gelu")(y))
        x = x + layers.Permute((2, 1))(y)
        y = layers.Dense(256, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(128)(y)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def wave_net():
    """Gated dilated convolutions with skips."""
    inputs = keras.Input((128, 8))
    x, skips = layers.Conv1D(64, 1)(inputs), []
    for rate in (1, 2, 4, 8):
        y = layers.Conv1D(128, 2, dilation_rate=rate, padding="causal")(x)
        a, b = ops.split(y, 2, axis=-1)
        y = ops.tanh(a) * ops.sigmoid(b)
        skips.append(layers.Conv1D(64, 1)(y))
        x = x + layers.Conv1D(64, 1)(y)
    return keras.Model(inputs, layers.Conv1D(10, 1)(ops.relu(layers.add(skips))))


def application(name):
    """A function that makes a model of `keras.applications` with random weights."""
    make = getattr(keras.applications, name)
    return lambda: make(weights=None, input_shape=IMAGE, classes=10)

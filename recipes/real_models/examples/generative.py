"""Networks that make things: adversarial, variational, by diffusion, by steps."""

import math

import keras
from keras import layers, ops

from recipes.real_models.network import Gallery

GENERATIVE = Gallery()


@GENERATIVE.add(blocks=0)
def DCGANGenerator(latent=16, filters=32):
    """Radford et al., 2015."""
    inputs = keras.Input((latent,))
    x = layers.Dense(4 * 4 * filters, use_bias=False)(inputs)
    x = layers.LeakyReLU()(layers.BatchNormalization()(x))
    x = layers.Reshape((4, 4, filters))(x)
    for width in (16, 8):
        x = layers.Conv2DTranspose(width, 4, 2, "same", use_bias=False)(x)
        x = layers.LeakyReLU(0.2)(layers.BatchNormalization()(x))
    x = layers.Conv2DTranspose(1, 5, 2, "same", activation="tanh")(x)
    return keras.Model(inputs, x)


@GENERATIVE.add(blocks=0)
def WGANCritic(filters=8):
    """Gulrajani et al., 2017: layer normalization, one number without activation."""
    x = inputs = keras.Input((32, 32, 1))
    for width in (filters, 2 * filters, 4 * filters):
        x = layers.Conv2D(width, 5, 2, "same")(x)
        x = layers.Dropout(0.3)(layers.LeakyReLU(0.2)(layers.LayerNormalization()(x)))
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(1, name="score")(x))


class ReflectionPadding(layers.Layer):
    """Pads an image with its mirror image."""

    def __init__(self, width=1, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def call(self, x):
        width = (self.width, self.width)
        return ops.pad(x, [(0, 0), width, width, (0, 0)], mode="reflect")


@GENERATIVE.add(blocks=3)
def CycleGANGenerator(filters=8, depth=3):
    """Zhu et al., 2017: instance normalization and reflected borders."""

    def activated(x):
        return layers.ReLU()(layers.GroupNormalization(groups=-1)(x))

    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(filters, 7, use_bias=False)(ReflectionPadding(3)(inputs))
    x = activated(x)
    for width in (2 * filters, 4 * filters):
        x = activated(layers.Conv2D(width, 3, 2, "same", use_bias=False)(x))
    for _ in range(depth):
        h = layers.Conv2D(width, 3, use_bias=False)(ReflectionPadding()(x))
        h = layers.Conv2D(width, 3, use_bias=False)(ReflectionPadding()(activated(h)))
        x = layers.add([x, layers.GroupNormalization(groups=-1)(h)])
    for width in (2 * filters, filters):
        x = layers.Conv2DTranspose(width, 3, 2, "same", use_bias=False)(x)
        x = activated(x)
    x = layers.Conv2D(3, 7)(ReflectionPadding(3)(x))
    return keras.Model(inputs, layers.Activation("tanh")(x))


class Sampling(layers.Layer):
    """Draws a latent vector by its mean and the logarithm of its variance."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        mean, log_variance = inputs
        drawn = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * drawn


@GENERATIVE.add(blocks=0)
def VariationalAutoencoder(latent=4):
    """Kingma and Welling, 2013, with BatchNorm."""

    def activated(x):
        return layers.ReLU()(layers.BatchNormalization()(x))

    inputs = keras.Input((28, 28, 1))
    x = activated(layers.Conv2D(8, 3, 2, "same")(inputs))
    x = activated(layers.Conv2D(16, 3, 2, "same")(x))
    x = layers.Dense(16, "relu")(layers.Flatten()(x))
    mean, log_variance = (
        layers.Dense(latent, name=name)(x) for name in ("mean", "log_variance")
    )
    z = Sampling()([mean, log_variance])
    y = layers.Reshape((7, 7, 16))(layers.Dense(7 * 7 * 16, "relu")(z))
    y = activated(layers.Conv2DTranspose(16, 3, 2, "same")(y))
    y = activated(layers.Conv2DTranspose(8, 3, 2, "same")(y))
    y = layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid")(y)
    return keras.Model(inputs, [y, mean, log_variance])


class TimeEmbedding(layers.Layer):
    """Sines and cosines of a time."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, time):
        half = self.size // 2
        rates = ops.exp(
            ops.arange(half, dtype="float32") * -(math.log(10000) / (half - 1))
        )
        angles = ops.cast(time, "float32")[:, None] * rates[None, :]
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


class AttentionBlock(layers.Layer):
    """Attention over the places of a feature map, beside a shortcut."""

    def __init__(self, units, groups=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.norm = layers.GroupNormalization(groups=groups)
        self.query, self.key, self.value = (layers.Dense(units) for _ in range(3))
        self.project = layers.Dense(units, kernel_initializer="zeros")

    def call(self, inputs):
        batch, height, width, _ = ops.shape(inputs)
        x = self.norm(inputs)
        q, k, v = self.query(x), self.key(x), self.value(x)
        scores = ops.einsum("bhwc,bHWc->bhwHW", q, k) * self.units**-0.5
        scores = ops.reshape(scores, (batch, height, width, height * width))
        scores = ops.reshape(
            ops.softmax(scores, -1), (batch, height, width, height, width)
        )
        return inputs + self.project(ops.einsum("bhwHW,bHWc->bhwc", scores, v))


@GENERATIVE.add(blocks=8)
def DDPMUNet(filters=8):
    """Ho et al., 2020: residual blocks that read the time, attention, skips."""

    def block(x, time, width):
        shortcut = x if x.shape[-1] == width else layers.Conv2D(width, 1)(x)
        embedded = layers.Dense(width)(ops.silu(time))[:, None, None, :]
        h = ops.silu(layers.GroupNormalization(groups=4)(x))
        h = layers.Conv2D(width, 3, padding="same")(h)
        h = layers.Add()([h, embedded])
        h = ops.silu(layers.GroupNormalization(groups=4)(h))
        h = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(h)
        return layers.Add()([h, shortcut])

    image = keras.Input((16, 16, 3), name="image")
    moment = keras.Input((), dtype="int64", name="time")
    time = layers.Dense(32, "silu")(TimeEmbedding(32)(moment))
    time = layers.Dense(32)(time)
    x = layers.Conv2D(filters, 3, padding="same")(image)
    skips = [x]
    for width in (filters, 2 * filters):
        x = block(x, time, width)
        skips.append(x)
        x = layers.Conv2D(width, 3, 2, "same")(x)
    x = block(x, time, width)
    x = AttentionBlock(width)(x)
    x = block(x, time, width)
    for width in (2 * filters, filters):
        x = layers.UpSampling2D(2)(x)
        x = layers.Concatenate()(
            [layers.Conv2D(width, 3, padding="same")(x), skips.pop()]
        )
        x = block(x, time, width)
    x = block(layers.Concatenate()([x, skips.pop()]), time, filters)
    x = ops.silu(layers.GroupNormalization(groups=4)(x))
    x = layers.Conv2D(3, 3, padding="same", kernel_initializer="zeros")(x)
    return keras.Model([image, moment], x)


class DiTBlock(layers.Layer):
    """A Transformer block that a condition shifts, scales and closes at first."""

    def __init__(self, units, heads, **kwargs):
        super().__init__(**kwargs)
        self.norms = [
            layers.LayerNormalization(center=False, scale=False, epsilon=1e-6)
            for _ in range(2)
        ]
        self.attention = layers.MultiHeadAttention(heads, units // heads)
        self.mlp = keras.Sequential(
            [layers.Dense(2 * units, "gelu"), layers.Dense(units)]
        )
        self.modulation = layers.Dense(6 * units, kernel_initializer="zeros")

    def call(self, x, condition):
        made = ops.expand_dims(self.modulation(ops.silu(condition)), 1)
        shift, scale, gate, shift2, scale2, gate2 = ops.split(made, 6, axis=-1)
        h = self.norms[0](x) * (1 + scale) + shift
        x = x + gate * self.attention(h, h)
        h = self.norms[1](x) * (1 + scale2) + shift2
        return x + gate2 * self.mlp(h)


@GENERATIVE.add(blocks=4)
def DiT(units=16, depth=2):
    """Peebles and Xie, 2023: adaLN-Zero."""
    latent = keras.Input((8, 8, 4), name="latent")
    moment = keras.Input((), dtype="int64", name="time")
    label = keras.Input((), dtype="int64", name="label")
    condition = layers.Dense(units, "silu")(TimeEmbedding(16)(moment))
    condition = layers.Dense(units)(condition) + layers.Embedding(10, units)(label)
    x = layers.Conv2D(units, 2, 2)(latent)
    x = layers.Reshape((16, units))(x)
    for _ in range(depth):
        x = DiTBlock(units, 2)(x, condition)
    x = layers.LayerNormalization(center=False, scale=False)(x)
    x = layers.Dense(16, kernel_initializer="zeros")(x)
    return keras.Model([latent, moment, label], x)


class AdaIN(layers.Layer):
    """Instance normalization with the mean and spread of a style."""

    def build(self, shapes):
        channels = shapes[0][-1]
        self.scale = layers.Dense(channels)
        self.shift = layers.Dense(channels)

    def call(self, inputs):
        x, style = inputs
        mean = ops.mean(x, axis=(1, 2), keepdims=True)
        spread = ops.std(x, axis=(1, 2), keepdims=True) + 1e-7
        scale = ops.expand_dims(ops.expand_dims(self.scale(style), 1), 1)
        shift = ops.expand_dims(ops.expand_dims(self.shift(style), 1), 1)
        return scale * (x - mean) / spread + shift


@GENERATIVE.add(blocks=0)
def StyleGAN(latent=16):
    """Karras et al., 2019: a mapping network, and styles by AdaIN."""
    inputs = keras.Input((latent,))
    style = inputs
    for _ in range(3):
        style = layers.LeakyReLU(0.2)(layers.Dense(latent)(style))
    x = layers.Reshape((4, 4, 16))(layers.Dense(256)(inputs))
    for width in (16, 8):
        x = layers.Conv2D(width, 3, padding="same")(layers.UpSampling2D()(x))
        x = AdaIN()([layers.LeakyReLU(0.2)(x), style])
    return keras.Model(inputs, layers.Conv2D(3, 1)(x))


class MaskedConv(layers.Layer):
    """A convolution that reads what comes before a pixel, and possibly the pixel."""

    def __init__(self, kind, filters, size, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        self.conv = layers.Conv2D(filters, size, padding="same")

    def build(self, shape):
        self.conv.build(shape)
        height, width = self.conv.kernel_size
        rows, columns = ops.arange(height)[:, None], ops.arange(width)[None, :]
        middle = rows * width + columns
        last = (height // 2) * width + width // 2 + (self.kind == "B")
        mask = ops.cast(middle < last, "float32")[..., None, None]
        self.mask = self.add_weight(
            shape=(height, width, 1, 1), initializer="ones", trainable=False
        )
        self.mask.assign(mask)

    def call(self, x):
        kernel = self.conv.kernel * self.mask
        return ops.conv(x, kernel, padding="same") + self.conv.bias


@GENERATIVE.add(blocks=3)
def PixelCNN(filters=8, depth=3):
    """Van den Oord et al., 2016: masked convolutions in residual blocks."""
    inputs = keras.Input((16, 16, 1))
    x = MaskedConv("A", 2 * filters, 7)(inputs)
    for _ in range(depth):
        h = layers.Conv2D(filters, 1, activation="relu")(x)
        h = layers.ReLU()(MaskedConv("B", filters, 3)(h))
        h = layers.Conv2D(2 * filters, 1, activation="relu")(h)
        x = layers.add([x, h])
    x = layers.Conv2D(2 * filters, 1, activation="relu")(x)
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(x))


class Coupling(layers.Layer):
    """Scales and shifts half of the numbers by what it makes of the others."""

    def __init__(self, units, flips, **kwargs):
        super().__init__(**kwargs)
        self.flips = flips
        self.net = keras.Sequential(
            [layers.Dense(units, "relu"), layers.BatchNormalization()]
        )
        self.scale, self.shift = layers.Dense(2, "tanh"), layers.Dense(2)

    def call(self, x):
        first, second = ops.split(x, 2, axis=-1)
        if self.flips:
            first, second = second, first
        h = self.net(first)
        second = second * ops.exp(self.scale(h)) + self.shift(h)
        return ops.concatenate([first, second], axis=-1)


@GENERATIVE.add()
def RealNVP(units=16, depth=4):
    """Dinh et al., 2017: coupling layers on vectors."""
    x = inputs = keras.Input((4,))
    for index in range(depth):
        x = Coupling(units, index % 2)(x)
    return keras.Model(inputs, x)

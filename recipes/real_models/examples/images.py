"""Classifiers of images."""

import keras
from keras import layers, ops

from recipes.real_models.network import Gallery

IMAGES = Gallery()
SHAPE = (32, 32, 3)


def classified(inputs, x, classes=10):
    """The model whose classes are read off the mean of a feature map."""
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes)(x))


@IMAGES.add(blocks=4)
def ConvMixer(filters=16, depth=4):
    """Trockman and Kolter, 2022: only the depthwise convolutions are residual."""

    def activated(x):
        return layers.BatchNormalization()(layers.Activation("gelu")(x))

    inputs = keras.Input(SHAPE)
    x = activated(layers.Conv2D(filters, 4, 4)(inputs))
    for _ in range(depth):
        mixed = layers.DepthwiseConv2D(5, padding="same")(x)
        x = layers.Add()([activated(mixed), x])
        x = activated(layers.Conv2D(filters, 1)(x))
    return classified(inputs, x)


class Patches(layers.Layer):
    """Patches of an image as rows of numbers."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, images):
        batch, height, width, channels = ops.shape(images)
        rows, columns, size = height // self.size, width // self.size, self.size
        x = ops.reshape(images, (batch, rows, size, columns, size, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (batch, rows * columns, size * size * channels))


class PatchEncoder(layers.Layer):
    """A projection of patches, and learned positions."""

    def __init__(self, patches, units, **kwargs):
        super().__init__(**kwargs)
        self.patches = patches
        self.projection = layers.Dense(units)
        self.positions = layers.Embedding(patches, units)

    def call(self, x):
        positions = ops.expand_dims(ops.arange(0, self.patches), axis=0)
        return self.projection(x) + self.positions(positions)


class MLP(layers.Layer):
    """Dense layers with GELU and dropout."""

    def __init__(self, widths, rate, **kwargs):
        super().__init__(**kwargs)
        self.parts = []
        for width in widths:
            self.parts += [layers.Dense(width, "gelu"), layers.Dropout(rate)]

    def call(self, x, training=None):
        for part in self.parts:
            x = part(x, training=training) if "drop" in part.name else part(x)
        return x


class EncoderBlock(layers.Layer):
    """Attention and MLP, each behind a normalization and beside a shortcut."""

    def __init__(self, units, heads, rate, **kwargs):
        super().__init__(**kwargs)
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self.attention = layers.MultiHeadAttention(heads, units // heads)
        self.mlp = MLP([2 * units, units], rate)

    def call(self, x, training=None):
        h = self.norms[0](x)
        x = x + self.attention(h, h, training=training)
        return x + self.mlp(self.norms[1](x), training=training)


@IMAGES.add(blocks=6)
def VisionTransformer(units=16, depth=3):
    """Dosovitskiy et al., 2021, of subclassed layers; a flat head with dropout."""
    inputs = keras.Input(SHAPE)
    x = PatchEncoder(16, units)(Patches(8)(inputs))
    for _ in range(depth):
        x = EncoderBlock(units, 2, 0.1)(x)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    x = MLP([32, 16], 0.5)(x)
    return keras.Model(inputs, layers.Dense(10)(x))


class MixerBlock(layers.Layer):
    """Dense layers over patches, then over channels."""

    def __init__(self, patches, units, rate=0.1, **kwargs):
        super().__init__(**kwargs)
        self.token_norm = layers.LayerNormalization()
        self.channel_norm = layers.LayerNormalization()
        self.over_patches = keras.Sequential(
            [
                layers.Dense(patches, "gelu"),
                layers.Dense(patches),
                layers.Dropout(rate),
            ]
        )
        self.over_channels = keras.Sequential(
            [layers.Dense(units, "gelu"), layers.Dense(units), layers.Dropout(rate)]
        )

    def call(self, inputs):
        x = ops.transpose(self.token_norm(inputs), (0, 2, 1))
        x = ops.transpose(self.over_patches(x), (0, 2, 1)) + inputs
        return self.over_channels(self.channel_norm(x)) + x


@IMAGES.add(blocks=6)
def MLPMixer(units=16, depth=3):
    """Tolstikhin et al., 2021, of subclassed layers."""
    inputs = keras.Input(SHAPE)
    x = layers.Dense(units)(Patches(8)(inputs))
    for _ in range(depth):
        x = MixerBlock(16, units)(x)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(10)(layers.Dropout(0.2)(x)))


class GatedMLP(layers.Layer):
    """An MLP whose units are multiplied by a mixture over patches."""

    def __init__(self, patches, units, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.LayerNormalization()
        self.wide = layers.Dense(2 * units, "gelu")
        self.gate_norm = layers.LayerNormalization()
        self.gate = layers.Dense(patches, bias_initializer="ones")
        self.narrow = layers.Dense(units)

    def call(self, inputs):
        u, v = ops.split(self.wide(self.norm(inputs)), 2, axis=-1)
        v = ops.transpose(self.gate_norm(v), (0, 2, 1))
        v = ops.transpose(self.gate(v), (0, 2, 1))
        return inputs + self.narrow(u * v)


@IMAGES.add(blocks=3)
def GMLP(units=16, depth=3):
    """Liu et al., 2021: spatial gating units whose biases start at one."""
    inputs = keras.Input(SHAPE)
    x = layers.Dense(units)(Patches(8)(inputs))
    for _ in range(depth):
        x = GatedMLP(16, units)(x)
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


class DropPath(layers.Layer):
    """Leaves branches out, whole, in training."""

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, x, training=None):
        if not training:
            return x
        kept = 1 - self.rate
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        drawn = keras.random.uniform(shape, 0, 1, seed=self.seed_generator)
        return x / kept * ops.floor(kept + drawn)


class SequencePooling(layers.Layer):
    """The mean of a sequence, weighted by attention."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.Dense(1)

    def call(self, x):
        weights = ops.softmax(self.attention(x), axis=1)
        pooled = ops.matmul(ops.transpose(weights, (0, 2, 1)), x)
        return ops.squeeze(pooled, axis=1)


@IMAGES.add(blocks=4)
def CompactConvolutionalTransformer(units=16, depth=2):
    """Hassani et al., 2021: tokens by convolutions, stochastic depth."""
    inputs = keras.Input(SHAPE)
    x = inputs
    for filters in (8, units):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D(3, 2, "same")(layers.ReLU()(x))
    x = layers.Reshape((-1, units))(x)
    for index in range(depth):
        h = layers.LayerNormalization(epsilon=1e-5)(x)
        h = layers.MultiHeadAttention(2, units, dropout=0.1)(h, h)
        x = layers.Add()([DropPath(0.1 * index)(h), x])
        h = layers.LayerNormalization(epsilon=1e-5)(x)
        h = layers.Dense(units)(layers.Dense(units, keras.activations.gelu)(h))
        x = layers.Add()([DropPath(0.1 * index)(h), x])
    x = SequencePooling()(layers.LayerNormalization(epsilon=1e-5)(x))
    return keras.Model(inputs, layers.Dense(10)(x))


@IMAGES.add(blocks=8)
def PoolFormer(units=16, depth=4):
    """Yu et al., 2022: pooling minus identity in the place of attention."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(units, 4, 4)(inputs)
    for _ in range(depth):
        h = layers.GroupNormalization(1)(x)
        x = x + (layers.AveragePooling2D(3, 1, "same")(h) - h)
        h = layers.Conv2D(2 * units, 1, activation="gelu")(
            layers.GroupNormalization(1)(x)
        )
        x = x + layers.Conv2D(units, 1)(h)
    return classified(inputs, layers.GroupNormalization(1)(x))


@IMAGES.add(blocks=8)
def RevNet(filters=16, depth=4):
    """Gomez et al., 2017: two streams, each with the other's branches."""

    def branch(x):
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(filters // 2, 3, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        return layers.Conv2D(filters // 2, 3, padding="same")(x)

    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(filters, 3, 2, "same")(inputs)
    first, second = ops.split(x, 2, axis=-1)
    for _ in range(depth):
        first = first + branch(second)
        second = second + branch(first)
    x = layers.Concatenate()([first, second])
    return classified(inputs, layers.ReLU()(layers.BatchNormalization()(x)))


class SqueezeExcite(layers.Layer):
    """A factor for each channel, made of the means of all."""

    def __init__(self, ratio=4, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, shape):
        self.squeeze = layers.Dense(shape[-1] // self.ratio, "relu")
        self.excite = layers.Dense(shape[-1], "sigmoid")

    def call(self, x):
        factors = self.excite(self.squeeze(ops.mean(x, axis=(1, 2), keepdims=True)))
        return x * factors


@IMAGES.add(blocks=4)
def SEResNeXt(filters=16, depth=2):
    """Xie et al. and Hu et al., 2017: grouped convolutions, gated branches."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for stage in range(2):
        for index in range(depth):
            stride, width = (2 if stage and not index else 1), filters * (1 + stage)
            h = x
            for kernel, groups, step in ((1, 1, 1), (3, 4, stride)):
                h = layers.Conv2D(
                    width, kernel, step, "same", groups=groups, use_bias=False
                )(h)
                h = layers.ReLU()(layers.BatchNormalization()(h))
            h = layers.Conv2D(width, 1, use_bias=False)(h)
            h = layers.BatchNormalization()(h)
            if stride > 1:
                x = layers.Conv2D(width, 1, stride, use_bias=False)(x)
                x = layers.BatchNormalization()(x)
            x = layers.ReLU()(layers.Add()([x, SqueezeExcite()(h)]))
    return classified(inputs, x)


class Squash(layers.Layer):
    """Vectors with their lengths between 0 and 1."""

    def call(self, x):
        square = ops.sum(ops.square(x), axis=-1, keepdims=True)
        return x * ops.sqrt(square) / (1 + square + 1e-7)


class Capsules(layers.Layer):
    """Capsules with dynamic routing."""

    def __init__(self, capsules, size, rounds=3, **kwargs):
        super().__init__(**kwargs)
        self.capsules, self.size, self.rounds = capsules, size, rounds
        self.squash = Squash()

    def build(self, shape):
        _, inputs, size = shape
        self.kernel = self.add_weight(
            shape=(inputs, self.capsules, size, self.size),
            initializer="glorot_uniform",
            name="kernel",
        )

    def call(self, x):
        votes = ops.einsum("bis,icst->bict", x, self.kernel)
        logits = ops.zeros_like(votes[..., :1])
        for _ in range(self.rounds):
            shares = ops.softmax(logits, axis=2)
            found = self.squash(ops.sum(shares * votes, axis=1))
            agreement = votes * ops.expand_dims(found, 1)
            logits = logits + ops.sum(agreement, axis=-1, keepdims=True)
        return found


@IMAGES.add(blocks=0)
def CapsNet():
    """Sabour et al., 2017; classes are lengths of vectors."""
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(16, 9, activation="relu")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(16, 9, 2)(x)
    x = Squash()(layers.Reshape((-1, 8))(x))
    x = Capsules(10, 8)(x)
    return keras.Model(inputs, ops.sqrt(ops.sum(ops.square(x), axis=-1) + 1e-7))


@IMAGES.add(blocks=0)
def SpatialTransformer():
    """Jaderberg et al., 2015: the transformation starts as the identity."""

    def start(shape, dtype=None):
        return ops.convert_to_tensor([1.0, 0.0, 0.0, 1.0], dtype=dtype)

    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(8, 5, 2, activation="relu")(inputs)
    x = layers.Conv2D(8, 5, 2, activation="relu")(layers.BatchNormalization()(x))
    x = layers.Dense(16, "relu")(layers.Flatten()(x))
    scale_shift = layers.Dense(
        4, kernel_initializer="zeros", bias_initializer=start, name="transformation"
    )(x)
    scale = ops.reshape(scale_shift[:, :2], (-1, 1, 1, 2))
    grid = ops.stack(
        ops.meshgrid(ops.linspace(-1.0, 1.0, 32), ops.linspace(-1.0, 1.0, 32)), axis=-1
    )
    mask = ops.exp(-ops.sum(ops.square(grid * scale), axis=-1, keepdims=True))
    x = layers.Conv2D(8, 3, 2, use_bias=False)(inputs * mask)
    return classified(inputs, layers.ReLU()(layers.BatchNormalization()(x)))


# Those of the encoder count for both images.
@IMAGES.add(blocks=6)
def SiameseResNet(filters=8):
    """Koch et al., 2015: one encoder for two images, and their distance."""
    image = keras.Input(SHAPE)
    x = layers.Conv2D(filters, 3, 2, "same")(image)
    for _ in range(3):
        h = layers.ReLU()(layers.BatchNormalization()(x))
        h = layers.Conv2D(filters, 3, padding="same")(h)
        h = layers.ReLU()(layers.BatchNormalization()(h))
        x = x + layers.Conv2D(filters, 3, padding="same")(h)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    encoder = keras.Model(image, layers.Dense(8)(x), name="encoder")
    pair = [keras.Input(SHAPE, name=name) for name in ("left", "right")]
    distance = ops.abs(ops.subtract(*map(encoder, pair)))
    return keras.Model(pair, layers.Dense(1, "sigmoid")(distance))

"""Models with a `call` of their own, as people write them."""

import keras
from keras import layers, ops


class ConvBlock(layers.Layer):
    """A residual block of two convolutions, with a projection where it strides."""

    def __init__(self, filters, strides=1, **kwargs):
        super().__init__(**kwargs)
        self.conv1 = layers.Conv2D(filters, 3, strides, "same", use_bias=False)
        self.bn1 = layers.BatchNormalization()
        self.conv2 = layers.Conv2D(filters, 3, padding="same", use_bias=False)
        self.bn2 = layers.BatchNormalization()
        self.shortcut = None
        if strides != 1:
            self.shortcut = keras.Sequential(
                [layers.Conv2D(filters, 1, strides), layers.BatchNormalization()]
            )

    def call(self, inputs, training=None):
        x = ops.relu(self.bn1(self.conv1(inputs), training=training))
        x = self.bn2(self.conv2(x), training=training)
        if self.shortcut is not None:
            inputs = self.shortcut(inputs, training=training)
        return ops.relu(x + inputs)


class ResNet(keras.Model):
    """Four blocks in a list, between a stem and a head."""

    def __init__(self, classes=5, **kwargs):
        super().__init__(**kwargs)
        self.stem = layers.Conv2D(8, 3, padding="same", name="stem")
        self.bn = layers.BatchNormalization(name="bn")
        self.blocks = [ConvBlock(8), ConvBlock(8), ConvBlock(16, 2), ConvBlock(16)]
        self.pool = layers.GlobalAveragePooling2D()
        self.dropout = layers.Dropout(0.2)
        self.head = layers.Dense(classes, name="head")

    def call(self, inputs, training=False):
        x = ops.relu(self.bn(self.stem(inputs), training=training))
        for block in self.blocks:
            x = block(x, training=training)
        x = self.dropout(self.pool(x), training=training)
        return self.head(x)


class TransformerBlock(layers.Layer):
    """Attention and two dense layers, with normalization in front."""

    def __init__(self, width, heads=2, rate=0.1, **kwargs):
        super().__init__(**kwargs)
        self.att = layers.MultiHeadAttention(heads, width // heads)
        self.ffn = keras.Sequential(
            [layers.Dense(2 * width, activation="relu"), layers.Dense(width)]
        )
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self.drops = [layers.Dropout(rate) for _ in range(2)]

    def call(self, x, training=None):
        y = self.norms[0](x)
        x = x + self.drops[0](self.att(y, y), training=training)
        return x + self.drops[1](self.ffn(self.norms[1](x)), training=training)


class TextClassifier(keras.Model):
    """A Transformer on tokens, with positions and a class token of its own."""

    def __init__(self, words=20, length=12, width=16, depth=2, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(words, width)
        self.positions = layers.Embedding(length + 1, width)
        self.blocks = [TransformerBlock(width) for _ in range(depth)]
        self.norm = layers.LayerNormalization()
        self.head = layers.Dense(3)
        self.first = self.add_weight(
            shape=(1, 1, width), initializer="random_normal", name="first"
        )

    def call(self, tokens):
        x = self.tokens(tokens)
        first = ops.broadcast_to(self.first, (ops.shape(x)[0], 1, x.shape[-1]))
        x = ops.concatenate([first, x], axis=1)
        x = x + self.positions(ops.arange(x.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Sampling(layers.Layer):
    """Draws from a normal distribution."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, inputs):
        mean, log_variance = inputs
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


class Encoder(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(16)
        self.norm = layers.BatchNormalization()
        self.mean = layers.Dense(4, name="mean")
        self.log_variance = layers.Dense(4, name="log_variance")
        self.sampling = Sampling()

    def call(self, x):
        x = ops.relu(self.norm(self.hidden(x)))
        mean, log_variance = self.mean(x), self.log_variance(x)
        return mean, log_variance, self.sampling((mean, log_variance))


class VAE(keras.Model):
    """A variational autoencoder that adds its divergence as a loss."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.encoder = Encoder(name="encoder")
        self.decoder = keras.Sequential(
            [layers.Dense(16), layers.BatchNormalization(), layers.ReLU()]
            + [layers.Dense(8, name="out")],
            name="decoder",
        )

    def call(self, x):
        mean, log_variance, z = self.encoder(x)
        divergence = ops.square(mean) + ops.exp(log_variance) - log_variance - 1
        self.add_loss(0.5 * ops.mean(divergence))
        return self.decoder(z)


class Autoencoder(keras.Model):
    """Two Sequential models, with steps of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        parts = [layers.Dense(4), layers.BatchNormalization(), layers.ReLU()]
        self.encoder = keras.Sequential(parts)
        self.decoder = keras.Sequential([layers.Dense(8)])

    def call(self, x):
        return self.decoder(self.encoder(x))

    def train_step(self, data):
        raise NotImplementedError


class TwoTowers(keras.Model):
    """Dicts in and out, with one tower for both inputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        norm = layers.BatchNormalization()
        self.tower = keras.Sequential([layers.Dense(6), norm, layers.ReLU()])
        self.score = layers.Dense(1)

    def call(self, inputs):
        query, item = self.tower(inputs["query"]), self.tower(inputs["item"])
        both = ops.concatenate([query, item], axis=-1)
        return {"score": self.score(both), "vectors": (query, item)}


class TwoArguments(keras.Model):
    """Several arguments that are tensors."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.image, self.text = layers.Dense(6), layers.Dense(6)
        self.norm = layers.BatchNormalization()

    def call(self, image, text, training=None):
        return self.norm(self.image(image) - self.text(text), training=training)

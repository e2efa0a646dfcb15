"""Networks that read and write text, and other sequences of tokens."""

import keras
from keras import layers, ops

from recipes.real_models.network import Gallery

SEQUENCES = Gallery()
WORDS, LENGTH = 60, 12


class TokenAndPosition(layers.Layer):
    """Embeddings of tokens and of their places."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(WORDS, units)
        self.places = layers.Embedding(LENGTH, units)

    def call(self, x):
        places = ops.arange(start=0, stop=ops.shape(x)[-1], step=1)
        return self.tokens(x) + self.places(places)


class TransformerBlock(layers.Layer):
    """Post-norm attention and feed-forward network."""

    def __init__(self, units, heads, rate=0.1, **kwargs):
        super().__init__(**kwargs)
        self.att = layers.MultiHeadAttention(heads, units)
        self.ffn = keras.Sequential(
            [layers.Dense(2 * units, "relu"), layers.Dense(units)]
        )
        self.layernorm1 = layers.LayerNormalization(epsilon=1e-6)
        self.layernorm2 = layers.LayerNormalization(epsilon=1e-6)
        self.dropout1, self.dropout2 = layers.Dropout(rate), layers.Dropout(rate)

    def call(self, inputs, training=None):
        attended = self.dropout1(self.att(inputs, inputs), training=training)
        out1 = self.layernorm1(inputs + attended)
        ffn = self.dropout2(self.ffn(out1), training=training)
        return self.layernorm2(out1 + ffn)


@SEQUENCES.add(blocks=4)
def TextTransformer(units=16, depth=2):
    """Vaswani et al., 2017: the encoder, for a class."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = TokenAndPosition(units)(inputs)
    for _ in range(depth):
        x = TransformerBlock(units, 2)(x)
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(x))
    x = layers.Dropout(0.1)(layers.Dense(8, "relu")(x))
    return keras.Model(inputs, layers.Dense(2, "softmax")(x))


class DecoderBlock(layers.Layer):
    """Causal attention, attention to the source, and a feed-forward network."""

    def __init__(self, units, heads, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.itself = layers.MultiHeadAttention(heads, units // heads)
        self.source = layers.MultiHeadAttention(heads, units // heads)
        self.feed = keras.Sequential(
            [layers.Dense(2 * units, "relu"), layers.Dense(units)]
        )
        self.norms = [layers.LayerNormalization() for _ in range(3)]

    def call(self, x, source, mask=None):
        h = self.itself(x, x, x, use_causal_mask=True)
        x = self.norms[0](x + h)
        x = self.norms[1](x + self.source(x, source, source))
        return self.norms[2](x + self.feed(x))


@SEQUENCES.add(blocks=5)
def TranslationTransformer(units=16):
    """Vaswani et al., 2017: encoder and decoder."""
    source = keras.Input((LENGTH,), dtype="int32", name="source")
    target = keras.Input((LENGTH,), dtype="int32", name="target")
    encoded = TransformerBlock(units, 2)(TokenAndPosition(units)(source))
    x = DecoderBlock(units, 2)(TokenAndPosition(units)(target), encoded)
    x = layers.Dense(WORDS)(layers.Dropout(0.5)(x))
    return keras.Model([source, target], x)


class CausalAttention(layers.Layer):
    """Attention of heads that are made by hand, with a mask of one's own."""

    def __init__(self, units, heads, **kwargs):
        super().__init__(**kwargs)
        self.units, self.heads = units, heads
        self.qkv = layers.Dense(3 * units, use_bias=False)
        self.out = layers.Dense(units, use_bias=False)

    def call(self, x):
        batch, length, _ = ops.shape(x)
        size = self.units // self.heads
        made = ops.reshape(self.qkv(x), (batch, length, 3, self.heads, size))
        q, k, v = (ops.transpose(made[:, :, i], (0, 2, 1, 3)) for i in range(3))
        scores = ops.matmul(q, ops.swapaxes(k, -1, -2)) / size**0.5
        places = ops.arange(length)
        mask = places[:, None] >= places[None, :]
        scores = ops.where(mask, scores, -1e9)
        h = ops.matmul(ops.softmax(scores, axis=-1), v)
        h = ops.reshape(ops.transpose(h, (0, 2, 1, 3)), (batch, length, self.units))
        return self.out(h)


@SEQUENCES.add(blocks=4)
def MiniGPT(units=16, depth=2):
    """Radford et al., 2019: pre-norm blocks, the head shares no weights."""

    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.ln_1, self.ln_2 = (
                layers.LayerNormalization(),
                layers.LayerNormalization(),
            )
            self.attn = CausalAttention(units, 2)
            self.fc, self.proj = layers.Dense(4 * units), layers.Dense(units)
            self.drop = layers.Dropout(0.1)

        def call(self, x, training=None):
            x = x + self.drop(self.attn(self.ln_1(x)), training=training)
            h = self.proj(ops.gelu(self.fc(self.ln_2(x))))
            return x + self.drop(h, training=training)

    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Dropout(0.1)(TokenAndPosition(units)(inputs))
    for _ in range(depth):
        x = Block()(x)
    x = layers.LayerNormalization()(x)
    return keras.Model(inputs, layers.Dense(WORDS, use_bias=False)(x))


class RMSNorm(layers.Layer):
    """Divides by the root of the mean square."""

    def build(self, shape):
        self.weight = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        square = ops.mean(ops.square(x), axis=-1, keepdims=True)
        return x * ops.rsqrt(square + 1e-6) * self.weight


@SEQUENCES.add(blocks=2)
def ParallelTransformer(units=16, depth=2):
    """Wang and Komatsuzaki, 2021 (GPT-J): attention and MLP in one sum."""

    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm = RMSNorm()
            self.attn = CausalAttention(units, 2)
            self.up, self.down = layers.Dense(4 * units, "gelu"), layers.Dense(units)

        def call(self, x):
            h = self.norm(x)
            return x + (self.attn(h) + self.down(self.up(h)))

    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(WORDS, units)(inputs)
    for _ in range(depth):
        x = Block()(x)
    return keras.Model(inputs, layers.Dense(WORDS)(RMSNorm()(x)))


@SEQUENCES.add(blocks=4)
def SwiGLUTransformer(units=16, depth=2):
    """Touvron et al., 2023: RMSNorm, products of two dense layers, no biases."""

    def dense(width):
        return layers.Dense(width, use_bias=False)

    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(WORDS, units)(inputs)
    for _ in range(depth):
        x = x + CausalAttention(units, 2)(RMSNorm()(x))
        h = RMSNorm()(x)
        x = x + dense(units)(ops.silu(dense(2 * units)(h)) * dense(2 * units)(h))
    return keras.Model(inputs, dense(WORDS)(RMSNorm()(x)))


@SEQUENCES.add(blocks=4)
def FNet(units=16, depth=2):
    """Lee-Thorp et al., 2022: Fourier transforms in the place of attention."""

    class Encoder(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense_proj = keras.Sequential(
                [layers.Dense(2 * units, "relu"), layers.Dense(units)]
            )
            self.layernorm_1 = layers.LayerNormalization()
            self.layernorm_2 = layers.LayerNormalization()

        def call(self, inputs):
            real, _ = ops.fft2((inputs, ops.zeros_like(inputs)))
            x = self.layernorm_1(inputs + real)
            return self.layernorm_2(x + self.dense_proj(x))

    inputs = keras.Input((LENGTH,), dtype="int32")
    x = TokenAndPosition(units)(inputs)
    for _ in range(depth):
        x = Encoder()(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(2)(layers.Dropout(0.5)(x)))


class Router(layers.Layer):
    """A feed-forward network of experts, of which each token asks some."""

    def __init__(self, units, experts, **kwargs):
        super().__init__(**kwargs)
        self.gate = layers.Dense(experts)
        self.experts = [
            keras.Sequential([layers.Dense(2 * units, "gelu"), layers.Dense(units)])
            for _ in range(experts)
        ]

    def call(self, x):
        shares = ops.softmax(self.gate(x), axis=-1)
        best = ops.max(shares, axis=-1, keepdims=True)
        shares = ops.where(shares >= best, shares, ops.zeros_like(shares))
        made = ops.stack([expert(x) for expert in self.experts], axis=-1)
        return ops.sum(made * ops.expand_dims(shares, -2), axis=-1)


@SEQUENCES.add(blocks=4)
def SwitchTransformer(units=16, depth=2):
    """Fedus et al., 2021: experts in the place of the feed-forward network."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = TokenAndPosition(units)(inputs)
    for _ in range(depth):
        h = layers.MultiHeadAttention(2, units)(x, x)
        x = layers.LayerNormalization()(x + h)
        x = layers.LayerNormalization()(x + Router(units, 3)(x))
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


@SEQUENCES.add(blocks=0)
def BiLSTMTagger(units=16):
    """Huang et al., 2015: recurrent layers, with normalization between them."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(WORDS, units, mask_zero=False)(inputs)
    x = layers.Bidirectional(layers.LSTM(units, return_sequences=True))(x)
    x = layers.LayerNormalization()(x)
    x = layers.Bidirectional(layers.GRU(units, return_sequences=True))(x)
    x = layers.Dropout(0.2)(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(5, "softmax")(x))

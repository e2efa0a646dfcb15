"""Networks for series: sound, forecasts, video, sensors."""

import keras
from keras import layers, ops

from recipes.real_models.network import Gallery

SERIES = Gallery()


# The sum of the last layer is read by nothing.
@SERIES.add(blocks=5)
def WaveNet(filters=16, depth=6):
    """Van den Oord et al., 2016: gated dilated convolutions, skips summed."""
    inputs = keras.Input((64, 1))
    x = layers.Conv1D(filters, 2, padding="causal")(inputs)
    skips = []
    for index in range(depth):
        dilation = 2 ** (index % 3)
        signal, gate = (
            layers.Conv1D(
                filters, 2, padding="causal", dilation_rate=dilation, activation=kind
            )(x)
            for kind in ("tanh", "sigmoid")
        )
        h = layers.Multiply()([signal, gate])
        skips.append(layers.Conv1D(filters, 1)(h))
        x = layers.Add()([x, layers.Conv1D(filters, 1)(h)])
    x = layers.ReLU()(layers.Add()(skips))
    x = layers.Conv1D(filters, 1, activation="relu")(x)
    return keras.Model(inputs, layers.Conv1D(8, 1)(x))


@SERIES.add(blocks=4)
def TCN(filters=16, depth=4):
    """Bai et al., 2018: dilated causal convolutions, ReLU behind the sum."""
    x = inputs = keras.Input((64, 3))
    for index in range(depth):
        h = x
        for _ in range(2):
            h = layers.Conv1D(filters, 3, padding="causal", dilation_rate=2**index)(h)
            h = layers.SpatialDropout1D(0.1)(
                layers.ReLU()(layers.LayerNormalization()(h))
            )
        x = x if x.shape[-1] == filters else layers.Conv1D(filters, 1)(x)
        x = layers.ReLU()(x + h)
    return keras.Model(inputs, layers.Dense(1)(x[:, -1]))


class NBeatsBlock(layers.Layer):
    """Dense layers that give a backcast and a forecast."""

    def __init__(self, past, future, units, **kwargs):
        super().__init__(**kwargs)
        self.past = past
        self.hidden = [layers.Dense(units, "relu") for _ in range(4)]
        self.theta = layers.Dense(past + future)

    def call(self, x):
        for layer in self.hidden:
            x = layer(x)
        theta = self.theta(x)
        return theta[:, : self.past], theta[:, self.past :]


# What the last block leaves is read by nothing.
@SERIES.add(blocks=4)
def NBeats(past=24, future=6, depth=5):
    """Oreshkin et al., 2019: blocks take from the input what they explain."""
    inputs = x = keras.Input((past,))
    x, forecast = x, None
    for _ in range(depth):
        backcast, part = NBeatsBlock(past, future, 32)(x)
        x = layers.subtract([x, backcast])
        forecast = part if forecast is None else layers.add([forecast, part])
    return keras.Model(inputs, forecast)


@SERIES.add(blocks=4)
def TimeSeriesTransformer(depth=2):
    """Pre-norm Transformer on sensor data, feed-forward by convolutions of size 1."""
    x = inputs = keras.Input((48, 4))
    for _ in range(depth):
        h = layers.LayerNormalization(epsilon=1e-6)(x)
        h = layers.MultiHeadAttention(2, 8, dropout=0.1)(h, h)
        res = layers.Dropout(0.1)(h) + x
        h = layers.LayerNormalization(epsilon=1e-6)(res)
        h = layers.Conv1D(8, 1, activation="relu")(h)
        h = layers.Conv1D(4, 1)(layers.Dropout(0.1)(h))
        x = h + res
    x = layers.GlobalAveragePooling1D(data_format="channels_first")(x)
    x = layers.Dropout(0.1)(layers.Dense(16, "relu")(x))
    return keras.Model(inputs, layers.Dense(3, "softmax")(x))


class Conformer(layers.Layer):
    """Half a feed-forward network, attention, convolution, and the other half."""

    def __init__(self, units, heads, **kwargs):
        super().__init__(**kwargs)
        self.before, self.behind = self.feed(units), self.feed(units)
        self.attention_norm = layers.LayerNormalization()
        self.attention = layers.MultiHeadAttention(heads, units // heads)
        self.conv_norm = layers.LayerNormalization()
        self.expand = layers.Conv1D(2 * units, 1)
        self.depthwise = layers.DepthwiseConv1D(5, padding="same")
        self.batch_norm = layers.BatchNormalization()
        self.project = layers.Conv1D(units, 1)
        self.end = layers.LayerNormalization()

    @staticmethod
    def feed(units):
        return keras.Sequential(
            [
                layers.LayerNormalization(),
                layers.Dense(2 * units, "silu"),
                layers.Dropout(0.1),
                layers.Dense(units),
            ]
        )

    def convolved(self, x, training):
        x = ops.glu(self.expand(self.conv_norm(x)), axis=-1)
        x = self.batch_norm(self.depthwise(x), training=training)
        return self.project(ops.silu(x))

    def call(self, x, training=None):
        x = x + 0.5 * self.before(x, training=training)
        h = self.attention_norm(x)
        x = x + self.attention(h, h)
        x = x + self.convolved(x, training)
        return self.end(x + 0.5 * self.behind(x, training=training))


@SERIES.add(blocks=8)
def ConformerEncoder(units=16, depth=2):
    """Gulati et al., 2020."""
    inputs = keras.Input((32, 8))
    x = layers.Dense(units)(
        layers.Conv1D(units, 3, 2, "same", activation="relu")(inputs)
    )
    for _ in range(depth):
        x = Conformer(units, 2)(x)
    return keras.Model(inputs, layers.Dense(10)(x))


@SERIES.add(blocks=0)
def DeepSpeech2(units=16):
    """Amodei et al., 2015: convolutions with BatchNorm, recurrent layers."""
    inputs = keras.Input((40, 20))
    x = layers.Reshape((40, 20, 1))(inputs)
    for size, strides in (((11, 41), (2, 2)), ((11, 21), (1, 2))):
        x = layers.Conv2D(8, size, strides, "same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Reshape((-1, x.shape[-2] * x.shape[-1]))(x)
    for index in range(2):
        x = layers.Bidirectional(layers.GRU(units, return_sequences=True))(x)
        x = layers.Dropout(0.5)(x) if not index else x
    x = layers.Dropout(0.5)(layers.Dense(2 * units, "relu")(x))
    return keras.Model(inputs, layers.Dense(6, "softmax")(x))


@SERIES.add(blocks=0)
def ConvLSTMFrames(filters=8):
    """Shi et al., 2015: the next frame of a video."""
    inputs = x = keras.Input((4, 16, 16, 1))
    for size in (5, 3, 1):
        x = layers.ConvLSTM2D(
            filters, size, padding="same", return_sequences=True, activation="relu"
        )(x)
        x = layers.BatchNormalization()(x) if size > 1 else x
    x = layers.Conv3D(1, 3, padding="same", activation="sigmoid")(x)
    return keras.Model(inputs, x)


class ResidualMain(layers.Layer):
    """Convolutions over space, then over time, each normalized."""

    def __init__(self, filters, size, **kwargs):
        super().__init__(**kwargs)
        time, height, width = size
        self.seq = keras.Sequential(
            [
                layers.Conv3D(filters, (1, height, width), padding="same"),
                layers.Conv3D(filters, (time, 1, 1), padding="same"),
                layers.LayerNormalization(),
                layers.ReLU(),
                layers.Conv3D(filters, (1, height, width), padding="same"),
                layers.Conv3D(filters, (time, 1, 1), padding="same"),
                layers.LayerNormalization(),
            ]
        )

    def call(self, x):
        return self.seq(x)


@SERIES.add(blocks=2)
def VideoResNet(filters=8):
    """Tran et al., 2018: (2+1)D convolutions, a normalized projection."""
    inputs = keras.Input((4, 16, 16, 3))
    x = layers.Conv3D(filters, (1, 7, 7), padding="same")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for width in (filters, 2 * filters):
        h = ResidualMain(width, (3, 3, 3))(x)
        if width != x.shape[-1]:
            project = [layers.Dense(width), layers.LayerNormalization()]
            x = keras.Sequential(project)(x)
        x = layers.add([x, h])
    x = layers.Flatten()(layers.GlobalAveragePooling3D()(x))
    return keras.Model(inputs, layers.Dense(4)(x))


@SERIES.add(blocks=0)
def VideoCNNLSTM(filters=8):
    """Donahue et al., 2014: one CNN for every frame, then a recurrent layer."""
    frame = keras.Input((16, 16, 3))
    x = layers.Conv2D(filters, 3, 2, "same", activation="relu")(frame)
    x = layers.Conv2D(filters, 3, 2, "same")(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    inputs = keras.Input((4, 16, 16, 3))
    x = layers.TimeDistributed(keras.Model(frame, x, name="cnn"))(inputs)
    x = layers.GRU(16)(x)
    return keras.Model(inputs, layers.Dense(4, "softmax")(layers.Dropout(0.4)(x)))


@SERIES.add(blocks=3)
def ECGResNet(filters=16, depth=3):
    """Ribeiro et al., 2020: pooled shortcuts, dropout in branches."""
    inputs = keras.Input((128, 4))
    x = layers.Conv1D(filters, 9, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for index in range(depth):
        width = filters * (1 + index % 2)
        h = layers.Conv1D(width, 9, padding="same", use_bias=False)(x)
        h = layers.Dropout(0.2)(layers.ReLU()(layers.BatchNormalization()(h)))
        h = layers.Conv1D(width, 9, 2, "same", use_bias=False)(h)
        x = layers.MaxPooling1D(2, padding="same")(x)
        x = layers.Conv1D(width, 1, use_bias=False)(x)
        x = layers.Add()([x, h])
        x = layers.Dropout(0.2)(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(inputs, layers.Dense(6, "sigmoid")(layers.Flatten()(x)))


class GraphConvolution(layers.Layer):
    """A convolution over the nodes of a fixed graph."""

    def __init__(self, nodes, units, **kwargs):
        super().__init__(**kwargs)
        self.nodes, self.units = nodes, units

    def build(self, shape):
        ring = [
            [float(abs(i - j) in (0, 1)) / 3 for j in range(self.nodes)]
            for i in range(self.nodes)
        ]
        self.adjacency = ops.convert_to_tensor(ring)
        self.weight = self.add_weight(
            shape=(2 * shape[-1], self.units),
            initializer="glorot_uniform",
            name="weight",
        )

    def call(self, x):
        around = ops.einsum("ij,btjc->btic", self.adjacency, x)
        return ops.relu(ops.matmul(ops.concatenate([x, around], -1), self.weight))


@SERIES.add(blocks=0)
def TrafficForecast(nodes=5, units=8):
    """Yu et al., 2017, in part: graph convolution, then a recurrent layer."""
    inputs = keras.Input((6, nodes, 1))
    x = GraphConvolution(nodes, units)(inputs)
    x = layers.LayerNormalization()(x)
    x = layers.Reshape((6, nodes * units))(x)
    x = layers.LSTM(16, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(nodes)(x))

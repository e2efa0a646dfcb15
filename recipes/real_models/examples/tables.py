"""Networks for tables, graphs, sets of points, and games."""

import keras
from keras import layers, ops

from recipes.real_models.network import Gallery

TABLES = Gallery()


class Columns(layers.Layer):
    """Adds an embedding of the column that a value stands in."""

    def __init__(self, columns, units, **kwargs):
        super().__init__(**kwargs)
        self.columns = columns
        self.embedding = layers.Embedding(columns, units)

    def call(self, x):
        return x + self.embedding(ops.arange(self.columns))


@TABLES.add(blocks=4)
def TabTransformer(units=8, depth=2):
    """Huang et al., 2020: attention over the columns with categories."""
    numbers = keras.Input((3,), name="numbers")
    categories = keras.Input((4,), dtype="int32", name="categories")
    x = layers.Embedding(10, units)(categories)
    x = Columns(4, units)(x)
    for _ in range(depth):
        h = layers.MultiHeadAttention(2, units, dropout=0.2)(x, x)
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([h, x]))
        h = layers.Dropout(0.2)(layers.Dense(units, "gelu")(x))
        h = layers.Dense(units)(h)
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([h, x]))
    x = layers.Concatenate()(
        [layers.Flatten()(x), layers.LayerNormalization()(numbers)]
    )
    for width in (32, 16):
        x = layers.Dense(width, "selu")(layers.BatchNormalization()(x))
        x = layers.Dropout(0.2)(x)
    x = layers.Dense(1, "sigmoid")(x)
    return keras.Model([numbers, categories], x)


class FeatureTokens(layers.Layer):
    """A token for each number, and one for the class."""

    def __init__(self, features, units, **kwargs):
        super().__init__(**kwargs)
        self.features, self.units = features, units

    def build(self, shape):
        def weight(rows, name):
            return self.add_weight(
                shape=(rows, self.units), initializer="random_normal", name=name
            )

        self.scale = weight(self.features, "scale")
        self.shift = weight(self.features, "shift")
        self.token = weight(1, "token")

    def call(self, x):
        tokens = ops.expand_dims(x, -1) * self.scale + self.shift
        shape = (ops.shape(x)[0], 1, self.units)
        return ops.concatenate([ops.broadcast_to(self.token, shape), tokens], axis=1)


@TABLES.add(blocks=4)
def FTTransformer(units=16, depth=2):
    """Gorishniy et al., 2021: every number is a token."""
    inputs = keras.Input((6,))
    x = FeatureTokens(6, units)(inputs)
    for _ in range(depth):
        h = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, units // 2)(h, h)
        h = layers.Dense(units, "relu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(units)(h)
    x = layers.ReLU()(layers.LayerNormalization()(x[:, 0]))
    return keras.Model(inputs, layers.Dense(1)(x))


@TABLES.add()
def DeepAndCross(units=16, depth=2):
    """Wang et al., 2017: `x_0 * (W x) + x`, beside dense layers."""
    inputs = keras.Input((8,))
    cross = start = layers.BatchNormalization()(layers.Dense(units)(inputs))
    for _ in range(depth):
        cross = start * layers.Dense(units)(cross) + cross
    cross = layers.BatchNormalization()(cross)
    deep = start
    for _ in range(2):
        deep = layers.ReLU()(layers.BatchNormalization()(layers.Dense(units)(deep)))
        deep = layers.Dropout(0.3)(deep)
    merged = layers.Concatenate()([cross, deep])
    return keras.Model(inputs, layers.Dense(1, "sigmoid")(merged))


class GatedLinearUnit(layers.Layer):
    """One dense layer times the sigmoid of another."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.linear = layers.Dense(units)
        self.sigmoid = layers.Dense(units, activation="sigmoid")

    def call(self, x):
        return self.linear(x) * self.sigmoid(x)


class GatedResidualNetwork(layers.Layer):
    """Dense layers behind a gate, beside a shortcut, normalized."""

    def __init__(self, units, rate, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.elu_dense = layers.Dense(units, activation="elu")
        self.linear_dense = layers.Dense(units)
        self.dropout = layers.Dropout(rate)
        self.gate = GatedLinearUnit(units)
        self.layer_norm = layers.LayerNormalization()
        self.project = layers.Dense(units)

    def call(self, inputs):
        x = self.linear_dense(self.elu_dense(inputs))
        x = self.dropout(x)
        if inputs.shape[-1] != self.units:
            inputs = self.project(inputs)
        return self.layer_norm(inputs + self.gate(x))


class VariableSelection(layers.Layer):
    """Weights of the columns, and the weighted sum of what is made of them."""

    def __init__(self, columns, units, rate, **kwargs):
        super().__init__(**kwargs)
        self.grns = [GatedResidualNetwork(units, rate) for _ in range(columns)]
        self.grn_concat = GatedResidualNetwork(units, rate)
        self.softmax = layers.Dense(columns, activation="softmax")

    def call(self, inputs):
        shares = self.softmax(self.grn_concat(ops.concatenate(inputs, axis=-1)))
        made = [grn(x) for grn, x in zip(self.grns, inputs, strict=True)]
        shares = ops.expand_dims(shares, axis=-1)
        return ops.squeeze(
            ops.matmul(ops.transpose(shares, (0, 2, 1)), ops.stack(made, axis=1)),
            axis=1,
        )


@TABLES.add(blocks=4)
def GatedResidualTable(units=8):
    """Lim et al., 2019, for tables: gated residual networks select variables."""
    inputs = [keras.Input((1,), name=f"column_{i}") for i in range(3)]
    columns = [layers.Dense(units)(x) for x in inputs]
    x = VariableSelection(3, units, 0.1)(columns)
    return keras.Model(inputs, layers.Dense(1, "sigmoid")(x))


def feed_forward(widths, rate=0.2, name=None):
    """Normalization in front of every dense layer, as for nodes of graphs."""
    parts = []
    for width in widths:
        parts += [layers.BatchNormalization(), layers.Dropout(rate)]
        parts += [layers.Dense(width, "gelu")]
    return keras.Sequential(parts, name=name)


class MessagePassing(layers.Layer):
    """Means over neighbours of what a network makes of them, normalized."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.prepare = feed_forward([units, units])
        self.update = feed_forward([units, units])

    def call(self, inputs):
        nodes, adjacency = inputs
        messages = ops.matmul(adjacency, self.prepare(nodes))
        x = self.update(ops.concatenate([nodes, messages], axis=-1))
        return x / ops.maximum(ops.norm(x, axis=-1, keepdims=True), 1e-6)


@TABLES.add(blocks=2)
def GraphNetwork(units=16):
    """Kipf and Welling, 2016, with residual convolutions and normalized nodes."""
    nodes = keras.Input((6, 12), name="nodes")
    adjacency = keras.Input((6, 6), name="adjacency")
    x = feed_forward([units, units], name="preprocess")(nodes)
    for _ in range(2):
        x = MessagePassing(units)([x, adjacency]) + x
    x = feed_forward([units, units], name="postprocess")(x)
    return keras.Model([nodes, adjacency], layers.Dense(5)(x))


class GraphAttention(layers.Layer):
    """Attention over neighbours, by a vector and leaky ReLU."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shapes):
        size = shapes[0][-1]
        self.kernel = self.add_weight(
            shape=(size, self.units), initializer="glorot_uniform", name="kernel"
        )
        self.attention = self.add_weight(
            shape=(self.units, 2), initializer="glorot_uniform", name="attention"
        )

    def call(self, inputs):
        nodes, adjacency = inputs
        x = ops.matmul(nodes, self.kernel)
        parts = ops.matmul(x, self.attention)
        scores = parts[..., :1] + ops.transpose(parts[..., 1:], (0, 2, 1))
        scores = ops.leaky_relu(scores, 0.2) - 1e9 * (1 - adjacency)
        return ops.matmul(ops.softmax(scores, axis=-1), x)


@TABLES.add(blocks=2)
def GraphAttentionNetwork(units=16):
    """Velickovic et al., 2017, with shortcuts."""
    nodes = keras.Input((6, 12), name="nodes")
    adjacency = keras.Input((6, 6), name="adjacency_mask")
    x = layers.Dense(units, "relu")(nodes)
    for _ in range(2):
        h = layers.BatchNormalization()(GraphAttention(units)([x, adjacency]))
        x = layers.Add()([x, layers.Activation("elu")(h)])
    return keras.Model([nodes, adjacency], layers.Dense(5)(x))


class Orthogonality(keras.regularizers.Regularizer):
    """The distance of a matrix from an orthogonal one."""

    def __init__(self, size, factor=1e-3):
        self.size, self.factor = size, factor

    def __call__(self, x):
        x = ops.reshape(x, (-1, self.size, self.size))
        gap = ops.matmul(x, ops.transpose(x, (0, 2, 1))) - ops.eye(self.size)
        return self.factor * ops.sum(ops.square(gap))


@TABLES.add(blocks=0)
def PointNet(points=16):
    """Qi et al., 2017: transformations that start as the identity."""

    def conv(x, filters):
        x = layers.BatchNormalization(momentum=0.0)(layers.Conv1D(filters, 1)(x))
        return layers.ReLU()(x)

    def dense(x, units):
        x = layers.BatchNormalization(momentum=0.0)(layers.Dense(units)(x))
        return layers.ReLU()(x)

    def transformed(x, size):
        def identity(shape, dtype=None):
            return ops.reshape(ops.eye(size, dtype=dtype or "float32"), (-1,))

        h = layers.GlobalMaxPooling1D()(conv(conv(x, 8), 16))
        h = layers.Dense(
            size * size,
            kernel_initializer="zeros",
            bias_initializer=identity,
            activity_regularizer=Orthogonality(size),
            name=f"transformation_{size}",
        )(dense(h, 16))
        return layers.Dot(axes=(2, 1))([x, layers.Reshape((size, size))(h)])

    inputs = keras.Input((points, 3))
    x = conv(transformed(inputs, 3), 8)
    x = conv(transformed(x, 8), 16)
    x = layers.Dropout(0.3)(dense(layers.GlobalMaxPooling1D()(x), 16))
    return keras.Model(inputs, layers.Dense(5, "softmax")(x))


@TABLES.add(blocks=2)
def SetTransformer(units=16):
    """Lee et al., 2018: induced attention over the members of a set."""

    class Induced(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.to_points = layers.MultiHeadAttention(2, 8)
            self.to_set = layers.MultiHeadAttention(2, 8)
            self.norms = [layers.LayerNormalization() for _ in range(2)]
            self.feed = layers.Dense(units, "relu")

        def build(self, shape):
            self.points = self.add_weight(
                shape=(1, 4, units), initializer="glorot_uniform", name="points"
            )

        def call(self, x):
            points = ops.repeat(self.points, ops.shape(x)[0], axis=0)
            h = self.to_points(points, x)
            x = self.norms[0](x + self.to_set(x, h))
            return self.norms[1](x + self.feed(x))

    inputs = keras.Input((9, 3))
    x = Induced()(layers.Dense(units)(inputs))
    return keras.Model(inputs, layers.Dense(2)(ops.mean(x, axis=1)))


@TABLES.add(blocks=0)
def DuelingDQN():
    """Wang et al., 2015: value plus centred advantages."""
    inputs = keras.Input((28, 28, 4))
    x = layers.Conv2D(8, 8, 4, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    x = layers.BatchNormalization()(layers.Conv2D(16, 4, 2, activation="relu")(x))
    x = layers.Flatten()(x)
    value = layers.Dense(1)(layers.Dense(16, "relu")(x))
    advantage = layers.Dense(4)(layers.Dense(16, "relu")(x))
    centred = advantage - ops.mean(advantage, axis=1, keepdims=True)
    return keras.Model(inputs, value + centred)


@TABLES.add(blocks=2)
def AlphaZero(filters=8):
    """Silver et al., 2017: a residual tower with two heads."""
    inputs = keras.Input((8, 8, 5))
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for _ in range(2):
        h = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        h = layers.ReLU()(layers.BatchNormalization()(h))
        h = layers.Conv2D(filters, 3, padding="same", use_bias=False)(h)
        x = layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(h)]))
    p = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(2, 1)(x)))
    policy = layers.Dense(64, "softmax", name="policy")(layers.Flatten()(p))
    v = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(1, 1)(x)))
    v = layers.Dense(16, "relu")(layers.Flatten()(v))
    return keras.Model(inputs, [policy, layers.Dense(1, "tanh", name="value")(v)])


@TABLES.add(blocks=0)
def TwoTowers(units=8):
    """Covington et al., 2016: users and items, and the cosine of the two."""

    def tower(name, words):
        token = keras.Input((), dtype="int32")
        x = layers.Dense(units)(layers.Embedding(words, units)(token))
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.UnitNormalization()(layers.Dense(units)(x))
        return keras.Model(token, x, name=name)

    inputs = [keras.Input((), dtype="int32", name=name) for name in ("user", "item")]
    user, item = tower("users", 20)(inputs[0]), tower("items", 30)(inputs[1])
    return keras.Model(inputs, layers.Dot(axes=1)([user, item]))


@TABLES.add(blocks=3)
def TabularResNet(units=16, depth=3):
    """Gorishniy et al., 2021: BatchNorm, wide ReLU, dropout, shortcut."""
    inputs = keras.Input((7,))
    x = layers.Dense(units)(inputs)
    for _ in range(depth):
        h = layers.Dense(2 * units, "relu")(layers.BatchNormalization()(x))
        h = layers.Dense(units)(layers.Dropout(0.2)(h))
        x = layers.add([x, layers.Dropout(0.1)(h)])
    return keras.Model(
        inputs, layers.Dense(1)(layers.ReLU()(layers.BatchNormalization()(x)))
    )


@TABLES.add(blocks=0)
def RadianceField(units=16):
    """Mildenhall et al., 2020: frequencies of a place, the input again half-way."""
    inputs = keras.Input((3,))
    waves = [f(2.0**i * inputs) for i in range(3) for f in (ops.sin, ops.cos)]
    x = start = ops.concatenate([inputs, *waves], axis=-1)
    for index in range(6):
        x = layers.Dense(units, "relu")(x)
        x = layers.Concatenate()([x, start]) if index == 3 else x
    return keras.Model(inputs, layers.Dense(4)(x))

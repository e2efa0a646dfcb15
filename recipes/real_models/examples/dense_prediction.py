"""Networks that answer for every place of an image: masks, boxes, larger images."""

import keras
from keras import layers, ops

from recipes.real_models.network import Gallery

DENSE_PREDICTION = Gallery()
SHAPE = (32, 32, 3)


def conv(x, filters, size=3, strides=1, activation="relu"):
    """A convolution, normalized and activated."""
    x = layers.Conv2D(filters, size, strides, "same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation(activation)(x) if activation else x


@DENSE_PREDICTION.add(blocks=0)
def UNet(filters=8, depth=3):
    """Ronneberger et al., 2015: skips are concatenated."""
    inputs = x = keras.Input(SHAPE)
    skips = []
    for level in range(depth):
        x = conv(conv(x, filters << level), filters << level)
        skips.append(x)
        x = layers.Dropout(0.3)(layers.MaxPooling2D()(x))
    x = conv(conv(x, filters << depth), filters << depth)
    for level in reversed(range(depth)):
        x = layers.Conv2DTranspose(filters << level, 3, 2, "same")(x)
        x = layers.Dropout(0.3)(layers.Concatenate()([x, skips.pop()]))
        x = conv(conv(x, filters << level), filters << level)
    return keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(x))


@DENSE_PREDICTION.add(blocks=6)
def UNetXception(filters=8):
    """A U-Net of residual blocks: separable convolutions, projecting shortcuts."""
    inputs = keras.Input(SHAPE)
    x = conv(inputs, filters, strides=2)
    before = x
    for width in (16, 16, 32):
        for _ in range(2):
            x = layers.SeparableConv2D(width, 3, padding="same")(layers.ReLU()(x))
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, 2, "same")(x)
        x = layers.add([x, layers.Conv2D(width, 1, 2, "same")(before)])
        before = x
    for width in (16, 16, 8):
        for _ in range(2):
            x = layers.Conv2DTranspose(width, 3, padding="same")(layers.ReLU()(x))
            x = layers.BatchNormalization()(x)
        x = layers.UpSampling2D(2)(x)
        projection = layers.UpSampling2D(2)(before)
        x = layers.add([x, layers.Conv2D(width, 1, padding="same")(projection)])
        before = x
    x = layers.UpSampling2D(2)(x)
    return keras.Model(inputs, layers.Conv2D(3, 3, padding="same")(x))


@DENSE_PREDICTION.add(blocks=0)
def AttentionUNet(filters=8):
    """Oktay et al., 2018: skips pass gates that the decoder makes."""
    inputs = keras.Input(SHAPE)
    first = conv(conv(inputs, filters), filters)
    second = conv(layers.MaxPooling2D()(first), 2 * filters)
    x = conv(layers.MaxPooling2D()(second), 4 * filters)
    for skip, width in ((second, 2 * filters), (first, filters)):
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        query = conv(x, width, 1, activation=None)
        key = conv(skip, width, 1, activation=None)
        gate = layers.ReLU()(layers.Add()([query, key]))
        gate = layers.Conv2D(1, 1, activation="sigmoid")(gate)
        x = conv(layers.Concatenate()([x, layers.Multiply()([skip, gate])]), width)
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(x))


@DENSE_PREDICTION.add(blocks=5)
def EDSR(filters=16, depth=4):
    """Lim et al., 2017: branches times 0.1, larger images by pixel shuffling."""
    inputs = keras.Input(SHAPE)
    x = start = layers.Conv2D(filters, 3, padding="same")(
        layers.Rescaling(1 / 255)(inputs)
    )
    for _ in range(depth):
        h = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        h = layers.Conv2D(filters, 3, padding="same")(h)
        x = layers.Add()([x, layers.Rescaling(0.1)(h)])
    x = layers.Add()([start, layers.Conv2D(filters, 3, padding="same")(x)])
    x = layers.Conv2D(4 * 3, 3, padding="same")(x)
    x = ops.reshape(x, (-1, 32, 32, 2, 2, 3))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 64, 64, 3))
    return keras.Model(inputs, layers.Rescaling(255.0)(x))


@DENSE_PREDICTION.add(blocks=1)
def DnCNN(filters=16, depth=5):
    """Zhang et al., 2017: the network finds the noise, which is taken away."""
    inputs = x = keras.Input(SHAPE)
    x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    for _ in range(depth):
        x = conv(x, filters)
    return keras.Model(
        inputs, layers.Subtract()([inputs, layers.Conv2D(3, 3, padding="same")(x)])
    )


@DENSE_PREDICTION.add(blocks=4)
def MIRNet(filters=8):
    """Zamir et al., 2020, in part: attention to channels and places in branches."""

    def attention(x):
        mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Conv2D(2, 1, activation="relu")(mean)
        by_channel = x * layers.Conv2D(filters, 1, activation="sigmoid")(gate)
        maps = ops.concatenate(
            [ops.max(x, -1, keepdims=True), ops.mean(x, -1, keepdims=True)], axis=-1
        )
        by_place = x * layers.Conv2D(1, 1, activation="sigmoid")(maps)
        joined = layers.Concatenate(axis=-1)([by_channel, by_place])
        return layers.Conv2D(filters, 1)(joined)

    inputs = keras.Input(SHAPE)
    x = start = layers.Conv2D(filters, 3, padding="same")(inputs)
    for _ in range(2):
        h = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        h = layers.Conv2D(filters, 3, padding="same")(h)
        x = layers.Add()([x, attention(h)])
    x = layers.Add()([start, layers.Conv2D(filters, 3, padding="same")(x)])
    x = layers.Conv2D(3, 3, padding="same")(x)
    return keras.Model(inputs, layers.Add()([inputs, x]))


@DENSE_PREDICTION.add(blocks=3)
def YOLO(filters=8):
    """Darknet blocks, a path down and up again, boxes by squares of sigmoids."""

    def darknet(x, width, depth):
        x = conv(x, width, strides=2, activation="silu")
        for _ in range(depth):
            h = conv(conv(x, width // 2, 1, activation="silu"), width, 3, 1, "silu")
            x = layers.Add()([x, h])
        return x

    inputs = keras.Input(SHAPE)
    x = conv(inputs, filters, activation="silu")
    fine = darknet(darknet(x, 16, 1), 16, 1)
    coarse = darknet(fine, 32, 1)
    up = layers.UpSampling2D()(conv(coarse, 16, 1, activation="silu"))
    fine = conv(layers.Concatenate()([up, fine]), 16, activation="silu")
    found = []
    for level in (fine, coarse):
        y = layers.Reshape((-1, 7))(layers.Conv2D(7, 1)(level))
        place, size, score = ops.split(ops.sigmoid(y), [2, 4], axis=-1)
        boxes = [2 * place - 0.5, ops.square(2 * size), score]
        found.append(layers.Concatenate(axis=-1)(boxes))
    return keras.Model(inputs, layers.Concatenate(axis=1)(found))


def rare(shape, dtype=None):
    """The bias of scores for classes of which one in a hundred is there."""
    return ops.full(shape, -4.595, dtype=dtype or "float32")


# One of them is the sum of two levels of the pyramid.
@DENSE_PREDICTION.add(blocks=3)
def RetinaNet(filters=16):
    """Lin et al., 2017: levels of a pyramid, towers for all, scores that start low."""
    inputs = keras.Input(SHAPE)
    x = conv(inputs, filters, strides=2)
    levels = []
    for _ in range(2):
        h = conv(x, filters, strides=2)
        h = conv(h, filters, activation=None)
        projection = conv(x, filters, 1, 2, None)
        x = layers.ReLU()(layers.Add()([h, projection]))
        levels.append(x)
    fine, coarse = (layers.Conv2D(filters, 1)(level) for level in levels)
    pyramid = [fine + layers.UpSampling2D()(coarse), coarse]
    towers = []
    for name, outputs, bias in (("scores", 3, rare), ("boxes", 4, "zeros")):
        tower = keras.Sequential([keras.Input((None, None, filters))], name=name)
        for _ in range(2):
            tower.add(layers.Conv2D(filters, 3, padding="same"))
            tower.add(layers.BatchNormalization())
            tower.add(layers.ReLU())
        tower.add(layers.Conv2D(outputs, 3, padding="same", bias_initializer=bias))
        rows = [layers.Reshape((-1, outputs))(tower(level)) for level in pyramid]
        towers.append(layers.Concatenate(axis=1)(rows))
    return keras.Model(inputs, layers.Concatenate(axis=-1)(towers))


@DENSE_PREDICTION.add(blocks=4)
def HRNet(filters=8):
    """Wang et al., 2019, in part: two resolutions that exchange what they hold."""

    def block(x, width):
        h = conv(conv(x, width), width, activation=None)
        return layers.ReLU()(layers.Add()([x, h]))

    inputs = keras.Input(SHAPE)
    fine = block(conv(inputs, filters, strides=2), filters)
    coarse = block(conv(fine, 2 * filters, strides=2), 2 * filters)
    down = conv(fine, 2 * filters, strides=2, activation=None)
    up = layers.UpSampling2D()(conv(coarse, filters, 1, activation=None))
    fine = layers.ReLU()(layers.Add()([fine, up]))
    coarse = layers.ReLU()(layers.Add()([coarse, down]))
    x = layers.Concatenate()([fine, layers.UpSampling2D()(coarse)])
    return keras.Model(inputs, layers.Conv2D(5, 1)(conv(x, filters)))


@DENSE_PREDICTION.add(blocks=6)
def StackedHourglass(filters=16):
    """Newell et al., 2016, one hourglass: sums of what goes down and what stays."""

    def block(x):
        h = x
        for width, size in ((filters // 2, 1), (filters // 2, 3), (filters, 1)):
            h = layers.ReLU()(layers.BatchNormalization()(h))
            h = layers.Conv2D(width, size, padding="same")(h)
        return layers.Add()([x, h])

    def hourglass(x, depth):
        stays = block(x)
        down = block(layers.MaxPooling2D()(x))
        down = hourglass(down, depth - 1) if depth > 1 else down
        return layers.Add()([stays, layers.UpSampling2D()(down)])

    inputs = keras.Input(SHAPE)
    x = block(conv(inputs, filters, 7, 2))
    x = conv(hourglass(x, 2), filters, 1)
    return keras.Model(inputs, layers.Conv2D(4, 1)(x))

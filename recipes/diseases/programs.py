"""Training programs with one fault each, as people write them.

Each takes scikit-learn's digits, `images` (1797, 8, 8, 1) in [0, 1] and `labels`,
and returns `(model, x, y)`; the lines between are what the gallery prints.
"""

import keras
import numpy as np


def digits():
    """Images in [0, 1] and labels, in a fixed order that mixes the writers."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = images.reshape(-1, 8, 8, 1)[order] / 16
    return images.astype("float32"), labels[order]


def raw_inputs(images, labels):
    x, y = 255 * images, labels  # As image files hold them.
    model = keras.Sequential([keras.Input((8, 8, 1))])
    model.add(keras.layers.Conv2D(16, 3, activation="relu"))
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    return model, x, y


def raw_targets(images, labels):
    x, y = images, 1000.0 * images.mean(axis=(1, 2))  # The ink, in thousandths.
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(64, activation="relu"))
    model.add(keras.layers.Dense(1))
    model.compile(keras.optimizers.SGD(0.05), "mean_squared_error")
    return model, x, y


def softmax_over_one_unit(images, labels):
    x, y = images, (labels >= 5).astype("float32")[:, None]
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(64, activation="relu"))
    model.add(keras.layers.Dense(1, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy")
    return model, x, y


def logits_as_probabilities(images, labels):
    x, y = images, labels
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(64, activation="relu"))
    model.add(keras.layers.Dense(10))
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    return model, x, y


def labels_from_one(images, labels):
    x, y = images, labels + 1  # Classes 1 to 10.
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(64, activation="relu"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    return model, x, y


def no_nonlinearity(images, labels):
    x, y = images, labels % 2  # Odd or even.
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(64))
    model.add(keras.layers.Dense(64))
    model.add(keras.layers.Dense(2, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    return model, x, y


def kernels_of_zeros(images, labels):
    x, y = images, labels
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    for _ in range(2):
        model.add(keras.layers.Dense(64, "relu", kernel_initializer="zeros"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    return model, x, y


def one_initializer(images, labels):
    x, y = images, labels
    initializer = keras.initializers.HeNormal(seed=1)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    for _ in range(24):
        model.add(keras.layers.Dense(64, "relu", kernel_initializer=initializer))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.001), "sparse_categorical_crossentropy")
    return model, x, y


def large_kernels(images, labels):
    x, y = images, labels
    normal = keras.initializers.RandomNormal(stddev=1.0)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    for _ in range(3):
        model.add(keras.layers.Dense(128, "relu", kernel_initializer=normal.clone()))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    return model, x, y


def stack_of_sigmoids(images, labels):
    x, y = images, labels
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    for _ in range(6):
        model.add(keras.layers.Dense(64, activation="sigmoid"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.002), "sparse_categorical_crossentropy")
    return model, x, y


def dead_relus(images, labels):
    x, y = images, labels
    bias = keras.initializers.Constant(-5.0)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    for _ in range(2):
        model.add(keras.layers.Dense(64, "relu", bias_initializer=bias))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    return model, x, y


def exploding_residuals(images, labels):
    x, y = images, labels
    inputs = keras.Input((8, 8, 1))
    h = keras.layers.Dense(64)(keras.layers.Flatten()(inputs))
    for _ in range(12):
        branch = keras.layers.Dense(64, "relu", kernel_initializer="he_normal")(h)
        branch = keras.layers.Dense(64, kernel_initializer="he_normal")(branch)
        h = keras.layers.add([h, branch])
    outputs = keras.layers.Dense(10, activation="softmax")(h)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    return model, x, y


def rate_too_high(images, labels):
    x, y = images, labels
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(64, activation="relu"))
    model.add(keras.layers.Dense(64, activation="relu"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.Adam(0.5), "sparse_categorical_crossentropy")
    return model, x, y


def rate_too_low(images, labels):
    x, y = images, labels
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(64, activation="relu"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.SGD(1e-6), "sparse_categorical_crossentropy")
    return model, x, y


def normalized_alone(images, labels):
    x, y = images, labels
    inputs = keras.Input((8, 8, 1))
    h = keras.layers.Dense(64)(keras.layers.Flatten()(inputs))
    for _ in range(3):
        branch = keras.layers.BatchNormalization()(h)
        branch = keras.layers.Dense(64)(keras.layers.ReLU()(branch))
        h = keras.layers.add([h, branch])
    h = keras.layers.BatchNormalization()(h)
    outputs = keras.layers.Dense(10, activation="softmax")(h)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    return model, x, y

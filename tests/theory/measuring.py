"""Statistics of layers that are run, and predictions held against them."""

import keras
import numpy as np

from fixinit import theory

layers = keras.layers
WIDTH, SIZE, BATCH = 64, 8, 32


def measure(make, shape, training=False, seeds=6, mean=0.0, variance=1.0):
    """Statistics of the output of a model, over draws: arrays of means and errors.

    Rows are the mean, the mean square, the variance over batch and space averaged over
    channels, and the correlation between inputs.
    """
    rng, found = np.random.default_rng(0), []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = make()
        x = mean + np.sqrt(variance) * rng.standard_normal((BATCH, *shape))
        y = model(x.astype("float32"), training=training)
        y = keras.ops.convert_to_numpy(y).astype("float64")
        axes = tuple(range(y.ndim - 1))
        common = (np.sum(y, 0) ** 2 - np.sum(y**2, 0)).mean() / (BATCH * (BATCH - 1))
        square = np.mean(y**2)
        found.append([y.mean(), square, np.mean(np.var(y, axis=axes)), common / square])
    found = np.array(found)
    return found.mean(0), found.std(0, ddof=1) / np.sqrt(seeds)


def check(make, shape, rtol=0.0, unknown="refuse", **options):
    """The prediction lies within 4 standard errors of what is measured.

    `rtol` is what the width of the network may add.
    """
    measured, errors = measure(make, shape, **options)
    training = options.get("training", False)
    given = {f"input_{k}": v for k, v in options.items() if k in ("mean", "variance")}
    model = make()
    given |= {"training": training, "batch_size": BATCH, "unknown": unknown}
    row = theory.predict(model, **given).layers[-1]
    predicted = [row.mean, row.mean_square, row.variance, row.correlation]
    scale = np.sqrt(measured[1])
    slack = rtol * np.array([scale, measured[1], measured[2], 1.0])
    for name, a, b, e, s in zip(
        ("mean", "mean square", "variance", "correlation"),
        predicted,
        measured,
        errors,
        slack,
        strict=True,
    ):
        assert abs(a - b) <= 4 * e + s + 1e-6 * scale, (name, a, b, e)
    return row


def network(*middle, shape=(SIZE, SIZE, 16)):
    """A function that makes a Sequential model, drawn anew."""

    def make():
        return keras.Sequential([keras.Input(shape), *(f() for f in middle)])

    return make


def he(filters=WIDTH, size=3, **options):
    options = {"padding": "same", "kernel_initializer": "he_normal", **options}
    return lambda: layers.Conv2D(filters, size, **options)


def functional(join, shape=(SIZE, SIZE, 16)):
    """A function that makes a model of two branches with weights of their own."""

    def make():
        x = keras.Input(shape)
        a, b = (he(activation=name)()(x) for name in ("relu", "tanh"))
        return keras.Model(x, join(a, b))

    return make

"""Gradients at tensors that are functions of functions of a Gaussian."""

import keras
import numpy as np
import pytest

import fixinit
from fixinit import backend, theory

layers = keras.layers
UNITS = 64
C = 1 / np.sqrt(1 + 1e-3)  # what BatchNormalization multiplies by at first


def dense(**options):
    # Variance 1 at its output, for inputs of mean square 1, and the same way back.
    return layers.Dense(UNITS, kernel_initializer="lecun_normal", **options)


def relu(u):
    return np.maximum(u, 0)


def bell(u):
    """The derivative of tanh."""
    return 1 - np.tanh(u) ** 2


def gelu_slope(u):
    return theory.activation("gelu").derivative(u)


def expected(derivative):
    """`E[derivative(u)^2]` for a standard normal u."""
    u, step = np.linspace(-12, 12, 240_001, retstep=True)
    density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    return step * np.sum(density * derivative(u) ** 2)


def rescaled(x):
    y = layers.Rescaling(2.0, name="b")(dense(activation="relu", name="a")(x))
    return layers.Activation("tanh")(y)


def normalized(x):
    y = layers.BatchNormalization(name="b")(layers.ReLU(name="a")(dense()(x)))
    return layers.ReLU()(y)


def scalars(x):
    half, shift = (keras.initializers.Constant(c) for c in (0.5, -0.2))
    y = fixinit.layers.ScalarMultiplier(half, name="b")(dense(activation="relu")(x))
    return layers.ReLU()(fixinit.layers.ScalarBias(shift, name="c")(y))


def gated(x):
    y = dense()(x)
    return layers.Multiply()([y, layers.Activation("sigmoid", name="a")(y)])


def added(x):
    y = dense()(x)
    return layers.Add(name="b")([y, layers.ReLU(name="a")(y)])


def used_twice(x):
    y = dense(activation="relu", name="a")(x)
    return layers.Add()([y, layers.Activation("tanh", name="b")(y)])


def padded(x):
    y = layers.Rescaling(2.0, name="b")(dense(activation="relu", name="a")(x))
    return layers.Activation("tanh")(layers.ZeroPadding1D(1)(y))


def identical(x):
    y = layers.Dropout(0.5, name="b")(dense(activation="relu", name="a")(x))
    return layers.Activation("tanh")(y)


def beside_zero(x):
    zero = layers.Dense(UNITS, kernel_initializer="zeros", name="b")(x)
    y = layers.Add(name="a")([dense(activation="relu")(x), zero])
    return layers.ReLU()(y)


@pytest.mark.parametrize(
    "join, derivatives",
    [
        (
            rescaled,
            {"a": lambda u: 2 * bell(2 * relu(u)), "b": lambda u: bell(2 * relu(u))},
        ),
        (normalized, {"a": lambda u: C * (u > 0), "b": lambda u: 1.0 * (u > 0)}),
        (scalars, {"b": lambda u: 1.0 * (u > 0.4), "c": lambda u: 1.0 * (u > 0.4)}),
        (gated, {"a": lambda u: u}),
        (added, {"a": np.ones_like, "b": np.ones_like}),
        (
            used_twice,
            {"a": lambda u: 1 + bell(relu(u)), "b": np.ones_like},
        ),
        (beside_zero, {"a": lambda u: 1.0 * (u > 0), "b": lambda u: 1.0 * (u > 0)}),
        (identical, dict.fromkeys("ab", lambda u: bell(relu(u)))),
    ],
)
def test_every_tensor_before_a_nonlinearity_has_its_gradient(join, derivatives):
    x = keras.Input((UNITS,))
    rows = theory.predict(keras.Model(x, dense()(join(x))))
    for name, derivative in derivatives.items():
        value = pytest.approx(expected(derivative), rel=1e-3)
        assert rows[name].gradient == value, name


def test_gradients_go_on_through_what_moves_values():
    x = keras.Input((5, UNITS))
    rows = theory.predict(keras.Model(x, dense()(padded(x))))
    for name, factor in (("a", 2), ("b", 1)):
        found = expected(lambda u, factor=factor: factor * bell(2 * relu(u)))
        assert rows[name].gradient == pytest.approx(found, rel=1e-3)


def test_gradients_at_concatenations_and_their_parts():
    x = keras.Input((UNITS,))
    parts = [dense(activation=name, name=name)(x) for name in ("relu", "tanh")]
    y = layers.Concatenate(name="whole")(parts)
    y = layers.BatchNormalization(name="bn")(layers.Activation("gelu", name="gelu")(y))
    y = layers.Activation("tanh")(y)
    rows = theory.predict(keras.Model(x, dense()(y)))
    gelu = theory.activation("gelu")
    # Half as many units follow.
    slopes = {
        "relu": lambda u: C * bell(C * gelu(relu(u))) * gelu_slope(relu(u)),
        "tanh": lambda u: C * bell(C * gelu(np.tanh(u))) * gelu_slope(np.tanh(u)),
    }
    values = {name: expected(slope) / 2 for name, slope in slopes.items()}
    values["whole"] = sum(values.values()) / 2
    inner = [relu, np.tanh]
    for name, c in (("gelu", C), ("bn", 1)):
        values[name] = np.mean(
            [expected(lambda u, f=f, c=c: c * bell(C * gelu(f(u)))) / 2 for f in inner]
        )
    for name, value in values.items():
        assert rows[name].gradient == pytest.approx(value, rel=1e-3), name


def test_training_statistics_and_measured_gradients():
    """Behind a ReLU, BatchNorm in training, and another ReLU."""
    width, batch, rng = 256, 256, np.random.default_rng(0)
    x = keras.Input((width,))
    y = layers.ReLU(name="a")(
        layers.Dense(width, kernel_initializer="lecun_normal", name="u")(x)
    )
    y = layers.ReLU()(layers.BatchNormalization(name="b")(y))
    y = layers.Dense(width, kernel_initializer="lecun_normal")(y)
    rows = theory.predict(keras.Model(x, y), training=True, batch_size=batch)

    def loss(taps, _, values, kernels, g):
        u = keras.ops.matmul(values, kernels[0]) + taps[0]
        a = keras.ops.relu(u) + taps[1]
        mean = keras.ops.mean(a, axis=0)
        deviation = keras.ops.sqrt(keras.ops.var(a, axis=0) + 1e-3)
        b = (a - mean) / deviation + taps[2]
        return keras.ops.sum(keras.ops.matmul(keras.ops.relu(b), kernels[1]) * g)

    found = []
    for _ in range(4):
        values, g = rng.standard_normal((2, batch, width)).astype("float32")
        kernels = rng.standard_normal((2, width, width)) / np.sqrt(width)
        values, g, *kernels = (
            keras.ops.convert_to_tensor(a.astype("float32"))
            for a in (values, g, *kernels)
        )
        taps = [keras.ops.zeros((batch, width)) for _ in range(3)]

        def value(taps, others, values=values, kernels=kernels, g=g):
            return loss(taps, others, values, kernels, g)

        _, gradients = backend.value_and_gradients(value)(taps, [])
        found.append([np.mean(keras.ops.convert_to_numpy(d) ** 2) for d in gradients])
    found = np.array(found)
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    predicted = [rows[name].gradient for name in ("u", "a", "b")]
    # The terms that the normalization subtracts are left out: up to 8 % here.
    np.testing.assert_array_less(
        np.abs(found.mean(axis=0) - predicted), 4 * error + 0.08 * np.array(predicted)
    )


def test_zeros_added_to_joined_parts_do_not_add_gradients():
    """A stream of concatenated parts with a ReLU behind every block that adds 0."""
    x = inputs = keras.Input((UNITS,))
    x = layers.Concatenate()([dense(activation="relu")(x) for _ in range(2)])
    for number in range(3):
        zero = layers.Dense(2 * UNITS, kernel_initializer="zeros")(x)
        x = layers.ReLU()(layers.Add(name=f"sum{number}")([x, zero]))
    found = theory.predict(keras.Model(inputs, x))
    # A ReLU of a ReLU is a ReLU.
    for number in range(3):
        assert found[f"sum{number}"].gradient == pytest.approx(0.5)


def test_what_an_identity_gives_has_a_gradient_of_its_own():
    x = inputs = keras.Input((UNITS,))
    x = dense(name="stem")(x)
    branch = layers.Dropout(0.5, name="identity")(x)
    zero = layers.Dense(UNITS, kernel_initializer="zeros")(branch)
    found = theory.predict(keras.Model(inputs, layers.add([x, zero])))
    assert found["identity"].gradient == 0
    assert found["stem"].gradient == pytest.approx(1)

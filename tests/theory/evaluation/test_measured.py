"""Calls without a rule, measured on random tensors."""

import random

import keras
import numpy as np
import pytest

from fixinit import theory
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.evaluation.samples import moments_of, sample
from tests.marks import on_torch
from tests.theory.measuring import WIDTH, check, he

layers, ops = keras.layers, keras.ops


@keras.saving.register_keras_serializable("tests")
class Ranks(layers.Layer):
    """Sorts the channels, which no rule knows."""

    def call(self, x):
        return ops.sort(x, axis=-1)


@keras.saving.register_keras_serializable("tests")
class Mixed(layers.Layer):
    """A linear layer of one's own, with two outputs."""

    def build(self, shape):
        self.matrix = self.add_weight(
            shape=(shape[-1], shape[-1]), initializer="random_normal"
        )

    def call(self, x):
        y = x @ self.matrix
        return y, ops.sort(y, axis=1)


def network(*parts, shape=(8, 8, 16)):
    x = inputs = keras.Input(shape)
    for part in parts:
        x = part(x)
        x = x[0] if isinstance(x, (list, tuple)) else x
    return keras.Model(inputs, x)


def model():
    parts = he(activation="relu")(), Ranks(name="ranks"), Mixed(name="mixed")
    return network(*parts, layers.Dense(8, name="head"))


@on_torch
def test_without_a_rule_a_layer_is_refused_or_measured():
    with pytest.raises(theory.NoRuleError, match="No variance rule for Ranks `ranks`"):
        theory.predict(model())
    prediction = theory.predict(model(), unknown="measure")
    assert prediction.measured == ["ranks", "mixed", "mixed.1"]
    assert prediction["ranks"].measured and not prediction["head"].measured
    table = str(prediction).splitlines()
    assert any(line.startswith("ranks* ") for line in table)
    assert "measured on random tensors" in table[-1]
    assert prediction.to_dict()["layers"][2]["measured"] is True


@pytest.mark.every_backend
def test_measured_numbers_are_those_of_the_layer():
    prediction = theory.predict(model(), unknown="measure")
    convolved, ranks = (prediction.layers[i] for i in (1, 2))
    # Sorting keeps all values, and hands gradients on.
    assert ranks.mean_square == pytest.approx(convolved.mean_square, rel=0.1)
    assert ranks.mean == pytest.approx(convolved.mean, rel=0.1)
    assert convolved.gradient == pytest.approx(ranks.gradient, rel=0.1)
    # 64 weights of variance 0.05^2.
    expected = 64 * 0.05**2 * ranks.mean_square
    assert prediction["mixed"].mean_square == pytest.approx(expected, rel=0.15)
    back = 64 * 0.05**2 * prediction["mixed"].gradient
    assert ranks.gradient == pytest.approx(back, rel=0.15)


@on_torch
def test_measuring_changes_nothing_and_repeats():
    net = model()
    keras.random.uniform((1,))  # Keras makes its generator at its first use.
    before = [keras.ops.convert_to_numpy(w) for w in net.weights]
    state = random.getstate()
    first, second = (str(theory.predict(net, unknown="measure")) for _ in range(2))
    assert first == second and random.getstate() == state
    for weight, value in zip(net.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), value)


def test_other_inputs_than_numbers_and_layers_that_fail():
    class Table(layers.Layer):
        def build(self, shape):
            self.rows = self.add_weight(shape=(9, 16), initializer="random_normal")

        def call(self, x):
            return ops.take(self.rows, x, axis=0)

        def compute_output_spec(self, x):
            return keras.KerasTensor((*x.shape, 16), "float32")

    tokens = keras.Input((12,), dtype="int32")
    row = theory.predict(
        keras.Model(tokens, Table(name="table")(tokens)), unknown="measure"
    )["table"]
    assert row.mean_square == pytest.approx(0.05**2, rel=0.3)

    class Broken(layers.Layer):
        def call(self, x):
            if not isinstance(x, keras.KerasTensor):
                raise RuntimeError("no data here")
            return x

        def compute_output_shape(self, shape):
            return shape

    with pytest.raises(theory.NoRuleError, match="`bad`.*RuntimeError:.*no data here"):
        theory.predict(network(Broken(name="bad")), unknown="measure")


def rotated(x):
    """Halves of the channels exchanged, as by rotary embeddings."""
    y = layers.Dense(WIDTH, "tanh")(x)
    halves = layers.Concatenate()([y[..., WIDTH // 2 :], y[..., : WIDTH // 2]])
    return y + halves * np.linspace(0.5, 1, 8, dtype="float32")[:, None]


def sorted_beside(x):
    y = layers.Dense(WIDTH, "relu")(x)
    return layers.Dense(WIDTH)(ops.multiply(y, ops.sort(y, axis=-1)))


def fused(x):
    """An average beside what it is an average of."""
    y = layers.Dense(WIDTH, "relu")(x)
    y = layers.Concatenate(axis=1)([layers.AveragePooling1D(8)(y), y])
    return layers.GlobalAveragePooling1D()(y)


@on_torch
@pytest.mark.parametrize("join", [rotated, sorted_beside, fused])
def test_joins_of_values_with_common_weights_are_measured_together(join):
    def make():
        x = keras.Input((8, WIDTH))
        return keras.Model(x, layers.Dense(WIDTH)(join(x)))

    with pytest.raises(theory.NoRuleError):
        theory.predict(make())
    # Four draws of eight inputs.
    check(make, (8, WIDTH), rtol=0.1, unknown="measure")


def test_values_with_bounds_are_made_from_the_inputs():
    """Gaussian values in the place of a sum of squares would be negative."""
    x = keras.Input((WIDTH,))
    a, b = (layers.Dense(WIDTH, kernel_initializer="lecun_normal")(x) for _ in range(2))
    y = ops.sqrt(ops.add(ops.square(a), ops.square(b)))
    prediction = theory.predict(keras.Model(x, y), unknown="measure")
    assert prediction.layers[-1].measured
    assert prediction.layers[-1].mean_square == pytest.approx(2.0, rel=0.1)


def test_tokens_behind_joins_are_those_of_their_embedding():
    tokens = keras.Input((12,), dtype="int32")
    x = layers.Embedding(50, 16, embeddings_initializer="random_normal")(tokens)
    net = keras.Model(tokens, layers.Add(name="sum")([x, ops.sort(x, axis=-1)]))
    row = theory.predict(net, unknown="measure")["sum"]
    x = np.random.default_rng(0).standard_normal((10_000, 16))
    expected = 0.05**2 * np.mean((x + np.sort(x)) ** 2)
    assert row.mean_square == pytest.approx(expected, rel=0.1)


def test_weights_that_are_repeated_for_a_batch():
    """As in relative positions: a normalized table, the same for every input."""

    class Repeated(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm = layers.LayerNormalization(epsilon=1e-9)

        def build(self, shape):
            self.table = self.add_weight(shape=(6, 8), initializer="random_normal")
            self.norm.build((1, 6, 8))

        def call(self, x):
            rows = self.norm(ops.expand_dims(self.table, 0))
            return ops.repeat(rows, ops.shape(x)[0], axis=0)

    inputs = keras.Input((4, 8))
    x = layers.EinsumDense("abc,cde->abde", (None, 2, 4), name="query")(
        Repeated()(inputs)
    )
    row = theory.predict(keras.Model(inputs, x))["query"]
    # Normalized rows, times a kernel of the Glorot variance.
    assert row.mean_square == pytest.approx(8 * 2 / (8 + 8), rel=1e-3)
    assert row.correlation == pytest.approx(1.0)


def test_the_argument_is_checked():
    with pytest.raises(ValueError, match="`unknown` must be one of .*'measure'"):
        theory.predict(model(), unknown="guess")


@pytest.mark.parametrize("shape", [(6, 6, 64), (40, 40, 16)])
def test_samples_have_the_moments_that_they_are_drawn_from(shape):
    x = Moments.inputs(shape, 0.5, 2.0, between_inputs=0.2, in_space=0.6)
    rng = np.random.default_rng(0)
    values = np.stack([sample(x, 8, rng) for _ in range(12)])
    y = moments_of(values, frozenset())
    assert y.mean_value == pytest.approx(0.5, abs=0.1)
    for name in ("same", "cross"):
        a, b = (np.ravel(z.pair_average(getattr(z, name))) for z in (x, y))
        assert b == pytest.approx(a, rel=0.15)
    assert y.mean_square == pytest.approx(2.25, rel=0.1)


def test_samples_of_functions_of_gaussians_keep_their_law():
    x = theory.calculus.apply(Moments.inputs((4, 4, 16)), theory.activation("relu"))
    values = sample(x, 16, np.random.default_rng(0))
    assert values.min() == 0.0 and np.mean(values > 0) == pytest.approx(0.5, abs=0.05)


def test_what_stands_behind_a_measured_layer_agrees():
    def make():
        return network(he(activation="relu")(), Ranks(), he(activation="relu")())

    measured = theory.predict(make(), unknown="measure").layers[-1]
    plain = theory.predict(network(he(activation="relu")(), he(activation="relu")()))
    assert measured.mean_square == pytest.approx(plain.layers[-1].mean_square, rel=0.15)


def test_sizes_that_a_layer_leaves_open_are_those_that_it_gives():
    class Vague(layers.Layer):
        def call(self, x):
            return ops.sort(x, axis=-1)

        def compute_output_shape(self, shape):
            return (shape[0], None, shape[-1])

    model = network(Vague(name="vague"), shape=(12, 16))
    row = theory.predict(model, unknown="measure")["vague"]
    assert row.mean_square == pytest.approx(1.0, rel=0.1)

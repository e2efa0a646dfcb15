"""Rules for layers that join values, against layers that are run."""

import keras
import pytest

import fixinit
from fixinit import theory
from tests.marks import rest_on_torch
from tests.theory.measuring import SIZE, WIDTH, check, functional, he

layers = keras.layers


@rest_on_torch(
    "join",
    [
        lambda a, b: layers.Add()([a, b]),
        lambda a, b: layers.Subtract()([a, b]),
        lambda a, b: layers.Multiply()([a, b]),
        lambda a, b: layers.Average()([a, b]),
        lambda a, b: layers.Maximum()([he()()(a), he()()(b)]),
        lambda a, b: layers.Minimum()([he()()(a), he(64)()(b)]),
        lambda a, b: layers.ReLU()(layers.Concatenate()([a, b])),
        lambda a, b: fixinit.layers.ScaledAdd(0.3, 2.0)([a, b]),
        lambda a, b: a * 2 - b / 3 + 1,
        lambda a, b: keras.ops.concatenate([keras.ops.tanh(a), b], axis=-1),
        lambda a, b: keras.ops.mean(a, axis=(1, 2)),
        lambda a, b: a * keras.ops.sigmoid(a) + a,
        lambda a, b: keras.ops.relu(-a) + keras.ops.square(b),
        lambda a, b: layers.Add()([a, layers.GlobalAveragePooling2D(keepdims=True)(b)]),
        lambda a, b: layers.Multiply()(
            [
                a,
                layers.Dense(WIDTH, "sigmoid")(
                    layers.GlobalAveragePooling2D(keepdims=True)(a)
                ),
            ]
        ),
        lambda a, b: fixinit.layers.ShakeShake()([a, b]),
        lambda a, b: fixinit.layers.ZeroPaddingShortcut(100, 2)(a),
        lambda a, b: fixinit.layers.ProjectionShortcut(100, 2)(a),
        lambda a, b: fixinit.layers.ScalarMultiplier(keras.initializers.Constant(0.4))(
            fixinit.layers.ScalarBias(keras.initializers.Constant(0.7))(a)
        ),
    ],
    quick=4,
)
def test_what_joins(join):
    # tanh of unit variance is not Gaussian, which the maximum takes it for.
    check(functional(join), (SIZE, SIZE, 16), 0.05)


def residual(x, name):
    return layers.Add(name=name)([x, layers.Dense(WIDTH, use_bias=False)(x)])


@pytest.mark.parametrize("activation", [None, "relu"])
def test_sums_with_terms_in_common_are_taken_apart(activation):
    def make():
        inputs = keras.Input((WIDTH,))
        x = layers.Dense(WIDTH, activation, name="x")(inputs)
        y = residual(residual(x, "one"), "two")
        rest = layers.Subtract(name="rest")([y, x])
        back = layers.Add(name="back")([layers.Rescaling(0.5)(rest), y, x])
        return keras.Model(inputs, layers.Concatenate()([rest, back]))

    check(make, (WIDTH,), 0.05)
    found = theory.predict(make())
    x, y, rest, back = (found[n].mean_square for n in ("x", "two", "rest", "back"))
    assert rest == pytest.approx(y - x)
    # 1.5 of what was added, and 2 of what it was added to.
    assert back == pytest.approx(1.5**2 * (y - x) + 2**2 * x)


def test_gradients_reach_what_cancels_by_what_is_left_of_it():
    inputs = keras.Input((WIDTH,))
    x = layers.Dense(WIDTH, name="x")(inputs)
    y = layers.Subtract()([residual(x, "sum"), x])
    found = theory.predict(keras.Model(inputs, y))
    # x + W x - x = W x, whose kernel is Glorot's: 2 / (2 n) a term, n terms.
    assert found["sum"].gradient == pytest.approx(1.0)
    assert found["x"].gradient == pytest.approx(1.0)


def test_what_cancels_is_zero():
    inputs = keras.Input((WIDTH,))
    x = residual(inputs, "sum")
    y = layers.Subtract(name="nothing")([layers.Identity()(x), x])
    assert theory.predict(keras.Model(inputs, y))["nothing"].mean_square == 0


def test_dependent_values_are_refused():
    x = keras.Input((6, 6, 8))
    y = layers.Conv2D(8, 3, padding="same")(x)
    pooled = layers.AveragePooling2D(3, 1, padding="same")(y)
    with pytest.raises(theory.NoRuleError, match="depend on the same weights"):
        theory.predict(keras.Model(x, layers.Add(name="sum")([y, pooled])))


def _called_twice(layer, join, read=lambda x: (x, x)):
    x = keras.Input((8,))
    a, b = read(x)
    return keras.Model(x, join()([layer(a), layer(b)]))


@pytest.mark.parametrize(
    "make",
    [
        lambda d: _called_twice(d, layers.Add),
        lambda d: _called_twice(d, layers.Subtract, lambda x: (x, x / 2)),
        lambda d: _called_twice(d, layers.Multiply, lambda x: (x, layers.ReLU()(x))),
        lambda d: _called_twice(lambda x: layers.ReLU()(d(x)), layers.Maximum),
        lambda d: _called_twice(keras.Sequential([d, layers.ReLU()]), layers.Add),
    ],
)
@pytest.mark.parametrize("activation", [None, "tanh"])
def test_a_layer_that_is_called_twice_has_one_kernel(make, activation):
    model = make(layers.Dense(8, activation))
    with pytest.raises(theory.NoRuleError, match="depend on the same weights"):
        theory.predict(model)


def test_two_inputs_through_one_layer_are_not_added_as_independent():
    a, b = keras.Input((8,)), keras.Input((8,))
    dense = layers.Dense(8)
    model = keras.Model([a, b], layers.Multiply()([dense(a), dense(b)]))
    with pytest.raises(theory.NoRuleError, match="depend on the same weights"):
        theory.predict(model, input_mean=1.0)


def test_a_layer_called_twice_in_a_row_is_predicted():
    def make():
        x = inputs = keras.Input((512,))
        dense = layers.Dense(512, "relu", kernel_initializer="he_normal")
        for _ in range(2):
            x = dense(x)
        return keras.Model(inputs, x)

    # The kernel draws anew of what it has not seen.
    check(make, (512,), 0.03)


def test_a_stack_that_reads_its_own_outputs_is_refused():
    block = fixinit.layers.ResidualBlock([layers.Dense(8)])
    stack = fixinit.layers.Stack(block, 3)
    x = keras.Input((8,))
    y = layers.Dense(8)(stack(x))
    assert len(theory.predict(keras.Model(x, stack(y)))) > 6
    with pytest.raises(theory.NoRuleError, match="depend on its own weights"):
        theory.predict(keras.Model(x, stack(stack(x))))

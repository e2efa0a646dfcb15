"""What is read off models: the largest value over subnetworks."""

import keras
import pytest

import fixinit
from fixinit import theory
from fixinit.theory.tailoring import SubnetworkMaximum
from fixinit.theory.tailoring.subnetworks import maximum_of

layers = keras.layers


def slope(model, factors=lambda call: None):
    """The largest slope over subnetworks whose activations have the slope 2."""
    found = SubnetworkMaximum(fixinit.graph.trace(model), factors)
    return found(1.0, lambda x: 2 * x)


def dense(x, activation="relu"):
    return layers.Dense(4, activation)(x)


def test_activations_inside_of_weight_layers_count_once():
    x = inputs = keras.Input((4,))
    for _ in range(3):
        x = dense(x)
    assert slope(keras.Model(inputs, layers.Dense(2)(x))) == 8


def test_what_reads_one_value_passes_it_on():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(x)))
    x = layers.Dropout(0.5)(layers.AveragePooling2D(2)(layers.ZeroPadding2D()(x)))
    x = keras.ops.relu(layers.MaxPooling2D(2)(layers.Conv2D(4, 1)(x)))
    assert slope(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))) == 4


def test_sums_average_by_the_squares_of_their_factors():
    x = inputs = keras.Input((4,))
    x = fixinit.layers.ScaledAdd(0.6, 0.8)([x, dense(dense(x))])
    # A branch by itself has more than the sum.
    assert slope(keras.Model(inputs, x)) == 4
    x = fixinit.layers.ScaledAdd(0.6, 0.8)([x, dense(dense(x))])
    assert slope(keras.Model(inputs, x)) == pytest.approx((0.36 + 0.64 * 4) ** 2)


def test_sums_without_factors_weigh_all_alike():
    x = inputs = keras.Input((4,))
    for _ in range(2):
        x = layers.add([x, dense(x), dense(dense(x))])
    assert slope(keras.Model(inputs, x)) == pytest.approx((7 / 3) ** 2)


def test_factors_may_be_given():
    x = inputs = keras.Input((4,))
    for _ in range(2):
        x = layers.add([x, dense(dense(x))])
    model = keras.Model(inputs, x)
    assert slope(model, lambda call: (0.6, 0.8)) == pytest.approx(2.92**2)


def test_concatenations_average_by_channels():
    x = inputs = keras.Input((4,))
    x = layers.concatenate([x, layers.Dense(12, "relu")(x)])
    x = layers.Dense(4)(x)
    x = layers.concatenate([x, layers.Dense(12, "relu")(x)])
    assert slope(keras.Model(inputs, layers.Dense(2)(x))) == pytest.approx(1.75**2)


def test_link_functions_behind_the_head_are_linear():
    for link in ("sigmoid", "softmax", "linear", "tanh"):
        inputs = keras.Input((4,))
        assert slope(keras.Model(inputs, dense(dense(inputs), link))) == 2
    inputs = keras.Input((4,))
    assert slope(keras.Model(inputs, dense(dense(inputs, "tanh"), "tanh"))) == 4


def test_gates_are_constants():
    x = inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 1, activation="relu")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="sigmoid")(dense(gate))
    x = layers.multiply([x, gate])
    assert slope(keras.Model(inputs, layers.Conv2D(2, 1)(x))) == 2


def test_refuses_products_of_signals():
    inputs = [keras.Input((4,)) for _ in range(2)]
    x = layers.multiply([dense(inputs[0]), inputs[1]])
    with pytest.raises(theory.NoRuleError, match=r"No C map for Multiply `multiply"):
        slope(keras.Model(inputs, x))


@pytest.mark.parametrize("scheme", ["normalized_sum", "scaled_residual"])
@pytest.mark.parametrize("preactivation", [True, False])
def test_stacks_are_their_blocks(scheme, preactivation):
    models = [
        fixinit.models.ResidualMLP(
            5, 4, scheme=scheme, preactivation=preactivation, stacked=stacked
        )
        for stacked in (True, False)
    ]
    found = [slope(model) for model in models]
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    assert found[0] > 2


def test_blocks_of_a_stack_may_differ():
    scheme = fixinit.schemes.ScaledResidual("decreasing")
    models = [
        fixinit.models.ResidualMLP(5, 4, scheme=scheme, stacked=stacked)
        for stacked in (True, False)
    ]
    assert slope(models[0]) == pytest.approx(slope(models[1]), rel=1e-12)


def test_layers_of_ones_own_are_opened():
    class Twice(layers.Layer):
        def __init__(self):
            super().__init__()
            self.first, self.second = (layers.Dense(4, "relu") for _ in range(2))

        def call(self, x):
            return self.second(self.first(x))

    Twice.__module__ = "example"
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(Twice()(inputs)))
    assert maximum_of(model)(1.0, lambda x: 2 * x) == 4


def test_what_does_not_depend_on_the_inputs_counts_for_nothing():
    x = inputs = keras.Input((4, 4))
    positions = keras.ops.zeros_like(x)
    x = dense(x) + positions
    assert slope(keras.Model(inputs, layers.Dense(2)(x))) == 2

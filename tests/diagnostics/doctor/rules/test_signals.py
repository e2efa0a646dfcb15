import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics import diagnose
from tests.diagnostics.doctor.rules.programs import (
    BINARY,
    CLASSES,
    NUMBERS,
    RNG,
    X,
    claims,
    compiled,
    found,
    layers,
    mended,
    net,
)
from tests.marks import ON_TORCH

pytestmark = ON_TORCH

SPARSE = "sparse_categorical_crossentropy"


def deep(count, activation="relu", size=None, units=16):
    """Layers behind each other, drawn as He does or with `size` times that."""
    draw = "he_normal"
    if size is not None:
        draw = keras.initializers.VarianceScaling(2.0 * size**2, "fan_in")
    hidden = [
        layers.Dense(units, activation, kernel_initializer=draw, name=f"h{i}")
        for i in range(count)
    ]
    head = layers.Dense(1, name="head")
    return compiled(
        keras.Sequential([keras.Input((6,)), *hidden, head]),
        "mse",
        keras.optimizers.SGD(1e-5, momentum=0.9),
    )


def test_signals_that_explode_with_depth():
    model = deep(12, size=4.0)
    (finding,) = (f for f in found("exploding", model, X, NUMBERS)[:1])
    assert finding.severity == "error" and finding.value > 1e8
    names = {"model": model, "keras": keras}
    exec(finding.remedy, names)
    assert not found("exploding", names["model"], X, NUMBERS)


@pytest.mark.parametrize("power, count", [(1.3, 40), (3.0, 12)])
def test_powers_of_the_depth_are_no_explosion_up_to_its_square(power, count):
    steps = [((i + 1) / i) ** (power / 2) for i in range(1, count)]
    hidden = [
        layers.Dense(6, kernel_initializer=keras.initializers.Identity(gain))
        for gain in (1.0, *steps)
    ]
    model = keras.Sequential([keras.Input((6,)), *hidden, layers.Dense(1)])
    growth = diagnose(model, X).growth
    assert growth.kind == "polynomial" and growth.slope == pytest.approx(power, 1e-3)
    assert growth.total == pytest.approx(count**power, rel=1e-3) and growth.total > 100
    assert bool(found("exploding", model)) == (power > 2)


def test_signals_that_vanish_with_depth():
    model = deep(12, size=0.2)
    finding = found("vanishing", model, X, NUMBERS)[0]
    assert finding.value < 1e-8
    exec(finding.remedy, {"model": model, "keras": keras})
    assert not found("vanishing", model, X, NUMBERS)


@pytest.mark.parametrize("activation", ["relu", "tanh", "selu"])
def test_depth_as_drawn_is_no_finding(activation):
    model = deep(6, activation, units=32)
    assert not found("exploding", model, X, NUMBERS)
    assert not found("vanishing", model, X, NUMBERS)


def test_residual_networks_that_explode_are_converted():
    model = fixinit.models.ResidualMLP(
        12, 16, scheme="unnormalized", input_shape=(6,), classes=4, seed=0
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(1e-3, momentum=0.9)
    model = compiled(model, loss, sgd, metrics=["accuracy"])
    after, _, _ = mended("exploding", model, X, CLASSES)
    assert after.loss is loss
    assert after.get_compile_config()["metrics"] == ["accuracy"]


def test_weights_that_are_not_finite():
    model = net(layers.Dense(1), loss="mse")
    kernel = model.get_layer("hidden").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    after, _, _ = mended("not_finite", model, X, NUMBERS, severity="error", value=1.0)
    assert after.get_layer("hidden") is model.get_layer("hidden")


def test_activations_that_are_not_finite():
    model = deep(40, size=20.0)
    finding = found("not_finite", model, X, NUMBERS)[0]
    assert finding.severity == "error" and finding.where.startswith("h")
    exec(finding.remedy, {"model": model, "keras": keras})
    assert not found("not_finite", model, X, NUMBERS)


def log_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.log(y_pred - 1e6))


def test_a_loss_that_is_not_finite():
    (finding,) = found("not_finite", net(layers.Dense(1), loss=log_loss), X, NUMBERS)
    assert (finding.where, finding.remedy) == ("loss", "")


def test_inputs_that_look_alike():
    # What all inputs have in common is a thousand times what tells them apart.
    model = net(layers.Dense(1), loss="mse")
    first = model.get_layer("hidden")
    first.kernel.assign(1e-4 * first.kernel)
    first.bias.assign(np.ones(16))
    (finding,) = found("inputs_alike", model, X, NUMBERS)
    assert finding.severity == "warning" and finding.value > 0.999
    mended("inputs_alike", model, X, NUMBERS)
    assert not found("inputs_alike", net(layers.Dense(1), loss="mse"), X, NUMBERS)


def test_a_frozen_trunk_is_transfer_learning():
    model = net(layers.Dense(1, name="head"))
    model.get_layer("hidden").trainable = False
    assert claims(compiled(model, "mse"), X, NUMBERS) == []


def test_nothing_is_trainable():
    model = net(layers.Dense(1))
    model.trainable = False
    after, _, _ = mended(
        "no_gradient", compiled(model, "mse"), X, NUMBERS, severity="error"
    )
    assert len(after.trainable_variables) == 4


def test_layers_that_are_frozen_one_by_one():
    model = net(layers.Dense(1))
    for layer in model.layers:
        layer.trainable = False
    mended("no_gradient", compiled(model, "mse"), X, NUMBERS, severity="error")


class Stopped(layers.Layer):
    """Passes values on, and no gradient."""

    def call(self, x):
        return keras.ops.stop_gradient(x)


@pytest.mark.every_backend
def test_a_bias_that_cancels_is_worth_a_note():
    one, two = keras.Input((6,)), keras.Input((6,))
    hidden, last = layers.Dense(8, "relu"), layers.Dense(4)
    difference = last(hidden(one)) - last(hidden(two))
    model = keras.Model([one, two], layers.Dense(1)(difference))
    data = [X, np.roll(X, 1, axis=0)]
    (finding,) = found("no_gradient", compiled(model, "mse"), data, NUMBERS)
    assert finding.severity == "note"


def test_no_gradient_behind_a_stop():
    model = net(Stopped(), layers.Dense(1), loss="mse")
    (finding,) = found("no_gradient", model, X, NUMBERS)
    assert finding.severity == "warning" and finding.value == 2.0
    assert finding.where.endswith("hidden/kernel") and finding.remedy == ""
    assert "no_gradient" not in claims(net(layers.Dense(1), loss="mse"), X, NUMBERS)


def test_an_output_that_nothing_changes():
    model = net(layers.Dense(8, "relu", name="dead"), layers.Dense(1), loss="mse")
    model.get_layer("dead").bias.assign(np.full(8, -50.0))
    (finding,) = found("constant_output", model, X, NUMBERS)
    assert finding.severity == "error" and finding.value == 0.0
    after = net(layers.Dense(8, "relu"), layers.Dense(1), loss="mse")
    assert not found("constant_output", after, X, NUMBERS)


def test_a_head_of_zeros_is_no_constant_output():
    head = layers.Dense(1, kernel_initializer="zeros")
    assert claims(net(head, loss="mse"), X, NUMBERS) == []
    head = layers.Dense(4, "softmax", kernel_initializer="zeros")
    assert claims(net(head, loss=SPARSE), X, CLASSES) == []


def test_equal_samples_have_equal_outputs():
    model = net(layers.Dense(1), loss="mse")
    x = np.tile(X[:1], (8, 1))
    assert not found("constant_output", model, x, NUMBERS[:8])
    assert not found("constant_output", model, X[:1], NUMBERS[:1])


def test_batch_statistics_of_one_number_make_no_constant_output_in_test_mode():
    model = net(layers.BatchNormalization(), layers.Dense(1), loss="mse")
    assert not found("constant_output", model, X[:8], NUMBERS[:8])


class Opaque(layers.Layer):
    """Decides by values, of which no graph can be made."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(8, name="inner")

    def build(self, shape):
        self.dense.build(shape)

    def compute_output_shape(self, shape):
        return (*shape[:-1], 8)

    def call(self, x):
        if float(keras.ops.convert_to_numpy(keras.ops.sum(x * 0))) > 1:
            return x
        return self.dense(x)


def test_layers_that_hide_what_they_do():
    if keras.backend.backend() != "torch":
        pytest.skip("Only PyTorch runs such a layer outside of functions.")
    inputs = keras.Input((6,))
    h = Opaque(name="opaque")(layers.Dense(8, "relu")(inputs))
    model = compiled(keras.Model(inputs, layers.Dense(1)(h)), "mse")
    (finding,) = found("cannot_look_inside", model, X, NUMBERS)
    assert (finding.severity, finding.where) == ("note", "opaque")


class Scaled(layers.Layer):
    """Multiplies: nothing in it needs to be looked into."""

    def call(self, x):
        return 2 * x


def test_layers_without_weights_hide_nothing():
    assert not found(
        "cannot_look_inside", net(Scaled(), layers.Dense(1), loss="mse"), X, NUMBERS
    )


def test_a_recurrent_network_of_many_steps():
    model = keras.Sequential(
        [keras.Input((30, 6)), layers.LSTM(8), layers.Dense(1, "sigmoid")]
    )
    x = RNG.normal(size=(32, 30, 6)).astype("float32")
    assert claims(compiled(model, "binary_crossentropy"), x, BINARY[:32]) == []


def test_signals_that_sigmoids_flatten_are_mended_by_other_activations():
    row = [layers.Dense(16, "sigmoid", name=f"s{i}") for i in range(8)]
    model = compiled(
        keras.Sequential([keras.Input((6,)), *row, layers.Dense(1)]), "mse"
    )
    after, _, _ = mended("vanishing", model, X, NUMBERS)
    assert after.get_layer("s4").activation is keras.activations.relu

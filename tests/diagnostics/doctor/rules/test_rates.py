import keras
import numpy as np
import pytest

from fixinit.optimizers import with_scalar_learning_rate
from tests.diagnostics.doctor.rules.programs import (
    NUMBERS,
    X,
    found,
    layers,
    mended,
    net,
)
from tests.marks import on_torch, slow_on_tensorflow

optimizers = keras.optimizers
schedules = optimizers.schedules


def made(optimizer):
    return net(layers.Dense(1), loss="mse", optimizer=optimizer)


HIGH = {
    "sgd": lambda: optimizers.SGD(50.0, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(3.0, beta_1=0.8, epsilon=1e-6),
    "adamw": lambda: optimizers.AdamW(3.0, weight_decay=0.01, clipvalue=1.0),
    "schedule": lambda: optimizers.SGD(schedules.CosineDecay(50.0, 1000), momentum=0.5),
    "groups": lambda: with_scalar_learning_rate(optimizers.SGD(50.0)),
}


@on_torch
@pytest.mark.parametrize("name", HIGH)
def test_rates_that_are_too_high(name):
    model = made(HIGH[name]())
    after, _, _ = mended("learning_rate_high", model, X, NUMBERS)
    assert float(after.optimizer.learning_rate) < 1


@on_torch
def test_a_schedule_stays_one():
    model = made(HIGH["schedule"]())
    after, _, _ = mended("learning_rate_high", model, X, NUMBERS)
    rate = after.optimizer.get_config()["learning_rate"]
    assert rate["class_name"] == "ScaledSchedule"


@slow_on_tensorflow
def test_a_rate_that_makes_the_loss_diverge_is_an_error():
    (finding,) = found("learning_rate_high", made(optimizers.SGD(50.0)), X, NUMBERS)
    assert finding.severity == "error" and finding.value > 0.5


LOW = {
    "sgd": lambda: optimizers.SGD(1e-7),
    "adam": lambda: optimizers.Adam(1e-7),
}
STILL = {
    "clipped": lambda: optimizers.SGD(0.01, momentum=0.9, clipnorm=1e-9),
    "zero": lambda: optimizers.SGD(0.0, momentum=0.9),
}


@on_torch
@pytest.mark.parametrize("name", STILL)
def test_steps_that_move_nothing(name):
    (finding,) = found("learning_rate_low", made(STILL[name]()), X, NUMBERS)
    assert (finding.severity, finding.value) == ("error", 0.0)
    assert not found("no_gradient", made(STILL[name]()), X, NUMBERS)
    names = {"model": made(STILL[name]()), "keras": keras}
    exec(finding.remedy, names)
    assert names["model"].optimizer.momentum == 0.9
    assert not found("learning_rate_low", names["model"], X, NUMBERS)


@on_torch
@pytest.mark.parametrize("name", LOW)
def test_rates_that_are_too_low(name):
    (finding,) = found("learning_rate_low", made(LOW[name]()), X, NUMBERS)
    assert finding.severity == "warning" and 0 < finding.value < 1e-5
    mended("learning_rate_low", made(LOW[name]()), X, NUMBERS)


def warm_up():
    yield (
        "cosine",
        schedules.CosineDecay(0.0, 1000, warmup_target=0.1, warmup_steps=100),
    )
    yield "piecewise", schedules.PiecewiseConstantDecay([10], [0.0, 0.1])


@on_torch
@pytest.mark.parametrize("case", warm_up(), ids=lambda case: case[0])
def test_a_warm_up_from_zero_is_no_finding(case):
    _, schedule = case
    model = made(optimizers.Adam(schedule))
    assert not found("learning_rate_low", model, X, NUMBERS)
    assert not found("no_gradient", model, X, NUMBERS)


ORDINARY = {
    "sgd": lambda: optimizers.SGD(0.01, momentum=0.9),
    "adam": lambda: optimizers.Adam(),
    "adamw": lambda: optimizers.AdamW(1e-3, weight_decay=0.1),
    "rmsprop": lambda: optimizers.RMSprop(),
    "adagrad": lambda: optimizers.Adagrad(),
    "clipped": lambda: optimizers.SGD(0.01, clipnorm=1.0),
    "decay": lambda: optimizers.SGD(schedules.ExponentialDecay(0.1, 10, 0.9)),
}


@on_torch
@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_rates(name):
    model = made(ORDINARY[name]())
    assert not found("learning_rate_high", model, X, NUMBERS)
    assert not found("learning_rate_low", model, X, NUMBERS)


@slow_on_tensorflow
@pytest.mark.every_backend
def test_rates_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = made(optimizers.Adam(3.0))
    after, _, _ = mended("learning_rate_high", model, X, NUMBERS)
    assert isinstance(after.optimizer, optimizers.LossScaleOptimizer)
    assert not found("learning_rate_high", made(optimizers.Adam()), X, NUMBERS)


@slow_on_tensorflow
def test_without_an_optimizer_nothing_is_said_of_rates():
    model = net(layers.Dense(1))
    assert not found("learning_rate_low", model, X, NUMBERS)
    finding = found("learning_rate_high", model, X, NUMBERS, optimizer=HIGH["sgd"]())
    assert finding and np.isfinite(finding[0].value)


@slow_on_tensorflow
@pytest.mark.parametrize("loss", ["mae", keras.losses.Huber(delta=0.5), None])
def test_code_for_a_model_that_is_not_compiled_has_the_loss(loss):
    model = net(layers.Dense(1))
    given = {"loss": loss, "optimizer": optimizers.SGD(500.0)}
    (finding,) = found("learning_rate_high", model, X, NUMBERS, **given)
    exec(finding.remedy, {"model": model, "keras": keras})
    expected = keras.losses.MeanSquaredError() if loss is None else loss
    assert keras.losses.serialize(
        keras.losses.get(model.loss)
    ) == keras.losses.serialize(keras.losses.get(expected))
    assert not found("learning_rate_high", model, X, NUMBERS)


def negative(y_true, y_pred):
    """A loss that is below zero, and cubed, so that large steps overflow."""
    return keras.ops.mean((y_pred - y_true) ** 4, axis=-1) - 1e6


@slow_on_tensorflow
def test_a_loss_below_zero_that_diverges():
    model = net(layers.Dense(1), loss=negative, optimizer=optimizers.SGD(50.0))
    (finding,) = found("learning_rate_high", model, X, NUMBERS)
    assert finding.severity == "error"


@slow_on_tensorflow
def test_low_rates_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = made(optimizers.Adam(1e-9))
    assert isinstance(model.optimizer, optimizers.LossScaleOptimizer)
    mended("learning_rate_low", model, X, NUMBERS)

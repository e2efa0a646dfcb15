import keras
import numpy as np
import pytest
from keras import ops

from fixinit.diagnostics import diagnose, function_update
from fixinit.diagnostics._shared.trial_optimizer import TrialOptimizer
from fixinit.optimizers import adaptive_clipping, with_scalar_learning_rate
from tests.marks import slow_on_tensorflow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 5)).astype("float32")
Y = RNG.normal(size=(16, 2)).astype("float32")
GRADIENTS = [np.full((5, 4), 0.5), np.ones(4), np.full((4, 2), 2.0), np.ones(2)]


def mlp(**kwargs):
    layers = [keras.layers.Dense(4, "relu", **kwargs), keras.layers.Dense(2, **kwargs)]
    return keras.Sequential([keras.Input((5,)), *layers])


def numpy(tensors):
    return [ops.convert_to_numpy(t) for t in tensors]


def steps(model, optimizer, count=1):
    """How far steps with `GRADIENTS` have moved the weights."""
    trial = TrialOptimizer(model, optimizer)
    before = numpy(trial.weights)
    for _ in range(count):
        trial.step([ops.convert_to_tensor(g, "float32") for g in GRADIENTS])
    return [new - old for new, old in zip(numpy(trial.weights), before, strict=True)]


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


def test_scaled_losses_make_no_difference():
    model = mlp()
    plain = steps(model, keras.optimizers.SGD(0.1))
    assert_same(plain, [-0.1 * g for g in GRADIENTS])
    for optimizer in (
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
        keras.optimizers.SGD(0.1, loss_scale_factor=1024.0),
    ):
        assert_same(steps(model, optimizer), plain)


def test_gradients_are_clipped_as_in_training():
    model = mlp()
    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer = adaptive_clipping(sgd, model, factor=0.01)
    clipped, plain = steps(model, optimizer), steps(model, keras.optimizers.SGD(0.1))
    ratios = [
        np.linalg.norm(c) / np.linalg.norm(p)
        for c, p in zip(clipped, plain, strict=True)
    ]
    # All but the head, of which the weights are the last two.
    assert max(ratios[:2]) < 0.1 and min(ratios[2:]) > 0.999
    assert_same(steps(model, keras.optimizers.LossScaleOptimizer(optimizer)), clipped)
    # Steps go on from the momentum of an optimizer that is in use.
    optimizer.apply(
        [ops.convert_to_tensor(g, "float32") for g in GRADIENTS],
        model.trainable_variables,
    )
    assert_same(steps(model, optimizer)[2:], [1.9 * p for p in plain[2:]])


@slow_on_tensorflow
@pytest.mark.every_backend
def test_updates_in_mixed_precision_are_those_of_training():
    model = mlp(dtype="mixed_float16")
    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    # As `compile` wraps it where the model's own policy is mixed. With Keras's scale
    # of 2^15 PyTorch's float16 overflows at first, which skips steps.
    model.compile(keras.optimizers.LossScaleOptimizer(sgd, 256.0), "mse")
    for _ in range(2):  # With and without momentum.
        ratio = diagnose(model, X, Y).layers[1].update_to_weight
        (moved,) = function_update(model, X, Y, model.optimizer)
        kernel = np.array(numpy(model.trainable_variables)[0])
        outputs = model.predict_on_batch(X).astype("float64")
        model.train_on_batch(X, Y)
        update = np.linalg.norm(numpy(model.trainable_variables)[0] - kernel)
        # Products are rounded to 11 bits.
        assert ratio == pytest.approx(update / np.linalg.norm(kernel), rel=0.02)
        change = model.predict_on_batch(X).astype("float64") - outputs
        assert moved == pytest.approx(np.sqrt(np.mean(change**2)), rel=0.05)


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda k: keras.optimizers.Adam(0.1, gradient_accumulation_steps=k),
        lambda k: with_scalar_learning_rate(
            keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=k)
        ),
    ],
)
def test_accumulated_gradients_make_one_step(optimizer):
    model = mlp()
    expected = steps(model, optimizer(None), 2)
    assert_same(steps(model, optimizer(3), 2), expected)


def test_what_was_accumulated_before_does_not_count():
    model = mlp()
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    model.compile(optimizer, "mse")
    model.train_on_batch(X, Y)
    assert_same(steps(model, optimizer), [-0.1 * g for g in GRADIENTS])


def test_exclusions_from_weight_decay_hold():
    model = mlp()
    for variable in model.trainable_variables:
        variable.assign(ops.ones(variable.shape))
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(
        var_list=[model.trainable_variables[0]], var_names=["bias"]
    )
    expected = [-0.1 * g for g in GRADIENTS]
    expected[2] = expected[2] - 0.1 * 0.5
    assert_same(steps(model, optimizer), expected)


class Unregistered(keras.optimizers.SGD):
    """As of a user: Keras does not know it by name."""


class Unconfigured(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1


def test_classes_need_not_be_registered():
    assert_same(steps(mlp(), Unregistered(0.1)), [-0.1 * g for g in GRADIENTS])


def test_what_cannot_be_copied_costs_the_updates_alone():
    model = mlp()
    model.compile(keras.optimizers.SGD(Unconfigured()), "mse")
    with pytest.warns(UserWarning, match="left out.*optimizer.*get_config"):
        diagnosis = diagnose(model, X, Y)
    assert np.isnan(diagnosis.layers[1].update_to_weight)
    assert diagnosis.loss > 0
    with pytest.raises(TypeError, match="Argument `optimizer`.*get_config"):
        diagnose(model, X, Y, optimizer=model.optimizer)
    with pytest.raises(TypeError, match="Argument `optimizer`.*get_config"):
        function_update(model, X, Y, model.optimizer)

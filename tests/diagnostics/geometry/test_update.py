import keras
import numpy as np
import pytest
from keras import ops

import fixinit
from fixinit.diagnostics import function_update, function_update_by_depth
from fixinit.optimizers import with_scalar_learning_rate
from tests.marks import on_torch, rest_on_torch, slow_on_tensorflow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 5)).astype("float32")
Y = RNG.normal(size=(16, 2)).astype("float32")
LABELS = RNG.integers(0, 2, size=16)


def linear():
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, use_bias=False)])


@pytest.mark.every_backend
def test_a_step_of_sgd_on_a_linear_model_is_the_closed_form():
    model = linear()
    kernel = ops.convert_to_numpy(model.layers[0].kernel)
    gradient = 2 / Y.size * X.T @ (X @ kernel - Y)
    expected = np.sqrt(np.mean(np.square(0.1 * X @ gradient)))
    updates = function_update(model, X, Y, keras.optimizers.SGD(0.1))
    np.testing.assert_allclose(updates, [expected], rtol=1e-4)


@slow_on_tensorflow
@pytest.mark.every_backend
@rest_on_torch(
    "make",
    [
        lambda: keras.optimizers.SGD(0.1, momentum=0.9),
        lambda: keras.optimizers.AdamW(0.01),
        lambda: with_scalar_learning_rate(keras.optimizers.SGD(0.1, momentum=0.9)),
    ],
    quick=1,
    ids=["momentum", "adamw", "scalars"],
)
def test_steps_are_those_of_training(make):
    def build():
        return fixinit.models.ResidualMLP(2, 8, input_shape=(5,), classes=2, seed=0)

    measured = function_update(build(), X, LABELS, make(), num_steps=4)
    trained = build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained.compile(make(), loss)
    outputs = [trained.predict_on_batch(X)]
    for _ in range(4):
        trained.train_on_batch(X, LABELS)
        outputs.append(trained.predict_on_batch(X))
    changes = np.sqrt(np.mean(np.square(np.diff(outputs, axis=0)), axis=(1, 2)))
    np.testing.assert_allclose(measured, changes, rtol=1e-3)


def test_goes_on_from_the_state_of_the_models_own_optimizer():
    model = linear()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.train_on_batch(X, Y)
    (with_momentum,) = function_update(model, X, Y, model.optimizer)
    fresh = keras.optimizers.SGD(0.1, momentum=0.9)
    (without,) = function_update(model, X, Y, fresh)
    before = model.predict_on_batch(X)
    model.train_on_batch(X, Y)
    change = np.sqrt(np.mean(np.square(model.predict_on_batch(X) - before)))
    assert with_momentum == pytest.approx(change, rel=1e-3)
    assert without < 0.8 * with_momentum
    assert not fresh.built


@on_torch
@pytest.mark.parametrize("training", [False, True])
def test_measuring_changes_nothing(untouched, noisy_model, training):
    x, y = X[:8], RNG.normal(size=(8, 3)).astype("float32")
    with untouched(noisy_model):
        first, second = (
            function_update(
                noisy_model, x, y, noisy_model.optimizer, num_steps=2, training=training
            )
            for _ in range(2)
        )
    np.testing.assert_array_equal(first, second)


def by_depth(scheme, depths, units=8, **kwargs):
    def build(depth):
        return fixinit.models.ResidualMLP(
            depth,
            units,
            scheme=scheme,
            input_shape=(5,),
            classes=2,
            seed=0,
            stacked=True,
        )

    return function_update_by_depth(build, depths, X, LABELS, "sgd", **kwargs)


@on_torch
def test_fixup_keeps_its_promise_and_he_initialization_breaks_it():
    fixup = by_depth("fixup", (4, 16, 64), num_steps=3)
    assert fixup.updates.shape == (3, 3) and np.all(fixup.updates > 0)
    # The first step moves the head alone; the third moves all.
    np.testing.assert_allclose(fixup.updates[:, 0], fixup.updates[0, 0], rtol=1e-4)
    assert np.all(np.abs(fixup.exponents) < 0.1)
    # Products of two gradients that grow by the root of 2 in every block.
    he = by_depth("unnormalized", (4, 16), units=64)
    assert np.all(he.exponents > 3)


def test_outputs_that_overflow_count_as_infinite():
    def build(depth):
        blocks = [keras.layers.Rescaling(1e10) for _ in range(depth)]
        return keras.Sequential([*linear().layers, *blocks])

    found = function_update_by_depth(
        lambda depth: keras.Sequential([keras.Input((5,)), *build(depth).layers]),
        (1, 2),
        X,
        Y,
        "sgd",
    )
    assert np.isfinite(found.updates[0, 0]) and np.isinf(found.updates[1, 0])
    assert np.isinf(found.exponents[0])


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="num_steps"):
        function_update(linear(), X, Y, "sgd", num_steps=0)
    with pytest.raises(ValueError, match="depths.*two"):
        by_depth("fixup", (4, 4))
    with pytest.raises(ValueError, match="as many samples"):
        function_update(linear(), X, Y[:3], "sgd")

import keras
import numpy as np
import pytest

import fixinit
from fixinit.optimizers import ScaledSchedule, with_scalar_learning_rate

X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 32)


def small_model(seed=0, scheme="scaled_residual"):
    if scheme == "scaled_residual":
        scheme = fixinit.schemes.ScaledResidual(mode="trainable")
    return fixinit.models.ResidualMLP(
        2, 8, scheme=scheme, input_shape=(6,), classes=3, seed=seed
    )


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def values(model):
    return {
        v.path: keras.ops.convert_to_numpy(v.value) for v in model.trainable_variables
    }


def fit(optimizer, steps=1, scheme="scaled_residual", model=None):
    model = model or small_model(scheme=scheme)
    model.compile(optimizer, loss())
    model.fit(X, Y, batch_size=32, epochs=steps, shuffle=False, verbose=0)
    return model


def test_scalars_move_a_tenth_as_far_and_the_others_as_before():
    start = values(small_model())
    plain = values(fit(keras.optimizers.SGD(0.1)))
    scaled = values(fit(with_scalar_learning_rate(keras.optimizers.SGD(0.1))))
    for path, before in start.items():
        factor = 0.1 if "scalar_" in path else 1.0
        np.testing.assert_allclose(
            scaled[path] - before,
            factor * (plain[path] - before),
            rtol=1e-3,
            atol=1e-7,
            err_msg=path,
        )
    assert sum("scalar_" in path for path in start) == 2


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop"])
def test_wraps_any_optimizer(name):
    optimizer = with_scalar_learning_rate(keras.optimizers.get(name))
    model = fit(optimizer, steps=3)
    assert all(np.isfinite(v).all() for v in values(model).values())


def test_weight_decay_can_leave_out_scalars_and_biases():
    def decayed(**options):
        sgd = keras.optimizers.SGD(1.0, weight_decay=0.5)
        optimizer = with_scalar_learning_rate(sgd, **options)
        model = small_model(scheme="fixup")
        for v in model.trainable_variables:
            v.assign(np.ones(v.shape))
        optimizer.build(model.trainable_variables)
        zeros = [keras.ops.zeros(v.shape) for v in model.trainable_variables]
        optimizer.apply(zeros, model.trainable_variables)
        return {path: float(np.mean(v)) for path, v in values(model).items()}

    everything = decayed()
    # One step decays by learning rate times decay: 1 - 0.1 * 0.5 for scalars.
    assert {round(v, 4) for p, v in everything.items() if "scalar" in p} == {0.95}
    assert {round(v, 4) for p, v in everything.items() if "scalar" not in p} == {0.5}
    neither = decayed(decay_scalars=False, decay_biases=False)
    assert {v for p, v in neither.items() if "scalar" in p or "bias" in p} == {1.0}
    assert {v for p, v in neither.items() if "kernel" in p} == {0.5}


def test_schedules_are_scaled():
    schedule = keras.optimizers.schedules.CosineDecay(0.2, 10)
    optimizer = with_scalar_learning_rate(keras.optimizers.SGD(schedule))
    scalars, others = optimizer.optimizers
    fit(optimizer, steps=5)
    assert float(scalars.learning_rate) == pytest.approx(
        0.1 * float(others.learning_rate)
    )
    assert float(others.learning_rate) < 0.2


def test_schedule_config():
    schedule = ScaledSchedule(keras.optimizers.schedules.CosineDecay(0.2, 10), 0.5)
    config = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(config)
    assert float(again(5)) == float(schedule(5)) == pytest.approx(0.05)


def test_survives_saving_and_goes_on_training(tmp_path):
    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    model = fit(with_scalar_learning_rate(sgd), steps=2)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    for m in (model, again):
        m.fit(X, Y, batch_size=32, epochs=2, shuffle=False, verbose=0)
    first, second = values(model), values(again)
    for path in first:
        np.testing.assert_allclose(first[path], second[path], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_trains_in_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    model = fit(with_scalar_learning_rate(keras.optimizers.SGD(0.01)), steps=3)
    start = values(small_model())
    after = values(model)
    assert any((after[path] != start[path]).any() for path in start)
    assert all(np.isfinite(v).all() for v in after.values())


def test_refuses_wrapped_built_and_foreign_optimizers():
    sgd = keras.optimizers.SGD()
    with pytest.raises(TypeError, match="wraps no other"):
        with_scalar_learning_rate(with_scalar_learning_rate(sgd))
    with pytest.raises(TypeError, match="wraps no other"):
        with_scalar_learning_rate("sgd")
    sgd.build([keras.Variable(1.0)])
    with pytest.raises(ValueError, match="built already"):
        with_scalar_learning_rate(sgd)


@pytest.mark.parametrize("multiplier", [0, -0.1, float("inf"), float("nan")])
def test_refuses_multiplier(multiplier):
    with pytest.raises(ValueError, match="multiplier"):
        with_scalar_learning_rate(keras.optimizers.SGD(), multiplier)


def test_refuses_a_negative_learning_rate():
    with pytest.raises(ValueError, match="learning_rate"):
        with_scalar_learning_rate(keras.optimizers.SGD(-0.1))

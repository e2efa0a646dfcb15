import keras
import numpy as np
import pytest

import fixinit
from fixinit.optimizers import with_scalar_learning_rate
from tests.marks import mostly_slow, slow_on_tensorflow

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


@mostly_slow(
    "optimizer",
    ["sgd", "adam", "adamw", keras.optimizers.serialize(keras.optimizers.RMSprop())],
    quick=2,
    ids=["sgd", "adam", "adamw", "config of rmsprop"],
)
def test_wraps_any_optimizer(optimizer):
    optimizer = with_scalar_learning_rate(optimizer)
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


def normalized(layer):
    """A network of which everything but a kernel is of normalization."""
    dense = keras.layers.Dense(4, use_bias=False)
    if layer is keras.layers.SpectralNormalization:
        return keras.Sequential([keras.Input((6,)), layer(dense)])
    return keras.Sequential([keras.Input((6,)), layer(), dense])


NORMALIZATIONS = [
    keras.layers.BatchNormalization,
    lambda: keras.layers.GroupNormalization(2),
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
    keras.layers.SpectralNormalization,
    fixinit.layers.ChannelAffine,
]


@pytest.mark.parametrize(
    "layer", NORMALIZATIONS, ids=lambda x: getattr(x, "__name__", "Group")
)
def test_weight_decay_can_leave_out_every_normalization(layer):
    sgd = keras.optimizers.SGD(1.0, weight_decay=0.5)
    optimizer = with_scalar_learning_rate(sgd, decay_biases=False)
    variables = normalized(layer).trainable_variables
    for v in variables:
        v.assign(np.ones(v.shape))
    optimizer.build(variables)
    optimizer.apply([keras.ops.zeros(v.shape) for v in variables], variables)
    for v in variables:
        expected = 0.5 if v.name == "kernel" else 1.0
        assert (keras.ops.convert_to_numpy(v) == expected).all(), v.path


def test_every_normalization_of_keras_is_tested():
    known = {n for n in dir(keras.layers) if n.endswith("Normalization")}
    # That of data has no trainable variable.
    assert len(known - {"Normalization"}) == len(NORMALIZATIONS) - 1


CALLBACKS = {
    "schedule": lambda: keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: 0.05 / (epoch + 1)
    ),
    # No loss is an improvement: the rate halves after each epoch.
    "plateau": lambda: keras.callbacks.ReduceLROnPlateau(
        monitor="loss", factor=0.5, patience=1, min_delta=1e9
    ),
}


@mostly_slow("callback", CALLBACKS, quick=1)
def test_scalars_keep_their_tenth_under_callbacks(callback):
    start = values(small_model())
    trained = []
    for optimizer in (
        keras.optimizers.SGD(0.1),
        with_scalar_learning_rate(keras.optimizers.SGD(0.1)),
    ):
        model = small_model()
        model.compile(optimizer, loss())
        callbacks = [CALLBACKS[callback]()]
        model.fit(X, Y, batch_size=32, epochs=1, callbacks=callbacks, verbose=0)
        trained.append(values(model))
        model.fit(X, Y, batch_size=32, epochs=3, callbacks=callbacks, verbose=0)
    others, scalars = optimizer.optimizers
    assert float(others.learning_rate) < 0.051
    assert float(optimizer.learning_rate) == float(others.learning_rate)
    assert float(scalars.learning_rate) == pytest.approx(
        0.1 * float(others.learning_rate)
    )
    for path, before in start.items():
        factor = 0.1 if "scalar_" in path else 1.0
        plain, scaled = (after[path] - before for after in trained)
        np.testing.assert_allclose(scaled, factor * plain, rtol=1e-3, atol=1e-7)


def test_schedules_are_scaled():
    schedule = keras.optimizers.schedules.CosineDecay(0.2, 10)
    optimizer = with_scalar_learning_rate(keras.optimizers.SGD(schedule))
    others, scalars = optimizer.optimizers
    fit(optimizer, steps=5)
    assert float(scalars.learning_rate) == pytest.approx(
        0.1 * float(others.learning_rate)
    )
    assert float(others.learning_rate) < 0.2


@slow_on_tensorflow
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


@slow_on_tensorflow
def test_a_rate_that_was_set_survives_saving_under_a_loss_scale(tmp_path):
    inner = with_scalar_learning_rate(keras.optimizers.SGD(0.1, momentum=0.9))
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    model = fit(optimizer)
    optimizer.learning_rate = 0.01
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    inner = again.optimizer.inner_optimizer.optimizers
    assert [float(o.learning_rate) for o in inner] == pytest.approx([0.01, 0.001])
    assert float(again.optimizer.learning_rate) == pytest.approx(0.01)
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
        with_scalar_learning_rate(None)
    with pytest.raises(ValueError, match="sgdd"):
        with_scalar_learning_rate("sgdd")
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

"""Adaptive clipping around optimizers: what is clipped, when, and what is refused."""

import keras
import numpy as np
import pytest

import fixinit
from fixinit import _keras
from fixinit.optimizers import AdaptiveClipping, Rule, adaptive_clipping, by_role
from tests.marks import mostly_slow, slow_on_tensorflow
from tests.optimizers.clipping import Recorder, applied, reference, seen

X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 16)
# So small that almost everything is clipped.
FACTOR = 1e-3
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def small_model(**options):
    scheme = fixinit.schemes.ScaledResidual(mode="trainable")
    options = {"scheme": scheme, "input_shape": (6,), "classes": 3, "seed": 0} | options
    return fixinit.models.ResidualMLP(3, 8, **options)


def values(model):
    return [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]


def drawn_gradients(model, size=1.0):
    rng = np.random.default_rng(2)
    return [
        (size * rng.standard_normal(v.shape)).astype("float32")
        for v in model.trainable_variables
    ]


def expected(model, gradients, clips_head=False):
    """Each gradient by the formula: kernels by their outputs, the rest as a whole."""
    return [
        g
        if v.path.startswith("head/") and not clips_head
        else reference(g, v, 0 if v.name == "kernel" else None, FACTOR)
        for g, v in zip(gradients, model.trainable_variables, strict=True)
    ]


def check(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("clip_head", [False, True])
def test_units_are_clipped_and_the_head_is_not_unless_asked(clip_head):
    model, recorder = small_model(), Recorder()
    optimizer = adaptive_clipping(recorder, model, FACTOR, clip_head=clip_head)
    gradients = drawn_gradients(model)
    applied(optimizer, model.trainable_variables, gradients)
    check(seen(recorder), expected(model, gradients, clip_head))
    # All but the head, if it is left out, are shorter.
    shorter = [(s != g).any() for s, g in zip(seen(recorder), gradients, strict=True)]
    assert shorter.count(False) == (0 if clip_head else 2)


def test_heads_by_hand():
    model = small_model()
    stem, head = model.get_layer("stem"), model.get_layer("head")
    for given in (stem, [stem], [stem, head], []):
        units = adaptive_clipping("sgd", model, head=given).units
        layers = [given] if given is stem else given
        left_out = {v.path for layer in layers for v in layer.variables}
        assert {path for path, axes in units.items() if axes is None} == left_out


@slow_on_tensorflow
def test_blocks_of_a_stack_are_clipped_as_they_are_by_themselves():
    trained = []
    for stacked in (True, False):
        model = small_model(stacked=stacked)
        model.compile(adaptive_clipping(Recorder(), model, FACTOR), LOSS)
        model.train_on_batch(X, Y)
        recorder = model.optimizer.inner_optimizer
        pairs = zip(model.trainable_variables, seen(recorder), strict=True)
        trained.append({v.path: g for v, g in pairs})
    stack, blocks = trained
    of_stack = {p: g for p, g in stack.items() if p.startswith("blocks/")}
    assert len(of_stack) == 5
    for path, gradients in of_stack.items():
        for index, gradient in enumerate(gradients):
            single = blocks[path.replace("blocks/", f"block{index + 1}/")]
            np.testing.assert_allclose(gradient, single, rtol=1e-4, atol=1e-8)
    lengths = np.linalg.norm(of_stack["blocks/weight1/kernel"], axis=1)
    assert len(np.unique(lengths)) > lengths.size // 2


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_gradients_may_be_none():
    model, recorder = small_model(), Recorder()
    gradients = drawn_gradients(model)
    given = [None if index % 3 == 1 else g for index, g in enumerate(gradients)]
    applied(
        adaptive_clipping(recorder, model, FACTOR), model.trainable_variables, given
    )
    wanted = expected(model, gradients)
    for index, found in enumerate(seen(recorder)):
        wanted_here = 0 if given[index] is None else wanted[index]
        np.testing.assert_allclose(found, wanted_here, rtol=1e-5)


@pytest.mark.parametrize("scaled", ["dynamic", "fixed", "by hand"])
def test_clips_behind_unscaling(scaled):
    model = small_model()
    gradients = drawn_gradients(model)
    recorder = Recorder(loss_scale_factor=256.0 if scaled == "fixed" else None)
    optimizer = adaptive_clipping(recorder, model, FACTOR)
    factor = 256.0
    if scaled == "dynamic":
        factor = 2.0**15
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    elif scaled == "by hand":
        optimizer.loss_scale_factor = factor
    assert float(optimizer.scale_loss(1.0)) == factor
    applied(optimizer, model.trainable_variables, [factor * g for g in gradients])
    check(seen(recorder), expected(model, gradients))


def test_clips_what_has_been_accumulated():
    model = small_model()
    recorder = Recorder(gradient_accumulation_steps=2)
    optimizer = adaptive_clipping(recorder, model, FACTOR)
    gradients = drawn_gradients(model)
    opposite = [-0.5 * g for g in gradients]
    applied(optimizer, model.trainable_variables, gradients)
    assert not any(g.any() for g in seen(recorder))
    applied(optimizer, model.trainable_variables, opposite)
    check(seen(recorder), expected(model, [0.25 * g for g in gradients]))
    assert int(optimizer.iterations) == 1


def test_clips_in_front_of_other_clipping_and_of_weight_decay():
    model = small_model()
    recorder = Recorder(clipvalue=1e-4, weight_decay=0.5)
    gradients = drawn_gradients(model)
    clipped = expected(model, gradients)
    applied(
        adaptive_clipping(recorder, model, FACTOR), model.trainable_variables, gradients
    )
    check(seen(recorder), [np.clip(g, -1e-4, 1e-4) for g in clipped])


def test_groups_of_variables_are_clipped_alike():
    model = small_model()
    rules = [Rule("scalar", 0.1), Rule("bias", weight_decay=0.0)]
    optimizer = adaptive_clipping(by_role(Recorder(), rules), model, FACTOR)
    gradients = drawn_gradients(model)
    wanted = expected(model, gradients)
    applied(optimizer, model.trainable_variables, gradients)
    found = {}
    for group in optimizer.optimizers:
        trained = _keras.trained_variables(group)
        found |= {v.path: g for v, g in zip(trained, seen(group), strict=True)}
    check([found[v.path] for v in model.trainable_variables], wanted)
    optimizer.learning_rate = 0.5
    rates = [float(group.learning_rate) for group in optimizer.optimizers]
    assert rates == pytest.approx([0.5, 0.05, 0.5])


def test_embeddings_are_clipped_by_token():
    """On TensorFlow, their gradients name the rows that were read, some twice."""
    inputs = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(6, 3)(inputs)
    outputs = keras.layers.Dense(2, name="head")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    recorded = []
    for factor in (FACTOR, 1e6):
        model.compile(adaptive_clipping(Recorder(), model, factor), LOSS)
        model.train_on_batch(np.array([[0, 1, 1, 4], [1, 1, 4, 4]]), np.array([0, 1]))
        recorded.append(seen(model.optimizer.inner_optimizer)[0])
    clipped, plain = recorded
    wanted = reference(plain, model.trainable_variables[0], 1, FACTOR)
    np.testing.assert_allclose(clipped, wanted, rtol=1e-5)
    lengths = np.linalg.norm(clipped, axis=1)
    assert (lengths[[0, 1, 4]] > 0).all() and not lengths[[2, 3, 5]].any()


def fit(model, epochs=2):
    return model.fit(X, Y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)


def compiled(optimizer, **options):
    model = small_model(stacked=True, **options)
    model.compile(adaptive_clipping(optimizer, model, FACTOR), LOSS)
    return model


MAKERS = {
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adamw": lambda: keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(0.01, 10), use_ema=True
    ),
    "rates by role": lambda: fixinit.schemes.Fixup().optimizer(
        keras.optimizers.SGD(0.1, momentum=0.9)
    ),
    "accumulation": lambda: keras.optimizers.Adam(gradient_accumulation_steps=2),
}


@slow_on_tensorflow
@mostly_slow("name", MAKERS, quick=1)
def test_survives_saving_and_goes_on_training(name, tmp_path):
    model = compiled(MAKERS[name]())
    fit(model, 3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert isinstance(again.optimizer, AdaptiveClipping)
    assert again.optimizer.units == model.optimizer.units
    assert again.optimizer.factor == FACTOR
    before = values(model)
    for one in (model, again):
        fit(one, 3)
    for first, second, start in zip(values(model), values(again), before, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-7)
        assert (first != start).any()


@slow_on_tensorflow
def test_mixed_float16_trains(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    model = compiled(keras.optimizers.SGD(0.1, momentum=0.9))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    start = values(model)
    fit(model)
    pairs = zip(values(model), start, strict=True)
    assert all(np.isfinite(a).all() and (a != b).any() for a, b in pairs)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    for one in (model, again):
        fit(one)
    for first, second in zip(values(model), values(again), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="JAX always compiles, PyTorch never"
)
def test_compiled_steps_are_the_same():
    trained = []
    for jit_compile in (True, False):
        model = compiled(keras.optimizers.SGD(0.1))
        model.compile(model.optimizer, LOSS, jit_compile=jit_compile)
        fit(model, 1)
        trained.append(values(model))
    for first, second in zip(*trained, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


def test_callbacks_set_the_learning_rate():
    model = compiled(keras.optimizers.SGD(0.1))
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    model.fit(X, Y, verbose=0, callbacks=[schedule])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)
    assert float(model.optimizer.inner_optimizer.learning_rate) == pytest.approx(0.05)


def test_weight_decay_exclusions_reach_the_optimizer_inside():
    model = small_model()
    inner = keras.optimizers.SGD(1.0, weight_decay=0.5)
    optimizer = adaptive_clipping(inner, model)
    optimizer.exclude_from_weight_decay(var_names=["kernel"])
    before = values(model)
    applied(
        optimizer, model.trainable_variables, [0 * g for g in drawn_gradients(model)]
    )
    for v, old in zip(model.trainable_variables, before, strict=True):
        scale = 1.0 if v.name == "kernel" else 0.5
        np.testing.assert_allclose(v, scale * old, rtol=1e-6)


def test_config_makes_the_same_optimizer():
    optimizer = adaptive_clipping(keras.optimizers.Adam(0.02), small_model(), 0.05, 0.1)
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert (again.factor, again.epsilon) == (0.05, 0.1)
    assert again.units == optimizer.units
    assert float(again.learning_rate) == pytest.approx(0.02)
    assert keras.optimizers.serialize(again) == config


class Clipped(fixinit.schemes.ReZero):
    name = "clipped"
    clipping = FACTOR


class ClippedByRole(fixinit.schemes.Fixup):
    name = "clipped_by_role"
    clipping = FACTOR


@pytest.mark.parametrize("scheme", [Clipped(), ClippedByRole()])
def test_schemes_declare_clipping(scheme):
    model = small_model(scheme=scheme)
    optimizer = scheme.optimizer(Recorder(), model)
    assert isinstance(optimizer, AdaptiveClipping) and optimizer.factor == FACTOR
    left_out = {path for path, axes in optimizer.units.items() if axes is None}
    assert left_out == {"head/kernel", "head/bias"}
    grouped = hasattr(optimizer, "optimizers")
    assert grouped == bool(scheme.optimizer_rules)
    with pytest.raises(ValueError, match=r"scheme.optimizer\(optimizer, model\)"):
        scheme.optimizer("sgd")


def test_schemes_without_clipping_need_no_model():
    sgd = keras.optimizers.SGD()
    assert fixinit.schemes.ReZero().clipping is None
    assert fixinit.schemes.ReZero().optimizer(sgd) is sgd
    assert fixinit.schemes.ReZero().optimizer(sgd, small_model()) is sgd


@pytest.mark.parametrize("argument", ["factor", "epsilon"])
@pytest.mark.parametrize("value", [0.0, -0.01, np.nan, np.inf, "0.01"])
def test_numbers_are_above_zero(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be a number above 0"):
        adaptive_clipping("sgd", small_model(), **{argument: value})


@pytest.mark.parametrize("name", ["Lion", "Muon"])
def test_optimizers_whose_steps_do_not_depend_on_sizes_are_refused(name):
    optimizer = getattr(keras.optimizers, name)
    with pytest.raises(TypeError, match=f"{name} .*steps of the same length"):
        adaptive_clipping(optimizer(), small_model())
    with pytest.raises(TypeError, match=f"{name} .*steps of the same length"):
        adaptive_clipping(by_role(optimizer(), [Rule("bias", 0.5)]), small_model())
    # One that is made as late as when it is built.
    late = optimizer()
    model = small_model()
    clipping = adaptive_clipping(keras.optimizers.MultiOptimizer(lambda v: late), model)
    with pytest.raises(TypeError, match=f"{name} .*steps of the same length"):
        clipping.build(model.trainable_variables)


def test_wrong_wrapping_is_refused_with_the_right_one():
    model = small_model()
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    with pytest.raises(TypeError, match=r"LossScaleOptimizer\(adaptive_clipping"):
        adaptive_clipping(scaled, model)
    clipping = adaptive_clipping("sgd", model)
    with pytest.raises(TypeError, match="already.*`inner_optimizer`"):
        adaptive_clipping(clipping, model)
    with pytest.raises(TypeError, match="wraps no other.*Wrap the result"):
        by_role(clipping, [Rule("bias", 0.5)])
    with pytest.raises(TypeError, match="must be a Keras optimizer"):
        adaptive_clipping(None, model)
    with pytest.raises(ValueError, match="sgdd"):
        adaptive_clipping("sgdd", model)
    built = keras.optimizers.SGD()
    built.build(model.trainable_variables)
    with pytest.raises(ValueError, match="built already"):
        adaptive_clipping(built, model)


def test_models_and_heads_are_checked():
    model = small_model()
    with pytest.raises(TypeError, match="`model`"):
        adaptive_clipping("sgd", "model")
    with pytest.raises(ValueError, match="no weights yet"):
        adaptive_clipping("sgd", keras.Sequential([keras.layers.Dense(3)]))
    with pytest.raises(ValueError, match="`head` must be layers of the model"):
        adaptive_clipping("sgd", model, head=keras.layers.Dense(3))
    with pytest.raises(ValueError, match="Pass one of the two"):
        adaptive_clipping("sgd", model, head=model.get_layer("head"), clip_head=True)
    with pytest.raises(ValueError, match="`clip_head`"):
        adaptive_clipping("sgd", model, clip_head="no")


class Twins(keras.Model):
    """Two layers, both with the path `twin`."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(3, name="twin")
        self.second = keras.layers.Dense(3, name="twin")

    def call(self, x):
        return self.second(self.first(x))


def test_paths_that_stand_for_different_units_are_refused():
    model = Twins()
    model(X)
    with pytest.raises(ValueError, match="different names"):
        adaptive_clipping("sgd", model, head=model.second)


def test_optimizers_of_another_model_are_refused():
    optimizer = adaptive_clipping("sgd", small_model())
    other = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="other")])
    with pytest.raises(ValueError, match="lacks the variable '.*other/kernel'"):
        optimizer.build(other.trainable_variables)
    wrong = AdaptiveClipping("sgd", {v.path: [2] for v in other.variables})
    with pytest.raises(ValueError, match=r"axes of its variables.*shape \(6, 3\)"):
        wrong.build(other.trainable_variables)
    with pytest.raises(TypeError, match="`units` must be a dict"):
        AdaptiveClipping("sgd", ["kernel"])

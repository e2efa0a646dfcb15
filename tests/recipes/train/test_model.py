import keras
import numpy as np
import pytest

import fixinit
from recipes.common.training.schedule import warmup_and_cosine
from recipes.train import model as training
from recipes.train.settings import Settings


def compiled(model, steps_per_epoch=1000, **changes):
    """A model with the recipe's optimizer, by default at a nearly constant rate."""
    settings = Settings(epochs=1000, scheme="fixup", **changes)
    schedule = warmup_and_cosine(settings, steps_per_epoch)
    training.compile_model(model, settings, schedule, jit_compile="auto")
    return model


def network(**options):
    return fixinit.models.ResidualMLP(
        num_blocks=2, units=4, input_shape=(3,), classes=2, seed=0, **options
    )


def without_gradient(model, steps):
    """Trains on a batch whose cross-entropy no kernel can change."""
    x, y = np.zeros((2, 3), "float32"), np.eye(2, dtype="float32")
    for _ in range(steps):
        model.train_on_batch(x, y)


def by_name(model):
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}


@pytest.mark.every_backend
def test_weight_decay_enters_the_momentum_as_in_pytorch():
    model = compiled(network(), weight_decay=0.1)
    before = by_name(model)
    without_gradient(model, steps=10)
    after = by_name(model)
    for name, weights in before.items():
        rate = 0.01 if "scalar" in name else 0.1
        velocity = 0.0
        for _ in range(10):
            velocity = 0.9 * velocity + 0.1 * weights
            weights = weights - rate * velocity
        np.testing.assert_allclose(after[name], weights, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "flag, left_out",
    [("decay_scalars", "scalar_"), ("decay_biases", "bias")],
)
def test_scalars_and_biases_can_be_left_out_of_weight_decay(flag, left_out):
    # He initialization has bias vectors, Fixup scalars.
    scheme = "fixup" if flag == "decay_scalars" else "unnormalized"
    model = compiled(network(scheme=scheme), weight_decay=0.1, **{flag: False})
    decayed = {v.path for v in model.trainable_variables if v.regularizer is not None}
    others = {v.path for v in model.trainable_variables} - decayed
    assert others == {
        v.path
        for v in model.trainable_variables
        if v.path.split("/")[-1].startswith(left_out)
    }
    assert decayed and others


def test_loss_holds_the_penalty_and_the_metric_does_not():
    model = compiled(network(), weight_decay=0.2)
    penalty = 0.1 * sum(float((w**2).sum()) for w in by_name(model).values())
    x, y = np.ones((2, 3), "float32"), np.eye(2, dtype="float32")
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["loss"] - logs["cross_entropy"] == pytest.approx(penalty, rel=1e-5)
    assert logs["cross_entropy"] == pytest.approx(np.log(2), rel=1e-5)


def test_learning_rate_rises_linearly_then_falls_as_a_cosine_to_zero():
    settings = Settings(epochs=10, warmup_epochs=2, learning_rate=0.4)
    schedule = warmup_and_cosine(settings, steps_per_epoch=5)
    rates = [float(schedule(step)) for step in range(51)]
    np.testing.assert_allclose(rates[:10], 0.04 * np.arange(10), rtol=1e-5)
    cosine = 0.2 * (1 + np.cos(np.pi * np.arange(41) / 40))
    np.testing.assert_allclose(rates[10:], cosine, atol=1e-7)


@pytest.mark.every_backend
def test_accumulated_gradients_are_those_of_the_whole_batch():
    x = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
    y = np.eye(2, dtype="float32")[np.arange(8) % 2]
    whole = compiled(network(scheme="unnormalized"))
    whole.train_on_batch(x, y)
    halves = compiled(network(scheme="unnormalized"), gradient_accumulation_steps=2)
    halves.train_on_batch(x[:4], y[:4])
    halves.train_on_batch(x[4:], y[4:])
    for name, expected in by_name(whole).items():
        np.testing.assert_allclose(by_name(halves)[name], expected, rtol=1e-4)


@pytest.mark.slow
def test_schedule_counts_batches_when_gradients_accumulate():
    model = compiled(network(), steps_per_epoch=1, gradient_accumulation_steps=4)
    without_gradient(model, steps=8)
    schedule = warmup_and_cosine(Settings(epochs=1000), 1)
    # Scalars come after all other variables.
    for factor, optimizer in zip([1.0, 0.1], model.optimizer.optimizers, strict=True):
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        assert rate == pytest.approx(factor * float(schedule(8)), rel=1e-5)


@pytest.mark.parametrize(
    "model, depth, nearest",
    [
        ("cifar_resnet", 21, "20 and 26"),
        ("wide_resnet", 29, "28 and 34"),
        ("imagenet_resnet", 51, "34 and 50"),
        ("resnet1d", 21, "20 and 26"),
        ("residual_mlp", 21, "20 and 22"),
        ("nf_resnet", 51, "50, 101, 152"),
    ],
)
def test_depth_that_the_family_lacks_is_an_error(model, depth, nearest):
    shape = {"resnet1d": (40, 1), "residual_mlp": (40,)}.get(model, (32, 32, 3))
    with pytest.raises(ValueError, match=nearest):
        settings = Settings(model=model, depth=depth, scheme="fixup")
        training.build_model(settings, shape, 10)


@pytest.mark.parametrize(
    "model, depth, shape, adapted",
    [
        ("resnet1d", 8, (40,), (40, 1)),
        ("resnet1d", 8, (40, 2), (40, 2)),
        ("residual_mlp", 4, (8, 8, 1), (64,)),
        ("cifar_resnet", 8, (8, 8, 1), (8, 8, 1)),
    ],
)
def test_samples_are_brought_into_the_shape_that_the_family_reads(
    model, depth, shape, adapted
):
    x = training.adapted(np.zeros((2, *shape), "float32"), model)
    assert x.shape == (2, *adapted)
    settings = Settings(model=model, depth=depth, scheme="fixup")
    built = training.build_model(settings, x.shape[1:], 5)
    assert built.output_shape == (None, 5)


def test_smoothed_labels_change_the_loss_and_not_the_metric():
    keras.utils.set_random_seed(1)  # dead units would give equal scores
    model = compiled(network(scheme="unnormalized"), label_smoothing=0.2)
    x, y = np.ones((2, 3), "float32"), np.eye(2, dtype="float32")[[0, 0]]
    logits = keras.ops.convert_to_numpy(model(x))
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    smooth = -np.mean(np.sum((0.8 * y + 0.1) * scores, axis=-1))
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    decay = sum(float(keras.ops.sum(r)) for r in model.losses)
    assert logs["loss"] - decay == pytest.approx(smooth, rel=1e-5)
    plain = -np.mean(np.sum(y * scores, axis=-1))
    assert logs["cross_entropy"] == pytest.approx(plain, rel=1e-5)
    assert abs(smooth - plain) > 1e-3


@pytest.mark.every_backend
def test_clipping_holds_units_back_and_leaves_the_head():
    x = 100 * np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
    y = np.eye(2, dtype="float32")[np.arange(8) % 2]
    changes = {}
    for clipping in (0.0, 0.01):
        options = {"weight_decay": 0.0, "clipping": clipping}
        model = compiled(network(scheme="unnormalized"), **options)
        before = by_name(model)
        model.train_on_batch(x, y)
        changes[clipping] = {k: v - before[k] for k, v in by_name(model).items()}
    for name, kernel in before.items():
        if not name.endswith("kernel"):
            continue
        free, held = (changes[c][name] for c in (0.0, 0.01))
        if name.startswith("head"):
            np.testing.assert_allclose(held, free, rtol=1e-5)
            continue
        # At a rate of 0.1, no more than 0.1 * 0.01 of the weights of a unit.
        bound = 1e-3 * np.linalg.norm(kernel, axis=0)
        assert np.all(np.linalg.norm(held, axis=0) <= bound * (1 + 1e-4))
        assert np.any(np.linalg.norm(free, axis=0) > bound)


def test_rates_reach_the_model():
    rates = {"stochastic_depth_rate": 0.4, "drop_rate": 0.25}
    settings = Settings(model="residual_mlp", depth=6, scheme="fixup", **rates)
    model = training.build_model(settings, (5,), 3)
    kept = [
        b.branch[-1].survival_probability for b in model.layers if "block" in b.name
    ]
    np.testing.assert_allclose(kept, [0.8, 0.6])
    assert model.get_layer("head_dropout").rate == 0.25


@pytest.mark.parametrize(
    "model, function, size",
    [("nf_resnet", "NFResNet", {"depth": 101}), ("nfnet", "NFNet", {"variant": "F2"})],
)
def test_normalizer_free_families(monkeypatch, model, function, size):
    calls = []
    monkeypatch.setattr(
        fixinit.models, function, lambda *a, **kw: calls.append((a, kw))
    )
    settings = Settings(model=model, scheme="normalizer_free", drop_rate=0.1, **size)
    training.build_model(settings, (64, 64, 3), 7)
    ((arguments, options),) = calls
    assert arguments == tuple(size.values())
    assert options == {
        "scheme": "normalizer_free",
        "input_shape": (64, 64, 3),
        "classes": 7,
        "seed": 0,
        "drop_rate": 0.1,
    }

"""Groups of variables by role, with their own learning rate and weight decay."""

import keras
import numpy as np
import pytest

from fixinit import layers
from fixinit.optimizers import GroupedOptimizer, Rule, by_role


def variables():
    """Variables of every role, by their paths."""
    parts = [
        keras.layers.Embedding(5, 4, name="embed"),
        keras.layers.RMSNormalization(name="rms"),
        keras.layers.SeparableConv1D(4, 1, name="separable"),
        keras.layers.GRU(4, name="gru", return_sequences=True),
        layers.ScalarBias(name="shift"),
        layers.ChannelAffine(name="affine"),
    ]
    model = keras.Sequential([keras.Input((3,), dtype="int32"), *parts])
    return {v.path.split("/", 1)[1]: v for v in model.trainable_variables}


def steps(optimizer):
    """How far a gradient of one moves each variable, from ones."""
    found = variables()
    for v in found.values():
        v.assign(np.ones(v.shape))
    ones = [keras.ops.ones(v.shape) for v in found.values()]
    optimizer.apply(ones, list(found.values()))
    return {
        path: 1.0 - float(keras.ops.convert_to_numpy(v).flat[0])
        for path, v in found.items()
    }


def test_roles_of_variables():
    expected = {
        "embedding": ["embed/embeddings"],
        "normalization": ["rms/scale", "affine/gamma", "affine/beta"],
        "bias": ["separable/bias", "gru/gru_cell/bias"],
        "scalar": ["shift/scalar_bias"],
        "kernel": [
            "separable/depthwise_kernel",
            "separable/pointwise_kernel",
            "gru/gru_cell/kernel",
            "gru/gru_cell/recurrent_kernel",
        ],
    }
    found = variables()
    for role, paths in expected.items():
        matched = [p for p, v in found.items() if Rule(role).matches(v)]
        assert sorted(matched) == sorted(paths)
    assert sum(map(len, expected.values())) == len(found)


def test_rules_scale_learning_rate_and_weight_decay():
    sgd = keras.optimizers.SGD(0.1, weight_decay=0.5)
    rules = [
        Rule(pattern=r".*/gru/.*", learning_rate=2.0),
        # The GRU's bias has found its rule already.
        Rule("bias", weight_decay=0.0),
        Rule("normalization", weight_decay=0.0),
        Rule("embedding", learning_rate=0.5, weight_decay=3.0),
    ]
    optimizer = by_role(sgd, rules)
    # Rules with the same multiples share an optimizer.
    names = [inner.name for inner in optimizer.optimizers]
    assert names == ["sgd", "sgd_group", "sgd_biases", "sgd_embeddings"]
    for path, moved in steps(optimizer).items():
        rate, decay = 0.1, 0.5
        if path.startswith("gru"):
            rate = 0.2
        elif path.endswith(("/bias", "gamma", "beta", "scale")):
            decay = 0.0
        elif path.startswith("embed"):
            rate, decay = 0.05, 1.5
        # Keras decays by learning rate times decay, then makes the step.
        assert moved == pytest.approx(rate + rate * decay, rel=1e-5), path


def test_learning_rates_that_are_set_keep_their_ratios():
    optimizer = by_role("sgd", [Rule("bias", 0.5), Rule("kernel", 4.0)])
    optimizer.learning_rate = 0.2
    moved = steps(optimizer)
    assert moved["separable/bias"] == pytest.approx(0.1)
    assert moved["separable/depthwise_kernel"] == pytest.approx(0.8)
    assert moved["rms/scale"] == pytest.approx(0.2)
    # As Keras's callbacks do it: an absolute rate, and a multiple of each rate.
    for change, expected in ((lambda rate: 0.4, 0.4), (lambda rate: rate / 2, 0.2)):
        for inner in optimizer.optimizers:
            inner.learning_rate = change(float(inner.learning_rate))
        rates = [float(inner.learning_rate) for inner in optimizer.optimizers]
        assert rates == pytest.approx([expected, expected / 2, expected * 4])
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([10], [0.3, 0.1])
    optimizer.learning_rate = schedule
    rates = [float(inner.learning_rate) for inner in optimizer.optimizers]
    assert rates == pytest.approx([0.3, 0.15, 1.2])


def test_config_makes_the_same_optimizer():
    rules = [Rule("bias", 0.5, 0.0), Rule(pattern=".*/query/.*", learning_rate=2.0)]
    optimizer = by_role(keras.optimizers.AdamW(0.01), rules)
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert isinstance(again, GroupedOptimizer)
    assert again.rules == tuple(rules)
    assert keras.optimizers.serialize(again) == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"role": "biases"}, "role.*Did you mean 'bias'"),
        ({}, "either a `role` or a `pattern`"),
        ({"role": "bias", "pattern": ".*"}, "either a `role` or a `pattern`"),
        ({"pattern": "(bias"}, "regular expression"),
        ({"role": "bias", "learning_rate": 0.0}, "learning_rate.*positive"),
        ({"role": "bias", "weight_decay": -1.0}, "weight_decay.*at least 0"),
    ],
)
def test_rules_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        Rule(**arguments)


def test_rules_are_rules():
    with pytest.raises(TypeError, match="`rules`"):
        by_role("sgd", ["bias"])


def test_groups_exclude_from_weight_decay_what_the_optimizer_does():
    sgd = keras.optimizers.SGD(0.1, weight_decay=0.5)
    sgd.exclude_from_weight_decay(var_names=["gamma"])
    optimizer = by_role(sgd, [Rule("normalization", 0.5), Rule("bias", 0.25)])
    moved = steps(optimizer)
    assert moved["affine/gamma"] == pytest.approx(0.05, rel=1e-5)
    assert moved["affine/beta"] == pytest.approx(0.05 * 1.5, rel=1e-5)
    sgd = keras.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer = by_role(sgd, [Rule("normalization", 0.25)])
    optimizer.exclude_from_weight_decay(var_names=["gamma", "bias"])
    moved = steps(optimizer)
    assert moved["separable/bias"] == pytest.approx(0.1, rel=1e-5)
    assert moved["affine/gamma"] == pytest.approx(0.025, rel=1e-5)
    assert moved["affine/beta"] == pytest.approx(0.025 * 1.5, rel=1e-5)


def test_group_may_be_excluded_from_weight_decay_as_a_whole():
    sgd = keras.optimizers.SGD(0.1, weight_decay=0.5)
    sgd.exclude_from_weight_decay(var_names=["gamma", "beta"])
    moved = steps(by_role(sgd, [Rule("normalization", 0.5)]))
    assert moved["affine/gamma"] == pytest.approx(0.05, rel=1e-5)
    assert moved["affine/beta"] == pytest.approx(0.05, rel=1e-5)


def test_refuses_a_function_as_learning_rate():
    with pytest.raises(TypeError, match="function as its learning rate"):
        by_role(keras.optimizers.SGD(rate_by_function), [Rule("bias", 0.5)])


def rate_by_function():
    return 0.1


@pytest.mark.every_backend
def test_averages_are_tested_where_a_group_has_no_variables():
    sgd = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    optimizer = by_role(sgd, [Rule("scalar", learning_rate=0.1)])
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    model.fit(x, y, batch_size=2, verbose=0)
    weights = [w.copy() for w in model.get_weights()]
    swap = keras.callbacks.SwapEMAWeights()
    found = model.evaluate(x, y, callbacks=[swap], verbose=0)
    # `fit` has left the average in the model: both are the same.
    assert found == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-5)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(before, after, rtol=1e-6)

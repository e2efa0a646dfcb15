import keras
import numpy as np
import pytest

import fixinit
from fixinit import _keras, layers
from recipes.common.data.datasets import Dataset
from recipes.common.training.conversion import convert
from recipes.common.training.runs import Runs
from recipes.converted_training.networks import builder
from recipes.converted_training.regularization import (
    REGULARIZATIONS,
    AveragesTested,
    with_noise,
)


def network():
    """Two residual blocks with BatchNorm at the end of the branch."""
    x = inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(6, 3, padding="same")(x)
    for _ in range(2):
        branch = keras.layers.Conv2D(6, 3, padding="same")(keras.layers.ReLU()(x))
        x = keras.layers.add([keras.layers.BatchNormalization()(branch), x])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="scores")(x))


def found(model, kind):
    return [x for x in _keras.flatten_layers(model) if isinstance(x, kind)]


def test_noise_stands_at_the_end_of_branches_and_before_the_head():
    plain = network()
    noisy = with_noise(plain, stochastic_depth_rate=0.2, drop_rate=0.3)
    kept = [x.survival_probability for x in found(noisy, layers.StochasticDepth)]
    np.testing.assert_allclose(kept, [0.9, 0.8])
    (dropout,) = found(noisy, keras.layers.Dropout)
    graph = fixinit.graph.trace(noisy)
    head = graph.producers()[graph.outputs[0]]
    assert head.operation.name == "scores" and dropout.rate == 0.3
    assert graph.producers()[head.inputs[0]].operation is dropout
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype("float32")
    outputs = [keras.ops.convert_to_numpy(m(x)) for m in (plain, noisy)]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)
    assert with_noise(plain, 0.0, 0.0) is plain


@pytest.mark.parametrize("scheme", ["fixup", "normalizer_free"])
def test_conversion_keeps_the_noise(scheme):
    noisy = with_noise(network(), stochastic_depth_rate=0.2, drop_rate=0.3)
    free = convert(noisy, scheme, seed=0)
    kept = [x.survival_probability for x in found(free, layers.StochasticDepth)]
    np.testing.assert_allclose(kept, [0.9, 0.8])
    assert [x.rate for x in found(free, keras.layers.Dropout)] == [0.3]
    assert not found(free, keras.layers.BatchNormalization)


@pytest.mark.parametrize("model", ["ResNet20", "ResidualMLP", "TimeSeriesResNet"])
def test_every_network_of_ours_takes_noise(model):
    made = builder(model, size=8, regularization=REGULARIZATIONS["all"])(0)
    assert found(made, layers.StochasticDepth) and found(made, keras.layers.Dropout)
    normalizations = found(made, keras.layers.BatchNormalization)
    assert {layer.momentum for layer in normalizations} == {0.9}


def runs(regularization):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((48, 4, 4, 3)).astype("float32")
    y = (np.arange(48) % 3).astype("int32")
    data = Dataset("noise", x[:32], y[:32], x[32:], y[32:], 3)

    def build(seed):
        keras.utils.set_random_seed(seed)
        noisy = with_noise(network(), **regularization.noise)
        return convert(noisy, "normalizer_free", seed=seed)

    optimizer = keras.optimizers.SGD(
        1.0, use_ema=True, ema_momentum=regularization.ema_momentum
    )
    loss = regularization.loss(3)
    return Runs(build, data, 8, 0, optimizer, clipping=0.16, loss=loss)


@pytest.mark.slow
@pytest.mark.every_backend
def test_averages_are_tested_and_training_goes_on_from_the_last_weights():
    made = runs(REGULARIZATIONS["all"])

    def train(callbacks, epochs=2):
        made.reset(0.1, 0)
        weights, losses = [], []
        for epoch in range(epochs):
            recorder = made.fit(1, epoch, callbacks=callbacks)
            weights.append([w.copy() for w in made.model.get_weights()])
            losses.append(recorder.epochs[0]["test_loss"])
        return weights, losses

    averaged, first = train([AveragesTested()])
    again, second = train([AveragesTested()])
    assert first == second
    for a, b in zip(averaged[-1], again[-1], strict=True):
        np.testing.assert_array_equal(a, b)
    # Without the callback, Keras puts the average into the model after every epoch.
    overwritten, _ = train([], epochs=1)
    pairs = zip(averaged[0], overwritten[0], strict=True)
    assert any(not np.allclose(a, b, rtol=1e-4) for a, b in pairs)


def test_loss_has_smoothed_labels():
    labels, logits = np.array([0, 2]), np.array([[1.0, 0, 0], [0, 0, 2.0]], "float32")
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    for name, share in [("none", 0.0), ("label_smoothing", 0.1)]:
        targets = (1 - share) * np.eye(3)[labels] + share / 3
        expected = -np.mean((targets * scores).sum(-1))
        loss = REGULARIZATIONS[name].loss(3)(labels, logits)
        actual = np.mean(keras.ops.convert_to_numpy(loss))
        assert actual == pytest.approx(expected, rel=1e-5)

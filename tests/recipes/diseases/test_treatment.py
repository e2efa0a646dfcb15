"""Remedies are applied as printed; learning is judged by labels."""

import keras
import numpy as np
import pytest

from recipes.diseases.training import quality, train
from recipes.diseases.treatment import Patient, by_layer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def network(activation):
    layers = [keras.Input((4,)), keras.layers.Dense(1, activation)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy")
    return model


@pytest.fixture(scope="module")
def patient():
    keras.utils.set_random_seed(0)
    patient = Patient(network("softmax"), X, Y)
    before = patient.printed, patient.left[0].kind
    patient.treat()
    return patient, before


def test_the_first_finding_is_kept_as_it_is_printed(patient):
    _, (printed, kind) = patient
    assert kind == "last_activation"
    assert printed.startswith("error last_activation: The softmax")
    assert "activation = keras.activations.sigmoid" in printed
    # What follows it is another finding.
    assert "no_gradient" not in printed


def test_remedies_are_applied_until_none_is_left(patient):
    treated, _ = patient
    assert [finding.kind for finding in treated.applied] == ["last_activation"]
    assert treated.left == []
    assert treated.model.layers[-1].activation is keras.activations.sigmoid
    sizes = by_layer(treated, "mean_square")
    assert len(sizes) == 2 and sizes[0] == pytest.approx(np.mean(X**2))
    assert 0 < sizes[1] < 1


def test_mended_networks_learn():
    losses, qualities = train(network("sigmoid"), X, Y, 16, 40, 10, seed=0)
    assert len(losses) == 40 and len(qualities) == 5
    assert losses[-1] < losses[0] and qualities[-1] > 0.9


def refused(*_):
    raise TypeError("no such data")


def test_only_what_may_be_refused_ends_a_training(monkeypatch):
    model = network("sigmoid")
    monkeypatch.setattr(model, "train_on_batch", refused)
    found = train(model, X, Y, 16, 4, 2, seed=0, may_raise=True)
    assert found[0] == [] and len(found[1]) == 1
    with pytest.raises(TypeError, match="no such data"):
        train(model, X, Y, 16, 4, 2, seed=0)


@pytest.mark.parametrize(
    "outputs, y, expected",
    [
        ([[0.9], [0.2], [0.7], [0.6]], [[1.0], [0.0], [0.0], [1.0]], 0.75),
        ([[0.1, 0.9], [0.8, 0.2]], [1, 1], 0.5),
        ([[10.0], [30.0]], [[10.0], [30.0]], 1.0),
        ([[20.0], [20.0], [20.0]], [[10.0], [20.0], [30.0]], 0.0),
        ([[1.0], [float("nan")]], [[1.0], [0.0]], 0.0),
    ],
)
def test_quality_is_accuracy_or_explained_variance(outputs, y, expected):
    def model(x, training):
        return keras.ops.convert_to_tensor(outputs)

    assert quality(model, np.zeros((len(y), 1)), np.array(y)) == expected

import keras
import numpy as np
import pytest

from tests.diagnostics.doctor.rules.programs import (
    CLASSES,
    HOT,
    RNG,
    X,
    claims,
    compiled,
    found,
    layers,
    mended,
    net,
)
from tests.marks import ON_TORCH

pytestmark = ON_TORCH

SPARSE = "sparse_categorical_crossentropy"
IMAGES = RNG.integers(0, 256, (32, 8, 8, 3)).astype("float32")


def test_labels_that_count_from_one():
    model = net(layers.Dense(4, "softmax", name="head"), loss=SPARSE)
    _, _, y = mended(
        "label_range", model, X, CLASSES + 1, severity="error", where="head", value=4.0
    )
    np.testing.assert_array_equal(y, CLASSES)


def test_more_classes_than_units():
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, clipvalue=0.3)
    model = net(
        layers.Dense(3, "softmax"),
        loss=SPARSE,
        optimizer=optimizer,
        metrics=["accuracy"],
    )
    after, _, _ = mended("label_range", model, X, CLASSES, severity="error")
    assert after.output_shape == (None, 4)
    assert after.get_compile_config()["metrics"] == ["accuracy"]


def test_more_classes_than_logits():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = net(layers.Dense(3), loss=loss)
    mended("label_range", model, X, CLASSES, severity="error")


def test_batches_of_one_class():
    model = net(layers.Dense(4, "softmax"), loss=SPARSE)
    (finding,) = found("label_range", model, X, np.full(64, 2))
    assert finding.severity == "warning" and finding.value == 1.0


def test_labels_of_one_of_two_classes():
    x, y = np.tile(X, (8, 1)), np.zeros((512, 1), "float32")
    sigmoid = net(layers.Dense(1, "sigmoid"), loss="binary_crossentropy")
    assert found("label_range", sigmoid, x, y)[0].severity == "warning"
    # A rare class may be missing from a batch.
    assert not found("label_range", sigmoid, x[:64], y[:64])
    softmax = net(layers.Dense(2, "softmax"), loss=SPARSE)
    assert found("label_range", softmax, x, y.astype(int))
    assert not found("label_range", softmax, x[:64], y[:64].astype(int))


def test_sorted_labels_are_no_finding():
    order = np.argsort(CLASSES, kind="stable")
    model = net(layers.Dense(4, "softmax"), loss=SPARSE)
    x, y = X[order], CLASSES[order]
    assert not found("label_range", model, x, y)


def test_units_without_a_label_are_worth_a_note():
    model = net(layers.Dense(8, "softmax"), loss=SPARSE)
    x, y = np.tile(X, (4, 1)), np.tile(CLASSES, 4)
    (finding,) = found("label_range", model, x, y)
    assert finding.severity == "note" and finding.value == 4.0


def test_few_labels_of_many_classes_are_no_finding():
    model = net(layers.Dense(100, "softmax"), loss=SPARSE)
    assert not found("label_range", model, X, CLASSES)
    assert not found("label_range", net(layers.Dense(4, "softmax")), X, HOT)


def test_weights_of_samples_change_no_verdict():
    model = net(layers.Dense(4, "softmax"), loss=SPARSE)
    weight = RNG.uniform(0.5, 2, size=64).astype("float32")
    assert not found("label_range", model, X, CLASSES, sample_weight=weight)


def distances(y_true, y_pred):
    """A loss of somebody's own: samples of one identity are to be near each other."""
    y = keras.ops.reshape(y_true, (-1,))
    same = keras.ops.cast(y[:, None] == y[None], "float32")
    return same * keras.ops.sum((y_pred[:, None] - y_pred[None]) ** 2, -1)


@pytest.mark.parametrize("last", [layers.Dense(8), layers.Dense(1, "sigmoid")])
def test_targets_of_a_loss_of_ones_own_may_be_anything(last):
    # Four samples of each, so that every batch has some that are the same.
    identities = np.repeat(RNG.integers(0, 500, 16), 4)
    assert claims(net(last, loss=distances), X, identities) == []


def test_labels_that_the_loss_leaves_out():
    labels = RNG.integers(0, 4, (32, 8, 8))
    labels[:, 0] = 255
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, 1, "same")])
    for ignored in (255, None):
        loss = keras.losses.SparseCategoricalCrossentropy(True, ignore_class=ignored)
        seen = found("label_range", compiled(model, loss), IMAGES / 255, labels)
        assert bool(seen) == (ignored is None)


@pytest.mark.parametrize("names", [[-1, 0, 1, 2], [-1, 1, 1, -1], [-4, -2, 3, 9]])
def test_labels_below_zero(names):
    units = len(set(names))
    model = net(layers.Dense(units, "softmax"), loss=SPARSE)
    y = np.array(names)[CLASSES]
    _, _, y = mended("label_range", model, X, y, severity="error")
    assert set(y) == set(range(units))

import keras
import numpy as np
import pytest

from tests.diagnostics.doctor.rules.programs import (
    BINARY,
    CLASSES,
    HOT,
    NUMBERS,
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


def conv(*first, loss=SPARSE):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            *first,
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, "softmax"),
        ]
    )
    return compiled(model, loss)


def test_columns_of_large_numbers():
    x = X * np.array([1, 1, 1, 1, 1, 400], "float32") + 3
    model = net(layers.Dense(1), loss="mse")
    (finding,) = found("input_scale", model, x, NUMBERS)
    assert finding.value == pytest.approx(np.abs(x).max())
    assert finding.where == model.inputs[0].name
    _, x, _ = mended("input_scale", model, x, NUMBERS, severity="error")
    assert np.allclose(x.std(axis=0), 1, atol=1e-2)


def test_images_from_0_to_255():
    _, x, _ = mended("input_scale", conv(), IMAGES, CLASSES[:32], severity="error")
    np.testing.assert_allclose(x, IMAGES / 255, rtol=1e-6)


def test_integers_are_refused_as_before():
    with pytest.raises(TypeError, match="floating-point"):
        found("input_scale", conv(), IMAGES.astype("uint8"), CLASSES[:32])


def test_tiny_inputs():
    model = net(layers.Dense(1), loss="mse")
    mended("input_scale", model, 2e-3 * X, NUMBERS, severity="warning")
    (finding,) = found("input_scale", model, 1e-6 * X, NUMBERS)
    assert finding.severity == "error"


def test_inputs_that_the_model_makes_tiny():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Rescaling(1 / 255),
            layers.Rescaling(1 / 255),
            layers.Dense(1),
        ]
    )
    _, x, _ = mended("input_scale", compiled(model, "mse"), X, NUMBERS)
    assert x.std() > 1000


def test_inputs_that_are_all_the_same():
    model = net(layers.Dense(1), loss="mse")
    (finding,) = found("input_scale", model, 0 * X, NUMBERS)
    assert (finding.severity, finding.value) == ("error", 0.0)
    (finding,) = found("input_scale", model, 0 * X + X[0], NUMBERS)
    assert finding.severity == "error"
    assert not found("input_scale", model, 0 * X + X[0], 0 * NUMBERS)


def adapted(x):
    layer = layers.Normalization()
    layer.adapt(x)
    return layer


@pytest.mark.parametrize(
    "first",
    [
        layers.Rescaling(1 / 255),
        layers.BatchNormalization(),
        layers.LayerNormalization(),
        adapted(IMAGES),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_a_first_layer_rescales_is_no_finding(first):
    assert not found("input_scale", conv(first), IMAGES, CLASSES[:32])


def test_a_normalization_that_is_not_adapted_changes_nothing():
    assert found("input_scale", conv(layers.Normalization()), IMAGES, CLASSES[:32])


def test_a_flat_image_is_read_as_it_is():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Flatten(),
            layers.Dense(4, "softmax"),
        ]
    )
    mended("input_scale", compiled(model, SPARSE), IMAGES, CLASSES[:32])


def test_the_input_of_several_that_is_large():
    small, large = keras.Input((6,), name="small"), keras.Input((6,), name="large")
    h = layers.Concatenate()([layers.Dense(8)(small), layers.Dense(8)(large)])
    model = keras.Model([small, large], layers.Dense(1)(layers.ReLU()(h)))
    (finding,) = found(
        "input_scale", compiled(model, "mse"), {"small": X, "large": 50 * X}, NUMBERS
    )
    assert finding.where == "large"


def test_indices_for_an_embedding_are_no_large_numbers():
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Embedding(500, 16),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, "sigmoid"),
        ]
    )
    x = RNG.integers(0, 500, (64, 5)).astype("float32")
    assert not found("input_scale", compiled(model, "binary_crossentropy"), x, BINARY)


def test_constant_columns_are_no_claim():
    x = X.copy()
    x[:, 2] = 0
    x[:, 3] = 5
    model = net(layers.Dense(1), loss="mse")
    assert claims(model, x, NUMBERS) == []
    images = RNG.normal(size=(32, 8, 8, 3)).astype("float32")
    images[..., 1] = 1
    assert claims(conv(), images, CLASSES[:32]) == []


def test_standardized_columns_with_heavy_tails_are_no_finding():
    x = X.copy()
    x[0, 0] = 20
    assert not found("input_scale", net(layers.Dense(1), loss="mse"), x, NUMBERS)


@pytest.mark.parametrize("loss", ["mse", "mae", keras.losses.Huber()])
def test_large_targets(loss):
    y = 200 * NUMBERS + 1000
    model = net(layers.Dense(1, name="head"), loss=loss)
    _, _, after = mended("target_scale", model, X, y, severity="error", where="head")
    assert after.std() == pytest.approx(1, rel=1e-3)
    near = 5 * NUMBERS + 3
    assert not found("target_scale", net(layers.Dense(1), loss=loss), X, near)


def test_large_targets_that_the_optimizer_reaches_are_worth_a_note():
    y = 20 * NUMBERS + 40
    head = layers.Dense(1, name="head")
    model = net(head, hidden=64, loss="mse", optimizer=keras.optimizers.Adam(0.01))
    (finding,) = found("target_scale", model, X, y)
    assert finding.severity == "note"
    # A hundredth of the rate takes a hundred times as many steps.
    model.compile(keras.optimizers.Adam(1e-4), "mse")
    assert "target_scale" in claims(model, X, y)
    # Steps of SGD are as large as the targets.
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "mse")
    assert "target_scale" not in claims(model, X, y)
    assert "target_scale" in claims(model, X, 10 * y)


def test_targets_that_are_all_the_same():
    def targets(value):
        y = np.full_like(NUMBERS, value)
        return found("target_scale", net(layers.Dense(1), loss="mse"), X, y)

    assert targets(3.0)[0].severity == "warning"
    assert not targets(0.0)


def test_large_targets_of_which_a_column_is_constant():
    y = np.concatenate([200 * NUMBERS, np.full_like(NUMBERS, 50)], axis=1)
    _, _, after = mended("target_scale", net(layers.Dense(2), loss="mse"), X, y)
    assert np.isfinite(after).all()


def test_large_targets_of_one_output_of_two():
    inputs = keras.Input((6,))
    h = layers.Dense(8, "relu")(inputs)
    outputs = {name: layers.Dense(1, name=name)(h) for name in ("small", "large")}
    model = compiled(keras.Model(inputs, outputs), "mse")
    y = {"small": NUMBERS, "large": 300 * NUMBERS}
    (finding,) = found("target_scale", model, X, y)
    assert finding.where == "large"
    mended("target_scale", model, X, y)


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


def test_sorted_labels_are_shuffled():
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


def test_inputs_in_a_dict_have_no_code():
    inputs = keras.Input((6,), name="a")
    model = keras.Model({"a": inputs}, layers.Dense(1)(inputs))
    (finding,) = found(
        "input_scale", compiled(model, "mse"), {"a": 100 * X}, 0 * NUMBERS
    )
    assert finding.remedy == ""


@pytest.mark.parametrize("first", [[], [layers.RandomFlip()]])
def test_integers_that_the_model_rescales(first):
    model = conv(*first, layers.Rescaling(1 / 255))
    assert claims(model, IMAGES.astype("uint8"), CLASSES[:32]) == []

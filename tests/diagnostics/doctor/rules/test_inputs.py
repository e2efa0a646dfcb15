import keras
import numpy as np
import pytest

from tests.diagnostics.doctor.rules.programs import (
    BINARY,
    CLASSES,
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

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

SPARSE, CATEGORICAL = "sparse_categorical_crossentropy", "categorical_crossentropy"
LOSSES = keras.losses


def binary_loss(y_true, y_pred):
    return LOSSES.binary_crossentropy(y_true, y_pred)


# Losses as users write them.
BINARIES = {
    "string": "binary_crossentropy",
    "object": LOSSES.BinaryCrossentropy(),
    "function": LOSSES.binary_crossentropy,
    "list": ["binary_crossentropy"],
    "smoothed": LOSSES.BinaryCrossentropy(label_smoothing=0.1),
}


@pytest.mark.parametrize("name", BINARIES)
def test_softmax_over_one_unit(name):
    model = net(layers.Dense(1, "softmax", name="head"), loss=BINARIES[name])
    after, _, _ = mended(
        "last_activation", model, X, BINARY, severity="error", where="head", value=1.0
    )
    assert after.layers[-1].activation is keras.activations.sigmoid
    assert after.loss is BINARIES[name] or after.loss == BINARIES[name]


def softmax_heads():
    dropout = layers.Dropout(0.1)
    dense = layers.Dense(1, name="head")
    yield "layer", [dense, layers.Softmax(name="last")], "last"
    yield "activation", [dense, layers.Activation("softmax", name="last")], "last"
    yield "flat", [layers.Dense(1, "softmax", name="head"), layers.Flatten()], "head"
    for name, behind in (("reshaped", layers.Reshape((1,))), ("dropped", dropout)):
        yield name, [layers.Dense(1, "softmax", name="head"), behind], "head"


@pytest.mark.parametrize("case", softmax_heads(), ids=lambda case: case[0])
def test_softmax_over_one_unit_in_other_places(case):
    _, last, where = case
    model = net(*last, loss="binary_crossentropy")
    mended("last_activation", model, X, BINARY, severity="error", where=where)


def test_softmax_over_one_unit_as_an_operation():
    inputs = keras.Input((6,))
    h = layers.Dense(8, "relu")(inputs)
    model = keras.Model(inputs, keras.ops.softmax(layers.Dense(1, name="head")(h)))
    mended("last_activation", compiled(model, "binary_crossentropy"), X, BINARY)


def test_softmax_over_one_unit_by_time():
    model = net(
        layers.TimeDistributed(layers.Dense(1, "softmax"), name="head"),
        shape=(5, 6),
        loss="binary_crossentropy",
    )
    x = RNG.normal(size=(16, 5, 6)).astype("float32")
    y = (x[..., :1] > 0).astype("float32")
    mended("last_activation", model, x, y, severity="error", where="head")


def test_softmax_over_one_unit_of_many_classes_becomes_a_head_for_them():
    model = net(layers.Dense(1, "softmax"), loss=SPARSE)
    after, _, _ = mended("last_activation", model, X, CLASSES, severity="error")
    assert after.output_shape == (None, 4) and after.loss == SPARSE


def test_softmax_over_one_unit_of_numbers_becomes_linear():
    model = net(layers.Dense(1, "softmax"), loss="mse")
    after, _, _ = mended("last_activation", model, X, NUMBERS, severity="error")
    assert after.layers[-1].activation is keras.activations.linear


def test_softmax_over_one_unit_with_categorical_loss():
    model = net(layers.Dense(1, "softmax"), loss=CATEGORICAL)
    after, _, _ = mended("last_activation", model, X, BINARY, severity="error")
    assert after.loss == "binary_crossentropy"


def test_softmax_of_several_labels():
    y = (X[:, :4] > 0).astype("float32")
    model = net(layers.Dense(4, "softmax", name="head"), loss=CATEGORICAL)
    mended("last_activation", model, X, y, severity="error", where="head", value=4.0)
    # One label for each sample is what a softmax is for.
    assert not claims(net(layers.Dense(4, "softmax"), loss=CATEGORICAL), X, HOT)


def test_softmax_of_numbers_that_do_not_add_up_to_1():
    y = RNG.uniform(size=(64, 6)).astype("float32")
    model = net(layers.Dense(6, "softmax", name="head"), loss="binary_crossentropy")
    after, _, _ = mended("last_activation", model, X, y, severity="error", where="head")
    assert after.layers[-1].activation is keras.activations.sigmoid


LOGARITHMS = {
    "poisson": (1, np.abs(NUMBERS), "exponential"),
    "kl_divergence": (4, HOT, "softmax"),
}


@pytest.mark.parametrize("loss", LOGARITHMS)
def test_logarithms_of_what_may_be_negative(loss):
    units, y, activation = LOGARITHMS[loss]
    model = net(layers.Dense(units, name="head"), loss=loss)
    after, _, _ = mended("last_activation", model, X, y, severity="error", where="head")
    assert after.layers[-1].activation is getattr(keras.activations, activation)


FORMS = {
    "one-hot rows": (SPARSE, HOT, "CategoricalCrossentropy"),
    "classes": (CATEGORICAL, CLASSES, "SparseCategoricalCrossentropy"),
    "column": (CATEGORICAL, CLASSES[:, None], "SparseCategoricalCrossentropy"),
}


@pytest.mark.parametrize("name", FORMS)
def test_targets_of_a_form_that_the_loss_does_not_take(name):
    loss, y, fitting = FORMS[name]
    model = net(layers.Dense(4, "softmax", name="head"), loss=loss)
    after, _, _ = mended("loss_mismatch", model, X, y, severity="error", where="head")
    assert type(after.loss).__name__ == fitting


def test_label_smoothing_that_leaves_no_labels():
    loss = LOSSES.CategoricalCrossentropy(label_smoothing=0.9)
    model = net(layers.Dense(4, "softmax"), loss=loss)
    mended("loss_mismatch", model, X, HOT, severity="warning", value=0.9)


def test_the_loss_that_is_not_finite_because_of_its_head():
    model = net(layers.Dense(1), loss="poisson")
    assert claims(model, X, np.abs(NUMBERS)) == ["last_activation"]


def test_one_number_for_several_units():
    model = net(layers.Dense(3, name="head"), loss="mse")
    after, _, _ = mended("loss_mismatch", model, X, NUMBERS, severity="warning")
    assert after.output_shape == (None, 1)


@pytest.mark.parametrize("loss, y", [(SPARSE, CLASSES), (CATEGORICAL, HOT)])
def test_sigmoid_with_categorical_loss(loss, y):
    model = net(layers.Dense(4, "sigmoid", name="head"), loss=loss)
    after, _, _ = mended(
        "last_activation", model, X, y, severity="warning", where="head", value=4.0
    )
    assert after.loss == loss


def test_categorical_loss_over_one_sigmoid():
    model = net(layers.Dense(1, "sigmoid"), loss=CATEGORICAL)
    after, _, _ = mended("last_activation", model, X, BINARY, severity="error")
    assert after.loss == "binary_crossentropy"


def test_clipped_logits():
    loss = LOSSES.SparseCategoricalCrossentropy(from_logits=True)
    model = net(layers.Dense(4, "relu", name="head"), loss=loss)
    after, _, _ = mended("last_activation", model, X, CLASSES, where="head", value=0.0)
    assert after.loss is loss
    assert not claims(net(layers.Dense(4), loss=loss), X, CLASSES)


LOGITS = {
    "binary": (1, "binary_crossentropy", BINARY),
    "sparse": (4, SPARSE, CLASSES),
    "categorical": (4, CATEGORICAL, HOT),
    "function": (4, LOSSES.categorical_crossentropy, HOT),
    "smoothed": (4, LOSSES.CategoricalCrossentropy(label_smoothing=0.1), HOT),
    "focal": (1, "binary_focal_crossentropy", BINARY),
}


@pytest.mark.parametrize("name", LOGITS)
def test_logits_for_a_loss_of_probabilities(name):
    units, loss, y = LOGITS[name]
    model = net(layers.Dense(units, name="head"), loss=loss)
    after, _, _ = mended("logits_mismatch", model, X, y, severity="error", where="head")
    config = after.loss.get_config()
    assert config["from_logits"]
    if name == "smoothed":
        assert config["label_smoothing"] == 0.1


@pytest.mark.parametrize(
    "units, activation, loss, y",
    [
        (1, "sigmoid", LOSSES.BinaryCrossentropy(from_logits=True), BINARY),
        (4, "softmax", LOSSES.SparseCategoricalCrossentropy(from_logits=True), CLASSES),
        (4, "softmax", LOSSES.CategoricalCrossentropy(from_logits=True), HOT),
    ],
)
def test_probabilities_for_a_loss_of_logits(units, activation, loss, y):
    model = net(layers.Dense(units, activation, name="head"), loss=loss)
    after, _, _ = mended(
        "logits_mismatch", model, X, y, severity="warning", where="head"
    )
    assert after.loss is loss


HEALTHY = {
    "sigmoid": (layers.Dense(1, "sigmoid"), "binary_crossentropy", BINARY),
    "softmax": (layers.Dense(4, "softmax"), SPARSE, CLASSES),
    "two": (layers.Dense(2, "softmax"), SPARSE, BINARY.astype(int)),
    "flat labels": (layers.Dense(1, "sigmoid"), "binary_crossentropy", BINARY[:, 0]),
    "labels": (
        layers.Dense(4, "sigmoid"),
        "binary_crossentropy",
        (X[:, :4] > 0).astype(int),
    ),
    "numbers": (layers.Dense(1), "mse", NUMBERS),
    "huber": (layers.Dense(1), LOSSES.Huber(), NUMBERS),
    "tanh": (layers.Dense(1, "tanh"), "mse", np.tanh(NUMBERS)),
    "autoencoder": (
        layers.Dense(6, "sigmoid"),
        "binary_crossentropy",
        RNG.uniform(size=(64, 6)).astype("float32"),
    ),
    "soft labels": (
        layers.Dense(4, "softmax"),
        CATEGORICAL,
        (0.9 * HOT + 0.025).astype("float32"),
    ),
    "relu of counts": (layers.Dense(1, "softplus"), "poisson", np.abs(NUMBERS)),
    "rates": (layers.Dense(1, "exponential"), "poisson", np.abs(NUMBERS)),
    "of one's own": (layers.Dense(1, "sigmoid"), binary_loss, BINARY),
    "default classes": (layers.Dense(4), None, CLASSES),
    "default numbers": (layers.Dense(1), None, NUMBERS),
    "hinge": (layers.Dense(1, "tanh"), "hinge", 2 * BINARY - 1),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_claimed_of_heads_that_fit(name):
    layer, loss, y = HEALTHY[name]
    last = type(layer).from_config(layer.get_config())
    assert claims(net(last, loss=loss), X, y) == []


def test_targets_beyond_a_sigmoid():
    model = net(layers.Dense(1, "sigmoid", name="head"), loss="mse")
    (finding,) = found("target_range", model, X, NUMBERS)
    outside = ((NUMBERS < 0) | (NUMBERS > 1)).mean()
    assert finding.value == pytest.approx(outside, abs=1e-3)
    mended("target_range", model, X, NUMBERS, severity="error", where="head")


def test_targets_of_minus_one_and_one_for_binary_cross_entropy():
    y = 2 * BINARY - 1
    model = net(layers.Dense(1, "sigmoid"), loss="binary_crossentropy")
    _, _, after = mended("target_range", model, X, y, severity="error")
    np.testing.assert_array_equal(after, BINARY)


@pytest.mark.parametrize("shape", [(64,), (64, 1)])
def test_several_classes_for_one_sigmoid(shape):
    y = CLASSES.reshape(shape)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, clipvalue=0.3)
    model = net(
        layers.Dense(1, "sigmoid"), loss="binary_crossentropy", optimizer=optimizer
    )
    after, _, _ = mended("target_range", model, X, y, severity="error")
    assert after.output_shape == (None, 4)


def test_squared_error_of_classes():
    model = net(layers.Dense(4, "softmax", name="head"), loss="mse")
    after, _, _ = mended("loss_mismatch", model, X, HOT, severity="warning")
    assert isinstance(after.loss, LOSSES.CategoricalCrossentropy)


def test_squared_error_of_a_sigmoid_is_worth_a_note():
    model = net(layers.Dense(1, "sigmoid"), loss="mse")
    (finding,) = found("loss_mismatch", model, X, BINARY)
    assert finding.severity == "note"
    assert claims(model, X, BINARY) == []


def test_binary_cross_entropy_of_exclusive_classes():
    model = net(layers.Dense(4, "softmax"), loss="binary_crossentropy")
    after, _, _ = mended("loss_mismatch", model, X, HOT, severity="warning")
    assert after.loss == CATEGORICAL


def test_binary_cross_entropy_of_numbers():
    model = net(layers.Dense(1), loss="binary_crossentropy")
    mended("loss_mismatch", model, X, NUMBERS, severity="error")


def two_heads(loss, **options):
    inputs = keras.Input((6,))
    h = layers.Dense(16, "relu")(inputs)
    outputs = {
        "class": layers.Dense(4, name="class")(h),
        "number": layers.Dense(1, name="number")(h),
    }
    return compiled(keras.Model(inputs, outputs), loss, **options)


def test_the_head_of_several_that_does_not_fit():
    loss = {"class": SPARSE, "number": "mse"}
    y = {"class": CLASSES, "number": NUMBERS}
    weights = {"class": 0.3, "number": 2.0}
    model = two_heads(loss, loss_weights=weights)
    after, _, _ = mended("logits_mismatch", model, X, y, where="class")
    assert after.get_compile_config()["loss_weights"] == weights
    assert after.loss["number"] == "mse"
    healthy = {"class": LOSSES.SparseCategoricalCrossentropy(True), "number": "mse"}
    assert claims(two_heads(healthy), X, y) == []


def test_outputs_in_a_dict_are_told_apart_by_their_keys():
    inputs = keras.Input((6,))
    hidden = layers.Dense(16, "relu")(inputs)
    # In another order than the layers, and with other names.
    heads = {"z": layers.Dense(1)(hidden), "a": layers.Dense(4)(hidden)}
    model = compiled(keras.Model(inputs, heads), {"z": "mse", "a": SPARSE})
    y = {"z": 100 * NUMBERS, "a": CLASSES}
    (scale,) = found("target_scale", model, y=y)
    assert scale.where == "z"
    after, _, _ = mended("logits_mismatch", model, X, y)
    assert after.loss["z"] == "mse" and after.loss["a"].from_logits


def test_losses_that_compile_would_refuse_are_refused():
    inputs = keras.Input((6,))
    outputs = [layers.Dense(1, name="a")(inputs), layers.Dense(4, name="b")(inputs)]
    model = compiled(keras.Model(inputs, outputs), {"b": SPARSE})
    # Which has logits besides.
    with pytest.raises(ValueError, match="keys"):
        claims(model, X, [NUMBERS, CLASSES])

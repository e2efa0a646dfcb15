import keras
import numpy as np
import pytest

from fixinit.diagnostics import diagnose, function_update
from tests.marks import on_torch, slow_on_tensorflow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 5)).astype("float32")
Y = RNG.normal(size=(8, 2)).astype("float32")


def linear(units=2):
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(units)])


def two_outputs(compiled=False):
    inputs = keras.Input((5,))
    outputs = [keras.layers.Dense(2, name=name)(inputs) for name in ("b", "a")]
    model = keras.Model(inputs, outputs)
    if compiled:
        model.compile("sgd", "mse")
    return model


@on_torch
def test_a_loss_holds_for_every_output():
    model = two_outputs()
    expected = sum(np.mean(np.square(h - Y)) for h in model.predict(X, verbose=0))
    for y in ([Y, Y], {"a": Y, "b": Y}):
        assert diagnose(model, X, y, loss="mse").loss == pytest.approx(expected)
        assert diagnose(model, X, y).loss == pytest.approx(expected)


@on_torch
def test_targets_with_names_go_to_their_outputs():
    model = two_outputs()
    b, a = model.predict(X, verbose=0)
    y = {"a": a + 1, "b": b + 2}
    assert diagnose(model, X, y).loss == pytest.approx(5, rel=1e-5)
    assert diagnose(model, X, y, loss="mse").loss == pytest.approx(5, rel=1e-5)


@on_torch
def test_a_compiled_model_with_several_outputs_can_be_trained_afterwards():
    model = two_outputs(compiled=True)
    found = diagnose(model, X, [Y, Y]).loss
    function_update(model, X, [Y, Y], "sgd")
    history = model.fit(X, [Y, Y], batch_size=8, verbose=0).history
    assert history["loss"][0] == pytest.approx(found, rel=1e-5)
    assert history["a_loss"][0] + history["b_loss"][0] == pytest.approx(found, rel=1e-5)


@on_torch
@pytest.mark.parametrize("convert", [list, np.ndarray.tolist, lambda h: [h]])
def test_batches_may_be_lists(convert):
    model = linear()
    expected = diagnose(model, X, Y).loss
    assert diagnose(model, convert(X), convert(Y)).loss == expected


@pytest.mark.every_backend
def test_labels_may_be_a_list():
    model = linear()
    labels = [0, 1, 0, 1, 1, 0, 0, 1]
    expected = diagnose(model, X, np.array(labels)).loss
    assert diagnose(model, X, labels).loss == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_must_be_finite(bad):
    y = np.array(Y)
    y[3, 1] = bad
    model = linear()
    for loss in (None, "mse"):
        with pytest.raises(ValueError, match="Argument `y` must be finite.*sample 3"):
            diagnose(model, X, y, loss)


@pytest.mark.parametrize(
    "x", [[[1.0] * 5, [1.0] * 4], [np.ones(5), np.ones(3)]], ids=["lists", "arrays"]
)
def test_ragged_lists_are_refused(x):
    with pytest.raises(TypeError, match="different shapes.*Pad"):
        diagnose(linear(), x)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="its tensors")
def test_ragged_tensors_are_refused_even_if_the_longest_row_fits():
    import tensorflow as tf

    x = tf.ragged.constant([[1.0] * 5, [1.0] * 4])
    with pytest.raises(TypeError, match="ragged"):
        diagnose(linear(), x)
    with pytest.raises(TypeError, match="ragged"):
        diagnose(linear(), X[:2], x)


@pytest.mark.parametrize("x", [None, object(), iter([X])])
def test_what_is_no_array_is_refused(x):
    with pytest.raises(TypeError, match="must be an array.*Received.*data set"):
        diagnose(linear(), x)


def tokens(kind):
    embedding = keras.layers.Embedding(9, 4)
    if kind == "sequential":
        layers = [embedding, keras.layers.GlobalAveragePooling1D()]
        model = keras.Sequential([*layers, keras.layers.Dense(3)])
        model.predict(np.zeros((2, 6), int), verbose=0)
        return model
    inputs = keras.Input((6,))
    h = keras.layers.GlobalAveragePooling1D()(embedding(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(h))
    if kind == "nested":
        outer = keras.Input((6,))
        model = keras.Model(outer, model(outer))
    return model


@on_torch
@pytest.mark.parametrize("kind", ["sequential", "functional", "nested"])
def test_integers_for_an_embedding_are_fine(kind):
    x = RNG.integers(9, size=(8, 6))
    model = tokens(kind)
    assert "float" in model.inputs[0].dtype
    found = diagnose(model, x).layers[-1].mean_square
    assert found == pytest.approx(np.mean(model.predict(x, verbose=0) ** 2), rel=1e-5)


def test_integers_for_other_layers_are_refused_with_both_reasons():
    with pytest.raises(TypeError, match="dtype int64.*255.*indices.*dtype='int32'"):
        diagnose(linear(), np.ones((8, 5), "int64"))


@slow_on_tensorflow
@pytest.mark.every_backend
def test_regularizers_are_part_of_the_loss_and_of_its_gradient():
    dense = keras.layers.Dense(
        2, kernel_regularizer="l2", activity_regularizer=keras.regularizers.L2(0.5)
    )
    model = keras.Sequential([keras.Input((5,)), dense])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    diagnosis = diagnose(model, X, Y)
    assert diagnosis.loss == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)
    (moved,) = function_update(model, X, Y, model.optimizer)
    before, kernel = model.predict_on_batch(X), np.array(dense.get_weights()[0])
    model.train_on_batch(X, Y)
    change = np.sqrt(np.mean(np.square(model.predict_on_batch(X) - before)))
    assert moved == pytest.approx(change, rel=1e-3)
    update = np.linalg.norm(dense.get_weights()[0] - kernel) / np.linalg.norm(kernel)
    ratio = diagnosis.layers[-1].update_to_weight
    assert ratio == pytest.approx(update, rel=1e-3)


@pytest.mark.parametrize("index", [-1, 9])
def test_indices_beyond_an_embedding_are_refused(index):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(9, 4)])
    x = np.array([[0, 8, index]])
    with pytest.raises(ValueError, match="indices from 0 to 8"):
        diagnose(model, x)

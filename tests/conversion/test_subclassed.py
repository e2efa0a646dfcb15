"""Models with a `call` of their own convert, fold, train and are measured."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from tests.conversion.helpers import NORMALIZATIONS, convert, said, still
from tests.conversion.test_fold import trained
from tests.graph import own_models
from tests.graph.test_subclassed import MODELS, assert_equal, flat, normal
from tests.marks import on_torch, slow_on_tensorflow

pytestmark = pytest.mark.every_backend

SMALL_FIRST = [
    pytest.param(name, marks=[pytest.mark.slow] * (name in ("resnet", "text")))
    for name in MODELS
]


@slow_on_tensorflow
@pytest.mark.parametrize("name", SMALL_FIRST)
def test_converts_trains_and_is_saved(name, tmp_path):
    make, data = MODELS[name]
    model, x = make(), data()
    model(x)
    before = [ops.convert_to_numpy(v) for v in model.variables]
    free = convert(model, "rezero")
    kinds = [type(layer) for layer in free._flatten_layers()]
    assert not set(kinds) & set(NORMALIZATIONS)
    outputs = free(x)
    keras.tree.assert_same_structure(outputs, model(x))
    y = keras.tree.map_structure(lambda h: normal(*h.shape), outputs)
    free.compile("sgd", keras.tree.map_structure(lambda h: "mse", outputs))
    free.fit(x, y, epochs=2, verbose=0)
    free.save(tmp_path / "free.keras")
    again = keras.models.load_model(tmp_path / "free.keras")
    for one, other in zip(flat(again(x)), flat(free(x)), strict=True):
        np.testing.assert_array_equal(one, other)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(variable))


@on_torch
def test_blocks_of_a_residual_network(capsys):
    model = own_models.ResNet(name="net")
    model.build((None, 16, 16, 3))
    record = fixinit.conversion.explain(model)
    assert record.num_branches == len(record.blocks) == 4
    assert [b["shortcut"] for b in record.blocks].count("changes shape") == 1
    assert len(record.removed["BatchNormalization"]) == 10
    assert {(w["name"], w["role"]) for w in record.others} >= {
        ("stem", "stem"),
        ("head", "head"),
    }
    text = " ".join(record.assumptions)
    assert "(None, 16, 16, 3)" in text and "is a ResNet" in text
    assert capsys.readouterr().out
    assert not still(convert(model, "rezero"), y=normal(16, 5))


@slow_on_tensorflow
@pytest.mark.parametrize("name", ["resnet", "autoencoder", "dicts"])
def test_folds(name):
    make, data = MODELS[name]
    model, x = make(), data()
    model(x)
    trained(model)
    folded = fixinit.convert(model, weights="fold")
    assert_equal(folded(x, training=False), model(x, training=False), 1e-5)
    kinds = {type(layer) for layer in folded._flatten_layers()}
    assert not kinds & {*NORMALIZATIONS, fixinit.layers.ChannelAffine}


@slow_on_tensorflow
def test_a_variational_autoencoder():
    model = own_models.VAE(name="vae")
    text = said(model, "skip_init", data=normal(4, 8))
    assert "Losses of `add_loss` are not in the graph: vae" in text
    free = convert(model, "skip_init")
    names = {layer.name for layer in free._flatten_layers()}
    assert {"encoder_mean", "encoder_log_variance", "out"} <= names
    free.compile("sgd", "mse")
    free.fit(normal(8, 8), normal(8, 8), verbose=0)


def test_steps_of_its_own_are_said_to_be_lost():
    model = own_models.Autoencoder(name="own")
    assert "such as `train_step`, are not in it" in said(model, data=normal(4, 8))


@on_torch
def test_what_stays_by_name():
    model = own_models.ResNet()
    model.build((None, 16, 16, 3))
    free = convert(model, keep=("bn", model.blocks[0].name))
    kinds = [type(layer).__name__ for layer in free.layers]
    assert kinds.count("BatchNormalization") == 1
    assert kinds.count("ConvBlock") == 1


@slow_on_tensorflow
@pytest.mark.parametrize("name", SMALL_FIRST)
def test_diagnosis(name):
    make, data = MODELS[name]
    model, x = make(), data()
    found = fixinit.diagnostics.diagnose(model, x)
    assert len(found.blocks) == {"resnet": 4, "text": 4}.get(name, 0)
    assert all(np.isfinite(row.mean_square) for row in found.layers)
    assert any(row.gradient_mean_square > 0 for row in found.layers)


@slow_on_tensorflow
def test_diagnosis_of_a_compiled_model():
    model, x = own_models.TwoTowers(), MODELS["dicts"][1]()
    outputs = model(x)
    y = keras.tree.map_structure(lambda h: normal(*h.shape), outputs)
    losses = keras.tree.map_structure(lambda h: "mse", outputs)
    model.compile(keras.optimizers.SGD(0.1), losses)
    found = fixinit.diagnostics.diagnose(model, x, y, training=False)
    pairs = zip(keras.tree.flatten(outputs), keras.tree.flatten(y), strict=True)
    expected = sum(np.mean((ops.convert_to_numpy(a) - b) ** 2) for a, b in pairs)
    assert found.loss == pytest.approx(expected, rel=1e-4)
    assert max(np.nan_to_num(row.update_to_weight) for row in found.layers) > 0


@on_torch
def test_prediction():
    model = own_models.ResNet()
    model.build((None, 16, 16, 3))
    with pytest.warns(UserWarning):
        functional = fixinit.convert(model, weights="fold")
    expected = fixinit.theory.predict(functional)["head"].variance
    assert fixinit.theory.predict(model)["head"].variance == pytest.approx(
        expected, rel=0.01
    )
    larger = fixinit.theory.predict(model, input_shape=(32, 32, 3))
    # Fewer of the pixels are at the edges, where padding takes part of the sums.
    stems = [fixinit.theory.predict(model)["stem"].variance, larger["stem"].variance]
    edges = [(1 - 2 / 3 / size) ** 2 for size in (16, 32)]
    assert stems[1] / stems[0] == pytest.approx(edges[1] / edges[0], rel=1e-6)


def test_mixed_precision():
    model = own_models.Autoencoder(dtype="mixed_bfloat16")
    x = normal(4, 8)
    model(x)
    free = convert(model)
    assert keras.backend.standardize_dtype(free(x).dtype) in ("bfloat16", "float32")


def test_layers_around_models_of_ones_own():
    inputs = keras.Input((8,))
    outputs = layers.Dense(2)(own_models.Autoencoder(name="inner")(inputs))
    free = convert(keras.Model(inputs, outputs))
    assert not any(isinstance(x, NORMALIZATIONS) for x in free._flatten_layers())

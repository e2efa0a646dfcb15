import keras
import numpy as np
import pytest

import fixinit
from recipes.common.data.standard_inputs import standard_inputs
from recipes.convert import EXPERIMENT, claims, measure
from tests.marks import on_torch


def small_model(path):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = keras.layers.Conv2D(8, 3, name="stem")(x)
    for _ in range(3):
        y = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        y = keras.layers.Conv2D(8, 3, padding="same")(y)
        y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
        x = x + keras.layers.Conv2D(8, 3, padding="same")(y)
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(inputs, keras.layers.Dense(4)(x), name="small").save(path)
    return path


@on_torch
def test_runs_resumes_and_claims(check_experiment, tmp_path, capsys):
    path = small_model(tmp_path / "small.keras")
    content = check_experiment(EXPERIMENT, "--quick", f"--model={path}")
    assert [claim["held"] for claim in content["claims"]] == [True] * 3
    normalized, deleted, converted = content["arms"]
    assert normalized["normalizations"] == 6
    assert deleted["normalizations"] == converted["normalizations"] == 0
    assert converted["record"]["num_branches"] == 3
    assert "small: 3 residual blocks" in capsys.readouterr().out
    saved = keras.models.load_model(tmp_path / "undisturbed" / "converted.keras")
    assert isinstance(saved, fixinit.conversion.ConvertedModel)


def test_claims():
    arm = {"version": "converted", "normalizations": 0, "losses": [1.0, 0.9]}
    results = {"arms": [arm], "config": {"keep": ""}}
    arm["mean_square"] = [1.0, 2.0, 0.5]
    assert [claim.held for claim in claims(results)] == [True] * 3
    arm |= {"mean_square": [1.0, 3.1], "normalizations": 1, "losses": [1.0, 1.1]}
    assert [claim.held for claim in claims(results)] == [False] * 3


@pytest.mark.parametrize("model", ["ResNet5", "nowhere.keras"])
def test_refuses_models_that_there_are_not(model):
    with pytest.raises(ValueError, match=model):
        EXPERIMENT.settings(model=model)


def test_inputs_are_standard_behind_what_the_model_does_to_them(tmp_path):
    model = keras.models.load_model(small_model(tmp_path / "small.keras"))
    x = standard_inputs(model, 64)
    assert abs(np.mean(x) - 127.5) < 5
    inner = keras.Model(model.inputs, model.get_layer("stem").input)
    # 12,288 numbers: mean and variance within 5 standard errors.
    outputs = keras.ops.convert_to_numpy(inner(x))
    assert abs(np.mean(outputs)) < 5 / np.sqrt(outputs.size)
    assert abs(np.var(outputs) - 1) < 5 * np.sqrt(2 / outputs.size)


@pytest.mark.slow
def test_networks_of_several_inputs_and_outputs_and_of_any_size(tmp_path):
    images = keras.Input((None, None, 3), name="images")
    words = keras.Input((5,), dtype="int32", name="words")
    x = keras.layers.Conv2D(8, 3, padding="same")(images)
    e = keras.layers.Embedding(7, 8)(words)
    for _ in range(2):
        x = x + keras.layers.Conv2D(8, 3, padding="same")(
            keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        )
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    y = keras.layers.Dense(3)(pooled + keras.layers.GlobalAveragePooling1D()(e))
    path = tmp_path / "several.keras"
    keras.Model({"images": images, "words": words}, [y, x]).save(path)
    asked = EXPERIMENT.settings(model=str(path), batch_size=4, steps=2)
    measured = measure(asked, "converted")
    assert measured["normalizations"] == 0
    assert np.all(np.isfinite(measured["losses"]))

"""Columns that are asked for: names, tables, page and figure."""

import json

import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics import diagnose
from fixinit.diagnostics.report import page
from fixinit.diagnostics.report.columns import MEASURES
from tests.marks import ON_TORCH

pytestmark = ON_TORCH


@pytest.fixture(scope="module")
def found():
    model = fixinit.models.ResidualMLP(
        3, 16, scheme="unnormalized", input_shape=(8,), seed=0
    )
    x = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")
    return diagnose(model, x, np.arange(16) % 10, measures=MEASURES)


def test_nothing_is_there_unless_asked_for():
    model = fixinit.models.ResidualMLP(1, 8, input_shape=(8,), seed=0)
    found = diagnose(model, np.ones((2, 8), "float32"))
    assert not found.asked and not any(row.asked for row in found.layers)
    assert "asked" not in found.to_dict()
    with pytest.raises(KeyError, match="no column 'flops'.*`measures`"):
        found.layers[0]["flops"]


def test_columns_are_those_of_the_measure():
    model = fixinit.models.ResidualMLP(1, 8, input_shape=(8,), seed=0)
    found = diagnose(model, np.ones((2, 8), "float32"), measures=["bytes", "kurtosis"])
    assert set(found.layers[0].asked) == {
        *("parameter_bytes", "activation_bytes"),
        *("kurtosis", "gradient_kurtosis"),
    }
    assert found.curve("activation_bytes").tolist()[0] == 32


@pytest.mark.parametrize("measures", [("flop",), "flops", (1,)])
def test_other_measures_are_refused(measures):
    model = fixinit.models.ResidualMLP(1, 8, input_shape=(8,), seed=0)
    with pytest.raises(ValueError, match="measures"):
        diagnose(model, np.ones((2, 8), "float32"), measures=measures)


def test_terminal_shows_all_numbers_in_the_width(found, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = str(found)
    assert max(map(len, text.splitlines())) <= 80
    for heading in ("FLOPs", "w bytes", "> fp16", "dh < e5m2", "kurtosis", "dh kurt."):
        assert heading in text


def test_json_holds_the_columns(found):
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    row = content["layers"][1]
    assert row["flops"] == found.layers[1]["flops"]
    assert len(row["histogram"]["shares"]) + 1 == len(row["histogram"]["edges"])
    assert content["asked"]["flops"] == found.asked["flops"]


def test_page_shows_the_columns(found, monkeypatch):
    monkeypatch.setattr(page, "draw", lambda *args: None)
    monkeypatch.setattr(page._plotting, "png_uri", lambda figure: "")
    text = page.render([found])
    assert "Layers: asked for" in text and "float8 e4m3 overflow" in text
    rows = len(found.layers) + len(found.blocks) + 1
    assert text.count("<svg") == 2 * rows


def test_figure_shows_the_columns(found):
    titles = {axis.get_title(loc="left") for axis in found.plot().axes}
    assert {"flops", "kurtosis", "gradient kurtosis"} <= titles
    # None is beyond the range: there is nothing to draw.
    assert "bfloat16 overflow" not in titles


@pytest.mark.every_backend
def test_measuring_leaves_everything_as_it_is(untouched, noisy_model):
    x = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
    with untouched(noisy_model):
        asked = diagnose(noisy_model, x, x[:, :3], measures=MEASURES)
    plain = diagnose(noisy_model, x, x[:, :3])
    for row, other in zip(asked.layers, plain.layers, strict=True):
        for name, value in dict(other).items():
            same = value == row[name] or np.isnan(value) and np.isnan(row[name])
            assert same, name


@pytest.mark.every_backend
def test_integers_and_layers_around_others_are_no_obstacle():
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(20, 4)(inputs)
    x = keras.layers.Bidirectional(keras.layers.LSTM(3))(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    tokens = np.random.default_rng(0).integers(0, 20, (4, 6)).astype("int32")
    found = diagnose(model, tokens, np.arange(4) % 2, measures=MEASURES)
    assert found.asked["flops"] == 2 * 2 * 6 * 4 * 3 * (4 + 3) + 2 * 6 * 2

"""The verdict on layers that hold the same draw."""

import keras
import numpy as np
import pytest
from keras import initializers, layers

import fixinit
from fixinit.diagnostics import diagnose
from tests.marks import on_torch


def network(initializer, depth=4, width=64):
    """Residual blocks with a branch of one layer, at a tenth of the shortcut."""
    x = inputs = keras.Input((width,))
    for index in range(depth):
        name = f"dense{index}"
        y = layers.Dense(width, kernel_initializer=initializer(), name=name)(x)
        x = layers.add([x, layers.Rescaling(0.1)(y)])
    return keras.Model(inputs, x)


def batch():
    return np.random.default_rng(0).normal(size=(16, 64)).astype("float32")


@pytest.mark.every_backend
def test_rows_and_verdict_say_which():
    same = initializers.HeNormal()
    found = diagnose(network(lambda: same), batch())
    assert found.equal_draws == [["dense0", "dense1", "dense2", "dense3"]]
    assert found.verdict.kind == "initialization" and found.verdict.where == "dense0"
    assert "dense0, dense1, dense2 and 1 more" in found.verdict.cause
    rows = {row.name: row for row in found.layers}
    assert rows["dense1"].same_draw == ("dense0", "dense2", "dense3")
    assert rows[found.blocks[0].name].same_draw == ()
    assert found.to_dict()["equal_draws"] == found.equal_draws


def test_draws_of_their_own_are_healthy():
    found = diagnose(network(initializers.HeNormal), batch())
    assert found.equal_draws == [] and found.verdict.kind == "healthy"
    assert all(row.same_draw == () for row in found.layers)


@on_torch
def test_beside_what_is_more_urgent(tmp_path):
    same = initializers.RandomNormal(stddev=0.5)
    x = inputs = keras.Input((64,))
    for index in range(6):
        x = layers.Dense(64, "relu", kernel_initializer=same, name=f"dense{index}")(x)
    found = diagnose(keras.Model(inputs, x), batch())
    assert "exploding" in [finding.kind for finding in found.findings]
    text = " ".join(str(found).split())
    assert "6 layers hold the kernel of another one" in text
    found.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "6 layers hold the kernel of another one" in page


def test_rows_of_stacks_say_it():
    same = initializers.HeNormal(seed=3)
    branch = [layers.Dense(64, kernel_initializer=same, name=n) for n in "ab"]
    block = fixinit.layers.ResidualBlock([*branch, layers.Rescaling(0.1)], name="unit")
    stack = fixinit.layers.Stack(block, 2, name="stack")
    inputs = keras.Input((64,))
    found = diagnose(keras.Model(inputs, stack(inputs)), batch())
    rows = {row.name: row.same_draw for row in found.layers}
    assert rows["stack[1]/a"] == ("stack/b",)

import copy

import keras
import numpy as np
import pytest

from recipes.common.data.standard_inputs import standard_inputs
from recipes.common.training import applications
from recipes.converted_applications import (
    EXPERIMENT,
    SCHEMES,
    at_last_block,
    claims,
    last_block,
)
from tests.marks import on_torch


def arm(**changes):
    known = {
        "model": "Net",
        "num_branches": 3,
        "versions": {
            version: {"variance": 0.5, "mean_square": 1.0}
            for version in ("normalized", "deleted", *SCHEMES)
        },
        "normalizations": {scheme: 0 for scheme in SCHEMES} | {"batch_norm": 9},
        "reload_error": 0.0,
        "losses": [2.3, 2.2],
    }
    return {**known, **changes}


def held(*arms):
    return [claim.held for claim in claims({"arms": arms})]


def test_claims_hold_for_networks_that_keep_signals():
    assert len(held(arm())) == 1 + len(SCHEMES)
    assert all(held(arm()))


def test_claims_fail_one_by_one():
    assert not held(arm(normalizations={"fixup": 1}))[0]
    assert not held(arm(), arm(model="Other", reload_error=1e-3))[1]
    assert not held(arm(losses=[2.3, "nan"]))[2]
    versions = copy.deepcopy(arm()["versions"])
    versions["fixup"]["mean_square"] = 3.1
    versions["unnormalized"]["mean_square"] = "inf"
    results = {"arms": [arm(), arm(model="Other", versions=versions)], "config": {}}
    verdict = list(claims(results))[3]
    claim = EXPERIMENT.words.claim(verdict, results)
    assert not claim.held
    assert claim.evidence == "outside: Other 3.10"


def test_smallest_sizes_are_those_that_keras_takes():
    for name in ("InceptionV3", "Xception", "VGG16"):
        size = applications.smallest_size(name)
        with pytest.raises(ValueError, match="nput size"):
            applications.build(name, size - 1, 10)


def test_measures_behind_the_last_block():
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(3, 1, name="branch")(inputs)
    x = keras.layers.Add(name="sum")([inputs, x])
    y = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, y)
    assert last_block(model) == "sum"
    data = standard_inputs(model, 5)
    expected = keras.Model(inputs, x).predict(data, verbose=0).astype("float64")
    found = at_last_block(model, "sum", data)
    np.testing.assert_allclose(found["mean_square"], np.mean(expected**2), rtol=1e-5)
    variance = expected.reshape(-1, 3).var(axis=0).mean()
    np.testing.assert_allclose(found["variance"], variance, rtol=1e-5)


def test_without_blocks_behind_the_weights_before_the_head():
    inputs = keras.Input((3,))
    x = keras.layers.Dense(3, "relu", name="before")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(x))
    assert last_block(model) == "before"


@on_torch
def test_runs_resumes_and_claims(check_experiment):
    content = check_experiment(EXPERIMENT, "--quick")
    (found,) = content["arms"]
    assert found["num_branches"] == 6
    assert [claim["held"] for claim in content["claims"][:3]] == [True] * 3

import importlib.util

import pytest

from recipes.real_models.__main__ import EXPERIMENT, Settings, claims, measure
from recipes.real_models.networks import BACKBONES


def arm(**changes):
    known = {
        "model": "Net",
        "refused": "",
        "left": [],
        "mean_square": 1.0,
        "losses": [1.0, 0.9],
    }
    return {**known, **changes}


def held(*arms):
    return [claim.held for claim in claims({"arms": arms})]


def test_claims_hold_and_fail_one_by_one():
    assert held(arm()) == [True] * 4
    assert held(arm(), arm(refused="why"))[0] is False
    assert held(arm(left=["norm"]))[1] is False
    assert held(arm(losses=["nan"]))[2] is False
    assert held(arm(mean_square=0.01))[3] is False


def test_words_say_what_is_outside():
    results = {"arms": [arm(mean_square=0.01)], "config": {}}
    claim = EXPERIMENT.words.claim(list(claims(results))[3], results)
    assert claim.evidence == "outside: Net 0.0100"


needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None, reason="keras-hub is an extra"
)


@pytest.mark.slow
@needs_hub
@pytest.mark.parametrize("name", BACKBONES)
def test_networks_convert_and_train(name):
    found = measure(Settings(), name)
    assert found["refused"] == "" and found["left"] == []
    assert all(loss < 100 for loss in found["losses"])

import importlib.util

import pytest

from recipes.real_models.__main__ import EXPERIMENT, Settings, claims, measure, tables
from recipes.real_models.examples import EXAMPLES
from recipes.real_models.hub import BACKBONES
from recipes.real_models.networks import APPLICATIONS, check_name
from tests.marks import ON_TORCH


def arm(**changes):
    known = {
        "model": "Net",
        "scheme": "fixup",
        "origin": "example",
        "parameters": 10,
        "refused": "",
        "findings": [],
        "squares": [1.0, 2.0],
        "losses": [1.0, 0.9],
        "folding_error": None,
    }
    return {**known, **changes}


def held(*arms):
    return [claim.held for claim in claims({"arms": arms})]


def test_claims_hold_and_fail_one_by_one():
    assert held(arm()) == [True] * 3
    assert held(arm(), arm(refused="why")) == [False, True, True]
    assert held(arm(losses=[1.0, "nan"])) == [True, False, True]
    assert held(arm(losses=[1.0, 1.1])) == [True, False, True]
    assert held(arm(findings=["blocks: 1 of 2"])) == [True, True, False]
    assert held(arm(folding_error=1e-6)) == [True] * 4
    assert held(arm(folding_error=1e-2))[3] is False


def test_words_name_the_others():
    results = {"arms": [arm(), arm(model="Other", findings=["size"])], "config": {}}
    claim = EXPERIMENT.words.claim(list(claims(results))[2], results)
    assert claim.evidence == "1 of 2; not Other"


def test_tables_count_by_origin():
    arms = [arm(), arm(model="Hub", origin="keras-hub", refused="why")]
    figures, networks = tables({"arms": arms})
    assert [row[1:] for row in figures.rows] == [
        ("keras-hub", 1, 0, 0, 0),
        ("example", 1, 1, 1, 1),
        ("all", 2, 1, 1, 1),
    ]
    assert networks.rows[1][-1] == "why"


def test_names():
    check_name("ConvMixer")
    with pytest.raises(ValueError, match="must be one of"):
        check_name("ConvMixers")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("ConvMixer", marks=pytest.mark.slow),
        pytest.param("WaveNet", marks=pytest.mark.slow),
        "TwoTowers",
    ],
)
def test_some_networks_convert_train_and_change_nothing_silently(name):
    found = measure(Settings(), "fixup", name)
    assert found["refused"] == "" and found["findings"] == []
    assert found["losses"][-1] < found["losses"][0]


needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None, reason="keras-hub is an extra"
)
# See docs/real_models.md.
REFUSED = ("RWKV7Backbone", "Gemma4Backbone", "DFineBackbone", "PARSeqBackbone")
# A bias that six steps do not move.
OPEN = ("YOLO",)
# One of every kind; the rest is evidence.
KINDS = (
    *("ResNetBackbone", "DenseNetBackbone", "EfficientNetBackbone", "MiTBackbone"),
    *("GPT2Backbone", "LlamaBackbone", "T5Backbone", "ViTBackbone", "WhisperBackbone"),
)


def sample(names, kinds):
    """Names to try, those of `kinds` in `.ci/run`."""
    for name in names:
        if name not in REFUSED + OPEN:
            marks = ON_TORCH if name in kinds else [pytest.mark.evidence]
            yield pytest.param(name, marks=marks)


@needs_hub
@pytest.mark.parametrize("name", sample(BACKBONES, KINDS))
def test_backbones(name):
    found = measure(Settings(), "fixup", name)
    assert found["refused"] == "" and found["findings"] == []


@pytest.mark.parametrize("name", sample(EXAMPLES, [*EXAMPLES][::5]))
def test_examples(name):
    found = measure(Settings(), "fixup", name)
    assert found["refused"] == "" and found["findings"] == []


@pytest.mark.evidence
@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(name):
    found = measure(Settings(), "fixup", name)
    assert found["refused"] == "" and found["findings"] == []

"""The recipe from end to end, on two diseases."""

import dataclasses

import pytest

from recipes.diseases.__main__ import DISEASES, EXPERIMENT, FIGURES, STATES

SHOWN = ("softmax_over_one_unit", "labels_from_one")


@pytest.mark.slow
@pytest.mark.every_backend
def test_two_diseases_are_named_and_mended(check_experiment):
    pytest.importorskip("sklearn")
    figures = {name: FIGURES[name] for name in SHOWN}
    experiment = dataclasses.replace(EXPERIMENT, figures=figures)
    arguments = (f"--diseases={','.join(SHOWN)}", "--quick")
    content = check_experiment(experiment, *arguments)
    assert [claim["held"] for claim in content["claims"]] == [True] * 6
    for arm in content["arms"]:
        kind = DISEASES[arm["disease"]].kind
        assert arm["found"] == [kind] and arm["applied"] == [kind]
        assert arm["printed"].startswith(f"error {kind}: ")
        assert arm["left"] == [[]]
        assert len(arm["mended_losses"][0]) == 30
        # Keras refuses what a label cannot mean; a softmax over one unit it takes.
        if arm["disease"] == "softmax_over_one_unit":
            assert len(arm["faulty_losses"][0]) == 30
        for state in STATES:
            assert 0 <= min(arm[f"{state}_qualities"][0])


def test_every_disease_has_a_figure_and_words():
    content = {"config": {}, "arms": []}
    assert [*EXPERIMENT.figures] == [*DISEASES]
    for name, draw in EXPERIMENT.figures.items():
        figure = EXPERIMENT.words.figure(name, draw, content)
        assert min(len(figure.title), len(figure.alt)) > 10
        assert figure.draw(content) is None

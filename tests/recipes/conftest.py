"""What the tests of several recipes share."""

import dataclasses
import gc
import html
import shutil

import pytest
from absl import flags

from recipes.common.experiment import results
from recipes.common.plotting import style

COST = {"seconds", "step_seconds", "steps_per_second", "peak_memory_mb"}


@pytest.fixture(autouse=True)
def no_collection(monkeypatch):
    """Recipes collect garbage between arms: slow where other tests have left much."""
    monkeypatch.setattr(gc, "collect", lambda *args: 0)


@pytest.fixture
def without_cost():
    """A function that leaves what must be the same in every run."""

    def strip(content):
        if isinstance(content, dict):
            return {k: strip(v) for k, v in content.items() if k not in COST}
        if isinstance(content, list):
            return [strip(item) for item in content]
        return content

    return strip


@pytest.fixture
def check_experiment(tmp_path, monkeypatch, without_cost):
    """A function that checks what is promised of every experiment."""
    # A third of the resolution takes half the time.
    monkeypatch.setitem(style.RC_PARAMS, "savefig.dpi", 70)

    def check(experiment, *arguments):
        """Runs an experiment as the command line would, and goes on with it.

        Args:
            experiment: `recipes.common.experiment.Experiment`.
            *arguments: Flags that make it so small that it takes a few seconds.

        Returns:
            dict. The content of results.json.
        """
        undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
        _run(experiment, undisturbed, arguments)
        content = results.load(undisturbed)
        _check_files(experiment, undisturbed, content)
        _check_help(experiment)

        _leave_as_if_killed_in_last_arm(undisturbed, killed, content)
        _run(_replaced(experiment, figures={}), killed, arguments)
        assert without_cost(_arms(killed)) == without_cost(content["arms"])

        # A finished run is drawn again, and nothing is measured.
        (undisturbed / "report.html").unlink()
        # One figure says it as well as all.
        first = dict([*experiment.figures.items()][:1])
        again = _replaced(experiment, measure=pytest.fail, figures=first)
        _run(again, undisturbed, arguments)
        assert (undisturbed / "report.html").exists()
        assert results.load(undisturbed) == content
        return content

    return check


def _run(experiment, path, arguments):
    flag_values = flags.FlagValues()
    experiment.define_flags(flag_values)
    argv = flag_values([experiment.name, *arguments, f"--output_dir={path}"])
    experiment.main(argv, flag_values)


def _arms(path):
    return results.load(path)["arms"]


def _replaced(experiment, **changes):
    return dataclasses.replace(experiment, **changes)


def _leave_as_if_killed_in_last_arm(undisturbed, killed, content):
    (killed / "arms").mkdir(parents=True)
    shutil.copy(undisturbed / "config.json", killed)
    for arm in content["arms"][:-1]:
        shutil.copy(undisturbed / "arms" / f"{arm['id']}.json", killed / "arms")


def _check_files(experiment, path, content):
    figures = {path.stem for path in path.glob("*.png")}
    assert figures == set(experiment.figures)
    assert content["recipe"] == experiment.name
    assert len((path / "results.csv").read_text().splitlines()) > len(content["arms"])
    text = (path / "report.html").read_text()
    assert text.count('src="data:image/png;base64,') == len(experiment.figures)
    assert "<script" not in text and "http" not in text
    assert content["claims"]
    for claim in content["claims"]:
        assert isinstance(claim["held"], bool)
        assert html.escape(claim["text"]) in html.escape(html.unescape(text))
        # The number that says so.
        assert any(character.isdigit() for character in claim["evidence"])
    for name, draw in experiment.figures.items():
        figure = experiment.words.figure(name, draw, content)
        assert min(len(figure.caption), len(figure.alt)) > 40


def _check_help(experiment):
    flag_values = flags.FlagValues()
    experiment.define_flags(flag_values)
    assert {"quick", "seed", "output_dir"} <= set(flag_values)
    assert all(len(flag_values[name].help) > 15 for name in flag_values)

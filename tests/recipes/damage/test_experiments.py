"""No file of an experiment is damaged without a word, and none ends in a traceback."""

import collections
import dataclasses
import shutil

import numpy as np
import pytest
from absl import flags

from recipes.common import experiment
from recipes.common.experiment import Table, Verdict, results, setting
from recipes.common.experiment.errors import UnusableFileError
from tests.recipes.damage import mutations

WORDS = """# Damage

What is measured.

## Claims

### positive

Values are positive.

{{ least }}

## Tables

### values: Values

All of them.
"""


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    depths: tuple[int, ...] = setting((2, 3, 4, 5), "Depths.")


def arms(settings):
    return experiment.grid(depth=settings.depths)


def measure(settings, depth):
    rng = np.random.default_rng([settings.seed, depth])
    return {"value": 1 + rng.random(), "curve": rng.random(20), "largest": np.inf}


def claims(results):
    yield Verdict("positive", True, least=min(a["value"] for a in results["arms"]))


def tables(results):
    rows = [(arm["depth"], arm["value"]) for arm in results["arms"]]
    return [Table("values", ("depth", "value"), rows)]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe")
    (path / "damaged.md").write_text(WORDS)
    return experiment.Experiment(
        str(path / "damaged.py"), Settings, arms, measure, claims, tables, {}
    )


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """Directories of two finished runs, which differ in their seeds."""
    paths = [tmp_path_factory.mktemp("runs") / name for name in ("a", "b")]
    for seed, path in enumerate(paths):
        run(recipe, path, f"--seed={seed}")
    return paths


def run(recipe, path, *arguments):
    values = flags.FlagValues()
    recipe.define_flags(values)
    recipe.main(values(["damaged", *arguments, f"--output_dir={path}"]), values)
    return results.load(path)


def without_times(content):
    if isinstance(content, dict):
        times = ("seconds", "finished")
        return {k: without_times(v) for k, v in content.items() if k not in times}
    return [*map(without_times, content)] if isinstance(content, list) else content


def files(path):
    stored = [p for p in path.rglob("*") if p.is_file() and p.name[0] != "."]
    return {str(p.relative_to(path)): p.read_bytes() for p in stored}


def outcome(recipe, path, name, kind, pristine):
    """What a run makes of a directory with a damaged file: "said" or "mended"."""
    content, line = mutations.said(run, recipe, path)
    if content is None:
        assert len(line.splitlines()) == 1, line
        assert "Traceback" not in line and str(path) in line, line
        return "said"
    # Nobody has said anything: then nothing is lost, and everything is as it was.
    assert without_times(content) == without_times(results.load(pristine))
    for other, text in files(pristine).items():
        if other.startswith("arms/") and (other, kind) != (name, "gone"):
            assert (path / other).read_bytes() == text, (name, kind)
    return "mended"


def check(recipe, finished, tmp_path, count, seed):
    """Damages every file in every way; counts outcomes by file and kind."""
    rng = np.random.default_rng(seed)
    pristine, other = finished
    found = collections.Counter()
    names = [*files(pristine)]
    for turn in range(count):
        name = names[turn % len(names)]
        kind = mutations.KINDS[turn // len(names) % len(mutations.KINDS)]
        path = shutil.copytree(pristine, tmp_path / str(turn))
        swaps = [p for p in (path / name).parent.iterdir() if p != path / name]
        swaps = [p for p in swaps if p.suffix == (path / name).suffix and p.is_file()]
        content = mutations.damaged(path / name, [*swaps, other / name], rng, kind)
        if content == (path / name).read_bytes():
            continue
        mutations.write(path / name, content)
        found[name.split("/")[0], outcome(recipe, path, name, kind, pristine)] += 1
        shutil.rmtree(path)
    return found


@pytest.mark.slow
def test_damaged_files_are_named_or_written_again(recipe, finished, tmp_path):
    found = check(recipe, finished, tmp_path, 56, seed=0)
    # Arms are damaged in seven ways, of which only a lost one is measured again.
    assert found["arms", "said"] >= 4 * 5 and found["config.json", "said"] == 7


@pytest.mark.slow
def test_hundreds_of_damaged_files(recipe, finished, tmp_path):
    found = check(recipe, finished, tmp_path, 1008, seed=1)
    assert sum(found.values()) > 1000
    assert found["arms", "said"] > 400


@pytest.mark.slow
def test_damaged_results_are_named_when_they_are_loaded(finished, tmp_path):
    rng = np.random.default_rng(0)
    pristine, other = finished
    right = results.load(pristine)
    path = tmp_path / "results.json"
    for turn in range(700):
        kind = mutations.KINDS[turn % len(mutations.KINDS)]
        source = pristine / "results.json"
        content = mutations.damaged(source, [pristine / "config.json"], rng, kind)
        if content is None:
            continue
        path.write_bytes(content)
        try:
            found, word = mutations.said(results.load, path)
        except UnusableFileError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert "no checksum" in word or found == right

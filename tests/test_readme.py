"""What the README shows runs, and what it lists exists."""

import pathlib
import re

import pytest

import fixinit

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_own_model_example_builds():
    names = {}
    exec(EXAMPLES[1], names)
    assert names["block"].compute_output_shape((1, 8, 8, 64)) == (1, 8, 8, 64)


@pytest.mark.slow
def test_conversion_example_takes_the_normalization_out():
    names = {}
    exec(EXAMPLES[2], names)
    kinds = [type(layer).__name__ for layer in names["free"].layers]
    assert "ScalarBias" in kinds and "BatchNormalization" not in kinds


def test_stack_example_builds_ten_thousand_layers():
    names = {}
    exec(EXAMPLES[3], names)
    kernels = [v for v in names["model"].weights if v.name == "kernel"]
    assert sum(v.shape[0] if len(v.shape) == 3 else 1 for v in kernels) == 10_002


@pytest.mark.slow
def test_diagnosis_example_finds_the_explosion():
    names = {}
    exec(EXAMPLES[4], names)
    assert names["diagnosis"].verdict.kind == "exploding"
    assert "x1.97 +- 0.17 per block" in " ".join(README.split())


@pytest.mark.slow
def test_ten_line_example_learns_the_digits():
    pytest.importorskip("sklearn")
    names = {}
    exec(EXAMPLES[0], names)
    assert names["model"].history.history["val_accuracy"][-1] > 0.8


def test_every_scheme_and_model_is_listed():
    for name in fixinit.schemes.names():
        assert f"| `{name}` |" in README
    for name in fixinit.models.__all__:
        assert f"| `{name}(" in README


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize("name", ["run", "test"])
def test_commands_are_one_line_each(name):
    pattern = rf"<!-- command: {name} -->\n```bash\n(.*)\n```\n"
    assert re.search(pattern, README)

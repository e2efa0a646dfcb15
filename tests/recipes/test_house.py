"""What DESIGN and CONTRIBUTING promise of the files under recipes/."""

import ast
import pathlib

import pytest

# One recipe that publishes what another one does, of deeper networks.
SHARED = {"ten_thousand_layers": {"compare_stability"}}
RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
SOURCES = sorted(RECIPES.rglob("*.py"))
by_path = pytest.mark.parametrize(
    "path", SOURCES, ids=lambda p: str(p.relative_to(RECIPES))
)


def imported_recipes(path):
    """The names of the recipes, or `common`, that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in getattr(node, "names", ())]
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [f"{module}.{name}" for name in names]
        elif not isinstance(node, ast.Import):
            continue
        for parts in (name.split(".") for name in names):
            if parts[0] == "recipes" and len(parts) > 1:
                yield parts[1]


@by_path
def test_recipes_import_what_is_common_and_nothing_of_each_other(path):
    own = path.relative_to(RECIPES).parts[0].removesuffix(".py")
    allowed = {"common"} if own == "common" else {own, "common", *SHARED.get(own, ())}
    assert {*imported_recipes(path)} <= allowed


@by_path
def test_private_parts_of_keras_are_not_read(path):
    """`fixinit._keras` holds them, with the reason and a test."""
    tree = ast.parse(path.read_text())
    private = {"_flatten_layers", "_layers", "_inbound_nodes", "_tracker"}
    read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not read & private


def experiments():
    for path in SOURCES:
        nodes = ast.walk(ast.parse(path.read_text()))
        calls = [ast.unparse(x.func) for x in nodes if isinstance(x, ast.Call)]
        if any(name.split(".")[-1] == "Experiment" for name in calls):
            yield path


def test_no_experiment_is_longer_than_200_lines():
    lengths = {str(p): len(p.read_text().splitlines()) for p in experiments()}
    assert len(lengths) > 10
    assert max(lengths.values()) <= 200, lengths

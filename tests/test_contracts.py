"""The contracts between the packages, read off the source."""

import ast
import pathlib

import pytest

import fixinit

PACKAGE = pathlib.Path(fixinit.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
BACKENDS = {"tensorflow", "jax", "torch"}
# Each package may import those to its left, never one to its right.
ORDER = ["_validation", "initializers", "layers", "schemes", "models"]


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_backend_imports_a_backend(path):
    roots = {name.split(".")[0] for name in imported_modules(path)}
    assert path.name == "backend.py" or not roots & BACKENDS


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_imports_upward(path):
    place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if place not in ORDER:
        pytest.skip("outside the order")
    imported = {
        name.split(".")[1]
        for name in imported_modules(path)
        if name.startswith("fixinit.")
    }
    allowed = {*ORDER[: ORDER.index(place) + 1]}
    assert imported & {*ORDER, "optimizers", "diagnostics", "backend"} <= allowed


@pytest.mark.parametrize(
    "module",
    [
        fixinit.initializers,
        fixinit.layers,
        fixinit.schemes,
        fixinit.models,
        fixinit.optimizers,
        fixinit.diagnostics,
    ],
    ids=lambda module: module.__name__,
)
def test_everything_public_is_documented_with_an_example(module):
    for name in module.__all__:
        documentation = getattr(module, name).__doc__
        assert documentation, name
        exempt = {"Scheme", "block_statistics", "gradient_norms"}
        assert ">>>" in documentation or name in exempt, name

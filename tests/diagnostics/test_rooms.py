"""The rooms of diagnostics, read off the source."""

import ast
import pathlib

import pytest

from fixinit import diagnostics

ROOT = pathlib.Path(diagnostics.__file__).parent
ROOMS = ("doctor", "report", "paths", "geometry")
# Who judges reads what was measured.
READS = {"doctor": {"report", "geometry"}}


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
            for name in names:
                if name.startswith("fixinit.diagnostics."):
                    yield name.split(".")[2]


@pytest.mark.parametrize("room", [*ROOMS, "_shared"])
def test_rooms_share_nothing_but_what_is_in_shared(room):
    sources = sorted((ROOT / room).rglob("*.py"))
    assert sources
    for path in sources:
        assert set(imported_rooms(path)) <= {room, "_shared", *READS.get(room, ())}, (
            path
        )


def test_every_module_stands_in_a_room():
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py"}
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == {*ROOMS, "_shared"}

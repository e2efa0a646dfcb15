"""The gallery of docs/diagnostics.md is that of the programs."""

import pathlib

import pytest

import fixinit
from recipes.diseases import gallery
from recipes.diseases.__main__ import DISEASES, EXPERIMENT

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "diagnostics.md"
TEXT = PAGE.read_text("utf-8")


@pytest.mark.parametrize("disease", DISEASES)
def test_every_disease_is_shown_as_its_program_is(disease):
    assert f"```python\n{gallery.source(disease)}\n```" in TEXT
    picture = f"diseases/{disease}.png"
    assert f"]({picture})" in TEXT
    assert 5_000 < (PAGE.parent / picture).stat().st_size < 60_000


def test_sources_run_as_a_script():
    for disease in DISEASES:
        assert gallery.source(disease).startswith("x, y = ")
        assert "return" not in gallery.source(disease)


def test_gallery_is_written_between_its_marks(tmp_path, monkeypatch):
    runs = {"layers": [[1.0, 2.0]], "losses": [[2.0, 1.0]], "qualities": [[0.1, 0.5]]}
    arm = {"disease": "raw_inputs", "printed": "error input_scale: large."}
    arm |= {f"{s}_{k}": v for s in ("faulty", "mended") for k, v in runs.items()}
    content = {"config": {"steps": 150}, "arms": [arm]}
    monkeypatch.setattr(gallery.results, "load", lambda path: content)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{gallery.BEGIN}\nstale text\n{gallery.END}\nafter\n")
    gallery.write(tmp_path, page)
    first = page.read_text()
    assert first.startswith("before\n") and first.endswith("\nafter\n")
    assert "stale text" not in first and "error input_scale: large." in first
    title = EXPERIMENT.words.figure("raw_inputs", None, content).title
    assert f"### {title}\n" in first
    assert (tmp_path / "diseases" / "raw_inputs.png").exists()
    gallery.write(tmp_path, page)
    assert page.read_text() == first


def test_kinds_of_the_page_are_those_that_there_are():
    table = TEXT.split("| kind | what decides |")[1].split("\n\n")[0]
    kinds = [
        line.split("`")[1] for line in table.splitlines() if line.startswith("| `")
    ]
    assert kinds == list(fixinit.diagnostics.finding_kinds())

"""The words of an experiment: a Markdown file beside its code.

    # Title of the report

    What was measured, and how.

    ## Claims
    ### name
    The claim, one sentence.

    The evidence, with numbers: the loss is {{ loss | number }}.

    ## Tables
    ### name: Title
    What a reader needs to know to read it.

    ## Figures
    ### name: Title
    The caption.

    The figure in words, for those who do not see it.

Everything is a Jinja template. It is given `config`, the flags, and a claim the numbers
of its `Verdict`.
"""

import dataclasses
import pathlib
import re
import textwrap

import markdown_it

from fixinit import _pages
from recipes.common.experiment.tables import (
    format_number,
    format_percent,
    format_spread,
)
from recipes.common.plotting.figure import Figure


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an experiment found about one of the claims in its Markdown file.

    Args:
        name: str. The claim's heading.
        held: bool. Whether it was so here.
        **numbers: What its evidence shows.
    """

    name: str
    held: bool
    numbers: dict

    def __init__(self, name, held, **numbers):
        object.__setattr__(self, "name", name)
        # Comparisons of NumPy numbers give no `bool`, and JSON knows no other.
        object.__setattr__(self, "held", bool(held))
        object.__setattr__(self, "numbers", numbers)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence that an experiment tested.

    Attributes:
        text: str. What is claimed, as one sentence.
        held: bool. Whether it was so here.
        evidence: str. The measured numbers that say so.
    """

    text: str
    held: bool
    evidence: str

    def __post_init__(self):
        object.__setattr__(self, "held", bool(self.held))

    @property
    def verdict(self):
        return "held" if self.held else "did not hold"


def format_claims(claims):
    """Claims for a terminal, each with its verdict and evidence.

    Example:

    >>> print(format_claims([Claim("Depth doubles it.", True, "x1.98 per block")]))
    HELD: Depth doubles it.
        x1.98 per block
    """
    if not claims:
        return "These flags leave out what the claims need."
    lines = []
    for claim in claims:
        text = f"{claim.verdict.upper()}: {claim.text}"
        lines += textwrap.wrap(text, 88, subsequent_indent="    ")
        indent = {"initial_indent": "    ", "subsequent_indent": "    "}
        lines += textwrap.wrap(claim.evidence, 88, **indent)
    return "\n".join(lines)


class Words:
    """The words of an experiment.

    Args:
        path: Path of the Markdown file.

    Raises:
        FileNotFoundError: If there is none.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        parts = re.split(r"^(#{1,3}) (.+)$", self.path.read_text("utf-8"), flags=re.M)
        self.title, self._method, self._entries, section = "", "", {}, ""
        for mark, heading, body in zip(
            parts[1::3], parts[2::3], parts[3::3], strict=True
        ):
            if mark == "#":
                self.title, self._method = heading, body
            elif mark == "##":
                section = heading.lower()
            else:
                name, _, title = heading.partition(": ")
                self._entries[section, name] = title, body.strip().split("\n\n")

    def method(self, results):
        """What was measured and how, as HTML."""
        text = _fill(self._method, results)
        return markdown_it.MarkdownIt("commonmark", {"html": False}).render(text)

    def claim(self, verdict, results):
        """The `Claim` of a `Verdict`."""
        _, (text, evidence) = self._entry("claims", verdict.name, 2)
        text, evidence = (
            _line(paragraph, results, verdict.numbers) for paragraph in (text, evidence)
        )
        return Claim(text, verdict.held, evidence)

    def table(self, table, results):
        """A `Table`, whose title was its name, with its title and note."""
        words = self._entry("tables", table.title, 1)
        title, note = (_line(text, results) for text in (words[0], words[1][0]))
        return dataclasses.replace(table, title=title, note=note)

    def figure(self, name, draw, results):
        """The `Figure` of that name."""
        title, paragraphs = self._entry("figures", name, 2)
        return Figure(name, draw, title, *(_line(x, results) for x in paragraphs))

    def _entry(self, section, name, paragraphs):
        title, found = self._entries.get((section, name), ("", []))
        if len(found) != paragraphs:
            raise ValueError(
                f"{self.path} must hold the heading '### {name}' with {paragraphs} "
                f"paragraphs under '## {section.capitalize()}'. Found: {len(found)}."
            )
        return title, found


def _line(paragraph, results, numbers=None):
    return " ".join(_fill(paragraph, results, numbers).split())


def _fill(text, results, numbers=None):
    template = _JINJA.from_string(text)
    return template.render({"config": results["config"], **(numbers or {})})


# Markdown, which the page escapes.
_JINJA = _pages.environment(pathlib.Path(__file__).parent).overlay(autoescape=False)
_JINJA.filters |= {
    "number": format_number,
    "percent": format_percent,
    "spread": format_spread,
    "form": lambda value, spec: f"{value:{spec}}",
}

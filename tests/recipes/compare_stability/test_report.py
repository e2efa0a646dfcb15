import copy
import dataclasses
import html
import html.parser
import re
import shlex

import pytest
from absl import flags

from recipes.common.experiment import command_line
from recipes.common.plotting import figure as plots
from recipes.compare_stability import figures, findings, summary
from recipes.compare_stability import report as comparison_report
from recipes.compare_stability.settings import Settings
from tests.marks import on_torch


class Reader(html.parser.HTMLParser):
    """Collects what a browser would load, and whether every tag is closed."""

    VOID = {"meta", "img", "br", "link", "hr"}

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.images, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attrs)
        self.loads += [attrs[key] for key in ("src", "srcset") if key in attrs]
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data


@pytest.fixture
def results(make_results):
    return make_results(
        schemes=("unnormalized", "batch_norm", "fixup"), depths=(22, 302)
    )


@pytest.fixture
def png(tmp_path):
    # The report looks into no figure, so one pixel will do.
    path = tmp_path / "variance_growth.png"
    path.write_bytes(b"\x89PNG\r\n")
    return figures.ALL[0], path


def write(results, drawn, output_dir):
    path = comparison_report.write_report(results, drawn, output_dir)
    assert path == output_dir / "report.html"
    return path.read_text(encoding="utf-8")


@on_torch
def test_report_needs_no_other_file(results, tmp_path):
    drawn = plots.draw_all(figures.ALL, results, tmp_path)
    text = write(results, drawn, tmp_path)
    reader = Reader(text)
    assert len(reader.images) == len(drawn) == 4
    assert all(uri.startswith("data:image/png;base64,") for uri in reader.loads)
    assert all(len(image["alt"]) > 40 for image in reader.images)
    assert not re.search(r"@import|url\(|https?://", text)


def test_table_and_summary_agree_with_the_rows(results, png, tmp_path):
    text = Reader(write(results, [png], tmp_path)).text
    rows = summary.summarize(results)
    for row in rows:
        for _, key, _ in summary.COLUMNS:
            assert summary.format_cell(row, key) in text
    assert findings.describe(results, rows) in text


def test_summary_says_who_trained_and_who_diverged(results):
    text = findings.describe(results, summary.summarize(results))
    assert "At depth 302" in text
    assert "BatchNorm and Fixup trained; He init alone did not" in text
    assert "He init alone at depth 22 (3 of 3 seeds, steps 83 to 163)" in text
    assert re.search(r"best test accuracy there is \d\d\.\d ± \d\.\d %", text)
    assert re.search(r"factor of 1\.\d+ .* He init alone, depth 302, block \d+", text)


def test_summary_of_a_run_in_which_everything_diverged(make_results):
    results = make_results(schemes=("fixup",), depths=(22,), diverges=lambda *_: 0)
    text = findings.describe(results, summary.summarize(results))
    assert "no scheme trained" in text and "best" not in text


def test_summary_says_where_activations_overflow(results):
    text = findings.describe(results, summary.summarize(results))
    assert re.search(
        r"activations of He init alone overflow in block 1\d\d of 150", text
    )


def test_summary_says_what_was_stopped(make_results):
    results = make_results(schemes=("fixup",), depths=(22,), seeds=(0,), epochs=3)
    results["arms"][-1]["gave_up"] = True
    text = findings.describe(results, summary.summarize(results))
    assert "Fixup at depth 22 was stopped after epoch 3" in text


def test_values_are_escaped(make_results, png, tmp_path):
    evil = "<script>alert('x')</script>"
    results = make_results(schemes=(evil,), depths=(22,))
    results |= {"title": evil, "recipe": evil}
    results["config"]["dataset"] = evil
    results["environment"][evil] = evil
    results["arms"][-1]["diverged"] = {"step": None, "epoch": 1, "reason": evil}
    text = write(results, [png], tmp_path)
    assert "<script" not in text and evil in Reader(text).text


def test_flags_environment_and_command_are_listed(results, png, tmp_path):
    results["config"]["divergence_loss"] = 100.0
    text = Reader(write(results, [png], tmp_path)).text
    for name in (*results["config"], *results["environment"]):
        assert name in text
    assert "python -m recipes.compare_stability --schemes=unnormalized" in text
    assert "--depths=22,302" in text and "--nomixed_precision --quick" in text
    assert "exceeded the bound of 100" in text
    # A flag that was not set has no place in a command.
    assert "--data_dir" not in text


def command(results, tmp_path):
    """The words of the report's command, as a shell reads them."""
    text = write(results, [], tmp_path)
    (pre,) = re.findall("<pre>(.*?)</pre>", text, re.DOTALL)
    return shlex.split(Reader(pre).text)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(dataset="npz:a b.npz", depths=(10, 302), learning_rates=(1e-5,)),
        Settings(optimizer="adam", seeds=(7,), divergence_loss=float("inf")),
    ],
)
def test_command_gives_the_same_settings_again(settings, tmp_path):
    words = command({"config": dataclasses.asdict(settings)}, tmp_path)
    assert words[:3] == ["python", "-m", "recipes.compare_stability"]
    flag_values = flags.FlagValues()
    command_line.define(Settings, flag_values)
    rest = flag_values(words[2:])
    assert rest == ["recipes.compare_stability"]
    assert command_line.parse(Settings, rest, flag_values) == settings


def test_command_names_a_backend_that_is_not_the_default(results, tmp_path):
    assert command(results, tmp_path)[0] == "python"
    results["environment"]["backend"] = "jax"
    assert command(results, tmp_path)[:2] == ["KERAS_BACKEND=jax", "python"]


def same_network(results, scheme, other):
    """The same results, with the arms of `other` those of `scheme`, but for time."""
    arms = [arm for arm in results["arms"] if arm["scheme"] != other]
    for arm in [arm for arm in arms if arm["scheme"] == scheme]:
        arm = copy.deepcopy(arm)
        arm |= {"scheme": other, "steps_per_second": 1.0}
        for epoch in arm["epochs"]:
            epoch["seconds"] += 1
        arms.append(arm)
    return {**results, "arms": arms}


def test_summary_says_which_schemes_coincide(make_results):
    results = make_results(schemes=("fixup", "skip_init", "rezero"), depths=(22,))
    results = same_network(results, "skip_init", "rezero")
    text = findings.describe(results, summary.summarize(results))
    assert "SkipInit and ReZero coincide: they are the same network here." in text
    results["arms"][-1]["epochs"][0]["train_loss"] += 1e-6
    text = findings.describe(results, summary.summarize(results))
    assert "coincide" not in text


def test_schemes_that_diverged_at_once_do_not_coincide(make_results):
    results = make_results(
        schemes=("fixup", "rezero"), depths=(22,), diverges=lambda *_: 0
    )
    results = same_network(results, "fixup", "rezero")
    text = findings.describe(results, summary.summarize(results))
    assert "coincide" not in text


@pytest.mark.parametrize("kinds", [(), ("map",), ("train",)])
def test_partial_results(make_results, tmp_path, kinds):
    results = make_results(schemes=("fixup",), depths=(22,), kinds=kinds)
    assert "<h1>Stability" in write(results, [], tmp_path)


def test_almost_empty_results(tmp_path):
    text = Reader(write({"arms": []}, [], tmp_path / "new")).text
    assert "No network was trained in full yet." in text

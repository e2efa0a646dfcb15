"""The frame of experiments, with an experiment that takes no time."""

import dataclasses
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from absl import flags

from recipes.common import experiment
from recipes.common.experiment import (
    Experiment,
    Table,
    Verdict,
    select,
    setting,
)
from recipes.common.experiment.words import Claim, format_claims
from recipes.common.plotting import style

HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    schemes: tuple[str, ...] = setting(("fixup", "rezero"), "Which schemes to compare.")
    depths: tuple[int, ...] = setting(
        (2, 4, 8), "Numbers of blocks to measure.", quick=(2,)
    )
    scale: float = setting(1.0, "Factor of what is measured.")


def measure_arms(settings):
    return [
        {"scheme": scheme, "depth": depth}
        for scheme in settings.schemes
        for depth in settings.depths
    ]


def measure(settings, scheme, depth):
    noise = float(keras.ops.max(keras.random.normal((depth,))))
    curve = np.arange(depth, dtype="float32") * settings.scale
    return {"value": np.float32(settings.scale * depth), "noise": noise, "curve": curve}


def claims(results):
    values = [arm["value"] for arm in select(results, scheme="fixup")]
    if not values:
        return []
    return [
        Verdict("positive", min(values) > 0, least=min(values)),
        Verdict("negative", max(values) < 0, most=max(values)),
    ]


def tables(results):
    rows = [(a["scheme"], a["depth"], a["value"]) for a in results["arms"]]
    return [Table("values", ("scheme", "blocks", "value"), rows)]


def draw(results):
    figure, axes = style.new_figure(1, 1)
    for arm in results["arms"]:
        axes[0, 0].plot(arm["curve"])
    return figure


EXPERIMENT = Experiment(
    str(HERE / "made_up.py"),
    Settings,
    measure_arms,
    measure,
    claims,
    tables,
    {"curves": draw},
)


def run(path, *arguments):
    flag_values = flags.FlagValues()
    EXPERIMENT.define_flags(flag_values)
    argv = flag_values(["made_up", *arguments, f"--output_dir={path}"])
    EXPERIMENT.main(argv, flag_values)


def test_what_is_promised_of_every_experiment_holds(check_experiment, capsys):
    content = check_experiment(EXPERIMENT)
    assert [claim["held"] for claim in content["claims"]] == [True, False]
    assert [a["id"] for a in content["arms"]][:2] == ["fixup-depth2", "fixup-depth4"]
    assert content["config"]["depths"] == [2, 4, 8]
    printed = capsys.readouterr().out
    assert "HELD: Values are positive.\n    least 2.0" in printed
    assert "DID NOT HOLD: Values are negative" in printed


def test_arms_do_not_depend_on_those_before(tmp_path):
    run(tmp_path / "all")
    run(tmp_path / "one", "--depths=8", "--schemes=rezero")
    name = "arms/rezero-depth8.json"
    files = [(tmp_path / path / name).read_text() for path in ("all", "one")]
    values = [text.split('"seconds"')[0] for text in files]
    assert values[0] == values[1]


def test_what_ctrl_c_interrupts_is_measured_again(tmp_path, monkeypatch, capsys):
    seen = []

    def interrupted(settings, **arm):
        seen.append(arm)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return measure(settings, **arm)

    killed = dataclasses.replace(EXPERIMENT, measure=interrupted)
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setitem(globals(), "EXPERIMENT", killed)
        run(tmp_path)
    assert end.value.code == 130
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("made_up: interrupted. Give the same command again")
    assert str(tmp_path) in line
    (done,) = (tmp_path / "arms").iterdir()
    when = done.stat().st_mtime_ns
    assert not (tmp_path / "results.json").exists()
    run(tmp_path)
    assert len(list((tmp_path / "arms").iterdir())) == 6
    assert done.stat().st_mtime_ns == when


def test_seed_decides_what_is_drawn(tmp_path):
    run(tmp_path / "a", "--quick", "--schemes=fixup")
    run(tmp_path / "b", "--quick", "--schemes=fixup", "--seed=1")
    paths = [tmp_path / run / "arms/fixup-depth2.json" for run in "ab"]
    assert paths[0].read_text() != paths[1].read_text()


def test_report_shows_claims_tables_and_method(tmp_path):
    run(tmp_path, "--quick")
    text = (tmp_path / "report.html").read_text()
    assert text.index("Did not hold") < text.index("Made up.") < text.index("<img")
    assert '<strong class="bad">Did not hold:</strong>' in text
    assert "<p>The second, with 1 depth.</p>" in text and "<h3>Values</h3>" in text
    command = "".join(text[text.index("<pre>") : text.index("</pre>")].split())
    assert "recipes.made_up" in command and "--depths=2<" in command


def test_claims_may_need_what_the_flags_leave_out(tmp_path, capsys):
    run(tmp_path, "--quick", "--schemes=rezero")
    assert "leave out" in capsys.readouterr().out
    assert "leave out" in (tmp_path / "report.html").read_text()


def test_table_of_csv_has_a_row_for_every_arm_and_no_lists(tmp_path):
    run(tmp_path, "--quick")
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert lines[0] == "id,scheme,depth,value,noise,seconds"
    assert len(lines) == 3


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--depths=2,2", "made_up: --depths holds 2 more than once"),
        ("--scale=0", "made_up: --scale must be positive and finite"),
        ("--output_dir=/proc/none", "made_up: --output_dir=/proc/none cannot be used"),
        ("quick", "made_up: Flags start with --. Received: quick"),
    ],
)
def test_mistakes_are_one_line(tmp_path, argument, message):
    with pytest.raises(SystemExit) as error:
        run(tmp_path, *[argument] * (not argument.startswith("--output_dir")))
        run("/proc/none")
    assert message in error.value.code and "\n" not in error.value.code


def test_arms_of_equal_arguments_are_refused(tmp_path):
    twice = dataclasses.replace(EXPERIMENT, arms=lambda _: [{"depth": 2}] * 2)
    flag_values = flags.FlagValues()
    twice.define_flags(flag_values)
    argv = flag_values(["made_up", f"--output_dir={tmp_path}"])
    with pytest.raises(SystemExit, match="Two arms"):
        twice.main(argv, flag_values)


@pytest.mark.parametrize(
    "heading, message",
    [
        ("### negative", "'### negative' with 2 paragraphs"),
        ("### values", "Tables"),
        ("### curves", "Figures"),
    ],
)
def test_words_that_are_missing_are_named(tmp_path, heading, message):
    text = (HERE / "made_up.md").read_text()
    (tmp_path / "made_up.md").write_text(text.replace(heading, "### other"))
    elsewhere = dataclasses.replace(EXPERIMENT, file=str(tmp_path / "made_up.py"))
    flag_values = flags.FlagValues()
    elsewhere.define_flags(flag_values)
    argv = flag_values(["made_up", "--quick", f"--output_dir={tmp_path / 'out'}"])
    with pytest.raises(ValueError, match=message):
        elsewhere.main(argv, flag_values)


def test_long_claims_are_wrapped():
    text = format_claims([Claim("word " * 40, np.bool_(True), "1 " * 60)])
    assert max(map(len, text.splitlines())) <= 88


@pytest.mark.slow
def test_help_shows_the_flags_of_the_recipe(tmp_path):
    recipe = tmp_path / "recipe.py"
    recipe.write_text(
        '"""What it shows."""\n'
        "import sys\n"
        f"sys.path[:0] = {[str(HERE), str(HERE.parents[3])]}\n"
        "from test_frame import EXPERIMENT\n"
        "EXPERIMENT.start()\n"
    )
    command = [sys.executable, str(recipe), "--help"]
    text = subprocess.run(command, capture_output=True, text=True).stdout
    assert "What it shows." in text
    for name in ("depths", "scale", "seed", "output_dir"):
        assert f"--{name}:" in text
    assert "--[no]quick" in text and "other defaults for --depths" in text

"""The frame of an experiment: arms that are measured, and claims that are tested.

A recipe that is an experiment of a paper says what it measures and what it expects;
everything else is here: flags, the results directory, going on after a kill, the
table, the figures and the report.
"""

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Callable

import keras
from absl import app, flags

from recipes.common.experiment import command_line, report, settings
from recipes.common.experiment.names import check_file_name
from recipes.common.experiment.progress import Progress
from recipes.common.experiment.results import Results
from recipes.common.experiment.tables import format_number
from recipes.common.experiment.words import Words, format_claims
from recipes.common.plotting.figure import draw_all

flags.disclaim_key_flags()


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
    """What every experiment can be asked for."""

    seed: int = settings.setting(
        0,
        "Seed of everything that is drawn: the same seed, the same results.",
        at_least=0,
    )


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment: a recipe ends with one, and starts it.

        EXPERIMENT = Experiment(__file__, Settings, arms, measure, ...)

        if __name__ == "__main__":
            EXPERIMENT.start()

    Its words stand beside it, in NAME.md, or in words.md of a package; `Words` says in
    which form.

    Attributes:
        file: str. Path of the recipe, which is named after its module or package.
        settings: Subclass of `Settings`, whose fields are the flags.
        arms: Callable `settings -> [{...}]`. The keyword arguments of `measure`, arm
            by arm: texts, numbers and booleans, together different for every arm.
        measure: Callable `(settings, **arm) -> {...}`. What one arm gives, as JSON
            holds it; NumPy arrays and numbers will do. It must depend on nothing else:
            global seeds are set before, and models are freed after every arm.
        claims: Callable `results -> [Verdict]`, where `results` is the content of
            results.json: `results["arms"]` are the arguments and measurements of all
            arms (`select` picks some), `results["config"]` are the flags. At least
            one, unless the flags leave out what it needs.
        tables: Callable `results -> [Table]`.
        figures: dict. By name, callables `results -> figure` such as `Curves`, which
            return `None` where there is nothing to draw.
    """

    file: str
    settings: type
    arms: Callable
    measure: Callable
    claims: Callable
    tables: Callable
    figures: dict

    @property
    def name(self):
        path = pathlib.Path(self.file)
        return path.parent.name if path.stem == "__main__" else path.stem

    @property
    def words(self):
        path = pathlib.Path(self.file)
        name = "words" if path.stem == "__main__" else path.stem
        return Words(path.with_name(f"{name}.md"))

    def start(self):
        """Runs the recipe from the command line."""
        self.define_flags()
        app.run(self.main)

    def define_flags(self, flag_values=flags.FLAGS):
        command_line.define(self.settings, flag_values)
        command_line.define_output_dir(self.name, flag_values)

    def main(self, argv, flag_values=flags.FLAGS):
        """Runs what parsed flags ask for; their mistakes end it with one line."""
        output_dir = flag_values["output_dir"].value
        with command_line.one_line_ends(self.name, output_dir):
            with command_line.one_line_errors(self.name):
                asked = command_line.parse(self.settings, argv, flag_values)
                arms = _with_ids(self.arms(asked))
                config = dataclasses.asdict(asked)
                results = Results(output_dir, self.name, config)
            self.run(asked, arms, results)

    def run(self, asked, arms, results):
        """Measures what is not on disk yet. Returns the content of results.json.

        Args:
            asked: An instance of `settings`.
            arms: dict. The arguments of every arm by its id.
            results: `recipes.common.experiment.results.Results`.
        """
        progress = Progress(len(arms))
        for arm_id, arguments in arms.items():
            if results.arm(arm_id) is not None:
                progress.skip(1)
                continue
            progress.start(arm_id)
            start = time.perf_counter()
            # No arm depends on those before it.
            keras.utils.set_random_seed(asked.seed)
            measured = self.measure(asked, **arguments)
            seconds = round(time.perf_counter() - start, 3)
            results.add({"id": arm_id, **arguments, **measured, "seconds": seconds})
            # Networks would pile up: they hold themselves in cycles.
            keras.utils.clear_session()
            progress.advance(1)
            progress.write(_describe(arm_id, measured))
        progress.finish()
        return self.publish(results, list(arms))

    def publish(self, results, arm_ids):
        """Writes results, figures and report, and prints tables and claims."""
        words = self.words
        content = results.content(words.title, arm_ids)
        claims = [words.claim(verdict, content) for verdict in self.claims(content)]
        tables = [words.table(table, content) for table in self.tables(content)]
        figures = [words.figure(*item, content) for item in self.figures.items()]
        content["claims"] = [dataclasses.asdict(claim) for claim in claims]
        results.finish(content, _rows(content["arms"]))
        drawn = draw_all(figures, content, results.path)
        path = report.write_report(
            "experiment.html",
            content,
            drawn,
            results.path,
            claims=claims,
            tables=tables,
            method=words.method(content),
        )
        for table in tables:
            print(f"\n{table.title}\n\n{table.text()}")
        print(f"\n{format_claims(claims)}\n\nReport: {path}", flush=True)
        return content


def grid(**values):
    """Arms for every combination of values; the last name changes fastest.

    Example:

    >>> grid(scheme=("fixup", "rezero"), depth=(2,))
    [{'scheme': 'fixup', 'depth': 2}, {'scheme': 'rezero', 'depth': 2}]
    """
    combinations = itertools.product(*values.values())
    return [dict(zip(values, chosen, strict=True)) for chosen in combinations]


def _with_ids(arms):
    """The arms by an id that is made of their arguments, and names their file."""
    ids = ("-".join(_word(*item) for item in arm.items()) for arm in arms)
    by_id = {check_file_name(x): arm for x, arm in zip(ids, arms, strict=True)}
    if len(by_id) < len(arms):
        raise ValueError("Two arms have the same arguments.")
    return by_id


def _word(name, value):
    return value if isinstance(value, str) else f"{name}{value!r}"


def _describe(arm_id, measured):
    """A finished arm in one line: its numbers that are not lists."""
    numbers = [
        f"{name.replace('_', ' ')} {format_number(float(value))}"
        for name, value in measured.items()
        if not hasattr(value, "__len__") and value is not None
    ]
    return f"{arm_id}  {', '.join(numbers)}".rstrip()


def _rows(arms):
    """The rows of results.csv: what is neither a list nor a dict."""
    rows = [
        {name: x for name, x in arm.items() if not isinstance(x, (list, dict))}
        for arm in arms
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]

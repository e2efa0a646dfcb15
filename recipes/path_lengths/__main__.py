"""Which paths through a residual network carry its gradient, the short or the long?

A 4-block network is expanded into its 16 paths. Then networks of 54 blocks are trained,
and their gradient is taken apart by the length of the paths that it comes through: by
sampling single paths, as Veit et al. did, and exactly.

    python -m recipes.path_lengths
    python -m recipes.path_lengths --schemes=scaled_residual,rezero --epochs=20

Results go to --output_dir: report.html, PNGs, results.csv and results.json.

References:

* [Veit et al., 2016](https://arxiv.org/abs/1605.06431), sections 4 and 5.
* Prince, Understanding Deep Learning, chapter 11.
"""

import dataclasses
import math

import numpy as np

import fixinit
from fixinit import diagnostics
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Table, Verdict, by, format_spread, setting
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.common.plotting.variants import Schemes
from recipes.common.training import initial
from recipes.common.training.residual_mlps import residual_mlp_runs
from recipes.path_lengths.paths import BLOCKS, LENGTHS, band, expand, fraction_of_paths

EXPANDED = "expanded"
# What "almost all" is taken to be.
ALMOST_ALL = 0.9


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    dataset: str = setting("mnist1d", "Data set; flattened.", check=datasets.load)
    schemes: tuple[str, ...] = setting(
        ("batch_norm", "fixup"),
        "Schemes of the networks that are trained.",
        choices=fixinit.schemes.names(),
    )
    num_blocks: int = setting(BLOCKS, "Residual blocks.", quick=12)
    units: int = setting(64, "Width of every layer.", quick=16)
    epochs: int = setting(10, "Epochs of training.", quick=2)
    runs: int = setting(3, "Seeds of every network.", quick=2, at_least=2)
    learning_rate: float = setting(0.05, "Learning rate, with momentum 0.9.")
    batch_size: int = setting(100, "Samples in a training step.")
    paths: int = setting(250, "Paths sampled of every length.", quick=50)


def arms(settings):
    return experiment.grid(network=(EXPANDED, *settings.schemes))


def measure(settings, network):
    if network == EXPANDED:
        return expand(settings)
    runs = residual_mlp_runs(settings, scheme=network)
    sampled = diagnostics.PathGradients(runs.model, runs.loss)
    exact = diagnostics.PathTotals(runs.model, runs.loss)
    x, y = initial.probe(runs.data)
    found = {"accuracy": [], "path_norm": [], "sampled": [], "exact": []}
    for seed in range(settings.seed, settings.seed + settings.runs):
        epochs = runs.run_to_the_end(settings.learning_rate, seed, settings.epochs)
        paths = sampled(x, y, num_samples=settings.paths, seed=seed)
        found["accuracy"].append(epochs[-1]["test_accuracy"])
        found["path_norm"].append(paths.norm)
        found["sampled"].append(paths.share)
        found["exact"].append(exact(x, y).share)
    return found


def span(results):
    return band(results["config"]["num_blocks"])


def in_band(arm, name):
    """The share of the lengths of Veit et al., in every run."""
    shares = np.array(arm[name])
    shortest, longest = band(shares.shape[1] - 1)
    return shares[:, shortest : longest + 1].sum(axis=1)


def mean_length(arm, name):
    """Mean number of branches on a path, weighted by share, in every run."""
    shares = np.array(arm[name])
    return shares @ np.arange(shares.shape[1])


def decay(arm):
    """`(factor, R^2)`: what one more branch does to the gradient of a path."""
    norms = np.array(arm["path_norm"]).mean(axis=0)
    norms = norms[norms > np.finfo("float32").tiny]
    lengths = np.arange(len(norms))
    slope, _ = np.polyfit(lengths, np.log(norms), 1)
    return math.exp(slope), np.corrcoef(lengths, np.log(norms))[0, 1] ** 2


def is_trained(arm):
    return arm["network"] != EXPANDED


def label(arm):
    return Schemes()[arm["network"]].label


def tables(results):
    def percent(values):
        return format_spread(100 * np.array(values), ".1f")

    lengths = "{} to {} (%)".format(*span(results))
    columns = {
        "scheme": label,
        "accuracy (%)": lambda arm: percent(arm["accuracy"]),
        "factor": lambda arm: decay(arm)[0],
        "norms: length": lambda arm: format_spread(mean_length(arm, "sampled")),
        f"norms: {lengths}": lambda arm: percent(in_band(arm, "sampled")),
        "exact: length": lambda arm: format_spread(mean_length(arm, "exact")),
        f"exact: {lengths}": lambda arm: percent(in_band(arm, "exact")),
    }
    return [Table.of("shares", filter(is_trained, results["arms"]), columns)]


def claims(results):
    expanded = by(results, "network")[EXPANDED]
    counts = expanded["paths"], expanded["paths_through_first"]
    error = max(expanded["error"], expanded["error_through_first"])
    yield Verdict("sixteen", counts == (16, 8) and error < 1e-5, expanded=expanded)
    count, part = fraction_of_paths(BLOCKS, *LENGTHS)
    held = count == 81_725_384_002_200 and abs(part - 0.004537) < 5e-7
    yield Verdict("binomial", held, count=count, part=part)
    lengths = span(results)
    _, part = fraction_of_paths(results["config"]["num_blocks"], *lengths)
    for arm in filter(is_trained, results["arms"]):
        factor, fit = decay(arm)
        numbers = {"label": label(arm), "lengths": lengths, "part": part}
        held = factor < 1 and fit > 0.95
        yield Verdict("falls", held, factor=factor, fit=fit, **numbers)
        for name in ("sampled", "exact"):
            share = in_band(arm, name)
            numbers |= {"percent": 100 * share, "mean": mean_length(arm, name)}
            yield Verdict(name, share.mean() > ALMOST_ALL, **numbers)


def share_of_paths(arm):
    """The part of all paths that is of each length: a binomial distribution."""
    num_blocks = len(arm["exact"][0]) - 1
    return [fraction_of_paths(num_blocks, k, k)[1] for k in range(num_blocks + 1)]


def norms(arm):
    """Norms by length, in every run; they end where float32 underflows."""
    found = np.array(arm["path_norm"])
    return np.where(found > 0, found, np.nan)


GREY = {"color": "#bbbbbb", "linestyle": "-", "marker": "", "linewidth": 4}
AXES = {"xlabel": "branches on the path", "ylabel": "share"}
SHARES = Panel(
    (
        Line(share_of_paths, label="of all paths", look=GREY),
        Line("sampled", label="of the norms (Veit)", look={"linestyle": "--"}),
        Line("exact", label="of the gradient, exactly", look={"linestyle": "-"}),
    ),
    AXES,
    strips={"5/54 to 17/54 of the blocks": span},
    only=is_trained,
)
NORMS = Panel(
    Line(norms),
    AXES | {"ylabel": "gradient norm of one path", "yscale": "log"},
    only=is_trained,
)
FIGURES = {
    "shares": Curves(
        SHARES,
        "network",
        facet="network",
        facet_title=Schemes(),
        facets=10,
        share="",
        stagger=False,
    ),
    "norms": Curves(NORMS, "network"),
}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()

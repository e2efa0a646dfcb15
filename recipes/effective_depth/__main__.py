"""How much of a network's output does block l contribute, and what changes that?

The share of every block in the variance that it puts out, at initialization and after
training, with BatchNorm, with gamma = 2 in its last block, with Fixup and with scaled
branches; and how many branches that makes the network deep in effect.

    python -m recipes.effective_depth
    python -m recipes.effective_depth --num_blocks=50 --dataset=digits

Results go to --output_dir: report.html, PNGs, results.csv and results.json.

References:

* [De and Smith, 2020](https://arxiv.org/abs/2002.10444).
* Prince, Understanding Deep Learning, chapter 11.
"""

import dataclasses

import keras
import numpy as np

import fixinit
from fixinit import diagnostics
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Table, Verdict, by, format_spread, setting
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.common.plotting.panels import PREDICTION
from recipes.common.plotting.variants import Schemes
from recipes.common.training import initial
from recipes.common.training.residual_mlps import residual_mlp_runs
from recipes.effective_depth import laws

# How far a measurement may be from what is claimed, as a part of it.
TOLERANCE = 0.1
MOMENTS = {"initial": "before", "gamma": "gamma = 2", "trained": "after"}


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    dataset: str = setting("mnist1d", "Data set; flattened.", check=datasets.load)
    schemes: tuple[str, ...] = setting(
        ("batch_norm", "fixup", "scaled_residual"),
        "Schemes of the networks.",
        choices=fixinit.schemes.names(),
    )
    num_blocks: int = setting(20, "Residual blocks.", quick=4, at_least=3)
    units: int = setting(128, "Width of every layer.", quick=32)
    epochs: int = setting(10, "Epochs of training.", quick=2)
    runs: int = setting(3, "Seeds of every network.", quick=2, at_least=2)
    learning_rate: float = setting(0.02, "Learning rate, with momentum 0.9.")
    batch_size: int = setting(100, "Samples in a training step.")


def arms(settings):
    return experiment.grid(scheme=settings.schemes)


def measure(settings, scheme):
    runs = residual_mlp_runs(settings, scheme=scheme)
    depth = diagnostics.EffectiveDepth(runs.model, runs.loss, training=True)
    x, y = initial.probe(runs.data)
    found = []
    for seed in range(settings.seed, settings.seed + settings.runs):
        runs.reset(settings.learning_rate, seed)
        # A head that starts at zero passes no gradient.
        run = named("initial", depth(x, y, gradient=scheme != "fixup"))
        if scheme == "batch_norm":
            with_gamma(runs.model, laws.GAMMA)
            run |= named("gamma", depth(x, gradient=False))
        epochs = runs.run_to_the_end(settings.learning_rate, seed, settings.epochs)
        run |= named("trained", depth(x, y))
        found.append({"accuracy": epochs[-1]["test_accuracy"], **run})
    return {name: [run[name] for run in found] for name in found[0]}


def named(moment, shares):
    """What was measured, by names that begin with when it was."""
    found = dataclasses.asdict(shares).items()
    return {f"{moment}_{name}": x for name, x in found if x is not None}


def with_gamma(model, gamma):
    """Gives the last normalization of the last block this scale."""
    (stack,) = (x for x in model.layers if isinstance(x, fixinit.layers.Stack))
    # One variable for all blocks, and the last of them is that before the last weight.
    scale = [v for v in stack.trainable_variables if v.name == "gamma"][-1]
    value = np.array(keras.ops.convert_to_numpy(scale))
    value[-1] = gamma
    scale.assign(value)


def tables(results):
    def row(arm, moment):
        share = np.array(arm[f"{moment}_share"])
        depths = (arm.get(f"{moment}_{name}") for name in ("depth", "gradient_depth"))
        cells = (format_spread(v, ".3f") for v in (share[:, 0], share[:, -1], *depths))
        return (Schemes()[arm["scheme"]].label, MOMENTS[moment], *cells)

    measured = [(a, m) for a in results["arms"] for m in MOMENTS if f"{m}_depth" in a]
    last = f"block {results['config']['num_blocks']}"
    columns = ("scheme", "training", "block 1", last, "by variance", "by gradient")
    return [Table("shares", columns, [row(*item) for item in measured], labels=2)]


def claims(results):
    found = by(results, "scheme")
    if "batch_norm" in found:
        yield from claims_about_batch_norm(found["batch_norm"])
    if "fixup" in found:
        arm = found["fixup"]
        before, after = arm["initial_depth"], arm["trained_depth"]
        held = np.abs(before).max() < 1e-6 and min(after) > 0
        yield Verdict("fixup", held, before=np.mean(before), arm=arm)
    if "scaled_residual" in found:
        shares = np.mean(found["scaled_residual"]["initial_share"], axis=0)
        bound = 1 / (len(shares) + 1)
        held = shares.max() < bound and shares[-1] >= shares[0]
        yield Verdict("scaled_residual", held, shares=shares, bound=bound)


def claims_about_batch_norm(arm):
    """What is claimed of the network with BatchNorm."""

    def is_close(measured, expected):
        return abs(np.mean(measured) / expected - 1) < TOLERANCE

    slope, error, constant = laws.law(arm["initial_share"])
    numbers = {"slope": slope, "error": error, "constant": constant}
    yield Verdict("law", is_close(slope, 1), **numbers)
    expected = laws.expected_with_gamma(arm)
    before, after = (np.array(arm[f"{m}_share"])[:, -1] for m in ("initial", "gamma"))
    numbers = {"before": before, "after": after, "expected": expected}
    yield Verdict("gamma", is_close(after, expected), **numbers)
    bound = laws.largest_depth(arm)
    for name, word in (("depth", "variance"), ("gradient_depth", "gradient")):
        depth = arm[f"initial_{name}"]
        held = np.mean(depth) <= bound
        yield Verdict("logarithm", held, word=word, depth=depth, bound=bound)
    held = is_close(arm["trained_depth"], np.mean(arm["initial_depth"]))
    shares = np.mean(arm["trained_share"], axis=0)
    yield Verdict("training", held, arm=arm, shares=shares)


def last_block(arm):
    return laws.blocks(arm)[-1]


def positive(moment):
    return lambda arm: np.maximum(arm[f"{moment}_share"], 0)


def gamma_share(arm):
    return np.mean(arm["gamma_share"], axis=0)[-1]


def if_gamma(compute):
    """A function of arms with gamma = 2; of others there is nothing to draw."""
    return lambda arm: compute(arm) if "gamma_share" in arm else None


STAR = {"marker": "*", "linestyle": "", "markersize": 13}
DASH = {"color": "black", "marker": "_", "linestyle": "", "markersize": 13}
DASH |= {"markeredgecolor": "black", "markeredgewidth": 1.4}
LINES = (
    Line(positive("initial"), None, "before training", {"linestyle": "--"}, first=1),
    Line(positive("trained"), None, "after training", {"linestyle": "-"}, first=1),
    Line(if_gamma(gamma_share), last_block, "with gamma = 2", STAR),
    Line(if_gamma(laws.law_shares), None, "1/(l + c)", PREDICTION, first=1),
    Line(if_gamma(laws.expected_with_gamma), last_block, "4/(l + c + 3)", DASH),
)
AXES = {"xlabel": "block", "ylabel": "share of the block's output variance"}
GRADIENT = {"xlabel": "block", "ylabel": "share of the gradient"}
FIGURES = {
    "shares": Curves(
        Panel(LINES, AXES | {"ylim": (0, None)}),
        facet="scheme",
        facet_title=Schemes(),
        facets=10,
        stagger=False,
    ),
    "gradient_shares": Curves(
        Panel(Line("trained_gradient_share", first=1), GRADIENT, levels={"": 0})
    ),
}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()

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
import itertools
import math

import numpy as np
from matplotlib.lines import Line2D

import fixinit
from fixinit import diagnostics
from fixinit.diagnostics.paths import ChainGradient, backward_only
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Claim
from recipes.common.experiment.reading import select
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table, format_number, format_percent
from recipes.common.plotting import panels, style
from recipes.common.training import families, initial
from recipes.common.training.runs import Runs

EXPANDED = "expanded"
# Veit et al.: 5 to 17 of the 54 blocks of a ResNet-110 carry almost all gradient.
BLOCKS, SHORTEST, LONGEST = 54, 5, 17
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
    return [{"network": network} for network in (EXPANDED, *settings.schemes)]


def measure(settings, network):
    data = families.get("residual_mlp").adapt(datasets.load(settings.dataset))
    if network == EXPANDED:
        return expand(settings, data)

    def build(seed):
        return families.residual_mlp(
            data,
            settings.num_blocks,
            settings.units,
            scheme=network,
            seed=seed,
            stacked=True,
        )

    runs = Runs(build, data, settings.batch_size, settings.seed)
    sampled = diagnostics.PathGradients(runs.model, runs.loss)
    exact = diagnostics.PathTotals(runs.model, runs.loss)
    x, y = initial.probe(data)
    found = []
    for seed in range(settings.seed, settings.seed + settings.runs):
        epochs = runs.run_to_the_end(settings.learning_rate, seed, settings.epochs)
        paths = sampled(x, y, num_samples=settings.paths, seed=seed)
        totals = exact(x, y)
        found.append(
            {
                "accuracy": epochs[-1]["test_accuracy"],
                "path_norm": paths.norm.tolist(),
                "sampled": paths.share.tolist(),
                "exact": totals.share.tolist(),
            }
        )
    return {name: [run[name] for run in found] for name in found[0]}


def expand(settings, data):
    """The 16 paths of a real network of 4 blocks, one backward pass for each."""
    model = fixinit.models.ResidualMLP(
        4,
        settings.units,
        scheme="scaled_residual",
        input_shape=data.input_shape,
        classes=data.num_classes,
        seed=settings.seed,
    )
    x, _ = initial.probe(data)
    gradient = ChainGradient(model, None, _select).on([x])

    def through(branches, shortcuts):
        return gradient(np.stack([branches, shortcuts], axis=1)).astype("float64")

    masks = np.array(list(itertools.product((0, 1), repeat=4)))
    paths = np.stack([through(mask, 1 - mask) for mask in masks])
    ones = np.ones(4)
    whole, without = through(ones, ones), through(np.arange(4) > 0, ones)
    first = masks[:, 0] == 1
    return {
        "paths": len({path.tobytes() for path in paths if path.any()}),
        "paths_through_first": int(first.sum()),
        "error": _distance(paths.sum(axis=0), whole),
        "error_through_first": _distance(paths[first].sum(axis=0), whole - without),
    }


def _select(tensors, shortcut, control):
    """Gradients times the first number in branches, the second in the shortcut."""
    return [
        backward_only(x, control[int(index == shortcut)] * x)
        for index, x in enumerate(tensors)
    ]


def _distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def band(num_blocks):
    """The lengths of Veit et al., in proportion for networks of other depths."""
    return tuple(round(k * num_blocks / BLOCKS) for k in (SHORTEST, LONGEST))


def fraction_of_paths(num_blocks, shortest, longest):
    """`(count, part)` of the paths of these lengths."""
    count = sum(math.comb(num_blocks, k) for k in range(shortest, longest + 1))
    return count, count / 2**num_blocks


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


def trained(results):
    return [arm for arm in results["arms"] if arm["network"] != EXPANDED]


def _label(arm):
    return style.scheme_style(arm["network"])["label"]


def _spread(values):
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


def tables(results):
    shortest, longest = band(results["config"]["num_blocks"])
    rows = [
        (
            _label(arm),
            _percent(np.array(arm["accuracy"])),
            format_number(decay(arm)[0]),
            _spread(mean_length(arm, "sampled")),
            _percent(in_band(arm, "sampled")),
            _spread(mean_length(arm, "exact")),
            _percent(in_band(arm, "exact")),
        )
        for arm in trained(results)
    ]
    columns = ("scheme", "accuracy (%)", "factor")
    for name in ("norms", "exact"):
        columns += (f"{name}: length", f"{shortest} to {longest} (%)")
    note = (
        "Mean and standard deviation over runs. Accuracy: on the test set. Factor: "
        "what one more branch does to the gradient of a single path. Length: mean "
        "number of branches on a path, weighted by its share of the gradient; by "
        "norms, that of single paths times their number; exact, what all of them add "
        "to the gradient. Beside it, the share of the lengths of Veit et al."
    )
    return [Table("Where the gradient comes through", columns, rows, note)]


def _percent(values):
    return format_percent(values.mean(), values.std(ddof=1))


def claims(results):
    (expanded,) = select(results, network=EXPANDED)
    count, part = fraction_of_paths(BLOCKS, SHORTEST, LONGEST)
    found = [
        Claim(
            "Through 4 blocks lead 16 paths, and 8 of them through block 1.",
            (expanded["paths"], expanded["paths_through_first"]) == (16, 8)
            and max(expanded["error"], expanded["error_through_first"]) < 1e-5,
            f"{expanded['paths']} different gradients, whose sum is the network's "
            f"(relative error {expanded['error']:.0e}); "
            f"{expanded['paths_through_first']} of them make up what is lost when "
            f"block 1 is blocked ({expanded['error_through_first']:.0e})",
        ),
        Claim(
            "Path lengths are binomial: 5 to 17 of 54 blocks are 0.45 % of all paths.",
            count == 81_725_384_002_200 and abs(part - 0.004537) < 5e-7,
            f"counted, not measured: {count:,} of 2^54, {100 * part:.4f} %",
        ),
    ]
    return found + [
        claim for arm in trained(results) for claim in claims_of(arm, results)
    ]


def claims_of(arm, results):
    """What is claimed of one trained network."""
    label, num_blocks = _label(arm), results["config"]["num_blocks"]
    shortest, longest = band(num_blocks)
    factor, fit = decay(arm)
    sampled, exact = in_band(arm, "sampled"), in_band(arm, "exact")
    _, part = fraction_of_paths(num_blocks, shortest, longest)
    lengths = [mean_length(arm, name) for name in ("sampled", "exact")]
    return [
        Claim(
            f"{label}: the gradient along a path falls exponentially with the number "
            "of branches on it.",
            factor < 1 and fit > 0.95,
            f"x{factor:.3g} per branch; a straight line in the logarithm explains "
            f"{100 * fit:.1f} % of the variance",
        ),
        Claim(
            f"{label}: by the protocol of Veit et al., paths of {shortest} to "
            f"{longest} of {num_blocks} blocks carry almost all of the gradient.",
            sampled.mean() > ALMOST_ALL,
            f"{_percent(sampled)} % of it, with {100 * part:.2g} % of the paths; mean "
            f"length {_spread(lengths[0])}",
        ),
        Claim(
            f"{label}: they still do once gradients of opposite signs have cancelled.",
            exact.mean() > ALMOST_ALL,
            f"{_percent(exact)} % of it; mean length {_spread(lengths[1])}",
        ),
    ]


def draw_shares(results):
    arms = trained(results)
    figure, axes = style.new_figure(1, len(arms), row_height=3.4)
    num_blocks = results["config"]["num_blocks"]
    lengths = np.arange(num_blocks + 1)
    paths = [math.comb(num_blocks, k) / 2**num_blocks for k in lengths.tolist()]
    for axis, arm in zip(axes[0], arms, strict=True):
        scheme = arm["network"]
        axis.fill_between(lengths, paths, color="#bbbbbb", linewidth=0, zorder=1)
        panels.draw_curves(axis, lengths, arm["sampled"], scheme, 0, 2, "--")
        panels.draw_curves(axis, lengths, arm["exact"], scheme, 1, 2, "-")
        axis.axvspan(*band(num_blocks), color="#ececec", linewidth=0, zorder=0)
        axis.set_title(_label(arm))
        axis.set_xlabel("branches on the path")
        axis.set_xlim(0, num_blocks)
    axes[0, 0].set_ylabel("share")
    shortest, longest = band(num_blocks)
    strip = f"{shortest} to {longest} branches"
    panels.legend_below(
        figure,
        [
            Line2D([], [], color="#bbbbbb", lw=7, label="of all paths"),
            Line2D([], [], color=style.INK, ls="--", label="of the norms (Veit)"),
            Line2D([], [], color=style.INK, label="of the gradient, exactly"),
            Line2D([], [], color="#ececec", lw=7, label=strip),
        ],
    )
    return figure


def draw_norms(results):
    figure, axes = style.new_figure(1, 1, row_height=3.2)
    arms = trained(results)
    for index, arm in enumerate(arms):
        norms = np.array(arm["path_norm"])
        norms = np.where(norms > 0, norms, np.nan)
        lengths = np.arange(norms.shape[1])
        panels.draw_curves(
            axes[0, 0], lengths, norms.tolist(), arm["network"], index, len(arms)
        )
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_xlabel("branches on the path")
    axes[0, 0].set_ylabel("gradient norm of one path")
    handles = [panels.scheme_handle(arm["network"]) for arm in arms]
    panels.legend_below(figure, handles)
    return figure


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=arms,
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"shares": draw_shares, "norms": draw_norms},
)

if __name__ == "__main__":
    EXPERIMENT.start()

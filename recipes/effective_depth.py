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
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

import fixinit
from fixinit import diagnostics
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Claim
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table, format_number
from recipes.common.plotting import panels, style
from recipes.common.training import families, initial
from recipes.common.training.runs import Runs

GAMMA = 2.0
# How far a measurement may be from what is claimed, as a part of it.
TOLERANCE = 0.1


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
    return [{"scheme": scheme} for scheme in settings.schemes]


def measure(settings, scheme):
    data = families.get("residual_mlp").adapt(datasets.load(settings.dataset))

    def build(seed):
        return families.residual_mlp(
            data,
            settings.num_blocks,
            settings.units,
            scheme=scheme,
            seed=seed,
            stacked=True,
        )

    runs = Runs(build, data, settings.batch_size, settings.seed)
    depth = diagnostics.EffectiveDepth(runs.model, runs.loss, training=True)
    x, y = initial.probe(data)
    found = []
    for seed in range(settings.seed, settings.seed + settings.runs):
        runs.reset(settings.learning_rate, seed)
        # A head that starts at zero passes no gradient.
        has_gradient = scheme != "fixup"
        run = {"initial": depth(x, y, gradient=has_gradient)}
        if scheme == "batch_norm":
            with_gamma(runs.model, GAMMA)
            run["gamma"] = depth(x, gradient=False)
        epochs = runs.run_to_the_end(settings.learning_rate, seed, settings.epochs)
        run["trained"] = depth(x, y)
        run["accuracy"] = epochs[-1]["test_accuracy"]
        found.append(run)
    return _by_moment(found)


def _by_moment(found):
    """Dicts of lists over runs, as JSON holds them."""
    result = {"accuracy": [run.pop("accuracy") for run in found]}
    for moment in found[0]:
        for name in (f.name for f in dataclasses.fields(found[0][moment])):
            values = [getattr(run[moment], name) for run in found]
            if values[0] is not None:
                result[f"{moment}_{name}"] = np.array(values).tolist()
    return result


def with_gamma(model, gamma):
    """Gives the last normalization of the last block this scale."""
    (stack,) = (x for x in model.layers if isinstance(x, fixinit.layers.Stack))
    # One variable for all blocks, and the last of them is that before the last weight.
    scale = [v for v in stack.trainable_variables if v.name == "gamma"][-1]
    value = np.array(keras.ops.convert_to_numpy(scale))
    value[-1] = gamma
    scale.assign(value)


def law(shares):
    """`(slope, error, constant)` of 1 / share = slope * l + constant, over runs."""
    lines = [np.polyfit(np.arange(1, len(s) + 1), 1 / np.array(s), 1) for s in shares]
    slope, constant = np.mean(lines, axis=0)
    return slope, np.std(lines, axis=0, ddof=1)[0] / len(lines) ** 0.5, constant


def expected_last(shares, gamma):
    """The last block's share where its branch is `gamma` times as large."""
    last = np.array(shares)[:, -1]
    return gamma**2 * last / (1 - last + gamma**2 * last)


def tables(results):
    rows = []
    for arm in results["arms"]:
        for moment in ("initial", "gamma", "trained"):
            if f"{moment}_depth" not in arm:
                continue
            share = np.array(arm[f"{moment}_share"])
            rows.append(
                (
                    _label(arm["scheme"]),
                    {"gamma": "gamma = 2", "initial": "before"}.get(moment, "after"),
                    *(_spread(share[:, i]) for i in (0, -1)),
                    _spread(np.array(arm[f"{moment}_depth"])),
                    _spread(np.array(arm.get(f"{moment}_gradient_depth", [np.nan]))),
                )
            )
    num_blocks = results["config"]["num_blocks"]
    columns = ("scheme", "training")
    columns += ("block 1", f"block {num_blocks}", "by variance", "by gradient")
    note = (
        "Shares of the first and the last block in the variance that they put out, and "
        "effective depth: mean number of branches on a path, weighted by variance or "
        "by gradient. Mean and "
        "standard deviation over runs. A dash: Fixup's head starts at zero and passes "
        "no gradient; with gamma = 2 none was taken."
    )
    return [Table("Shares and effective depths", columns, rows, note, labels=2)]


def _spread(values):
    if np.isnan(values).any():
        return format_number(np.nan)
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"


def _label(scheme):
    return style.scheme_style(scheme)["label"]


def claims(results):
    by_scheme = {
        "batch_norm": lambda arm: [
            _law_claim(arm),
            _gamma_claim(arm),
            *_logarithm_claims(arm),
            _training_claim(arm),
        ],
        "fixup": lambda arm: [_identity_claim(arm)],
        "scaled_residual": lambda arm: [_scaled_claim(arm)],
    }
    return [
        claim
        for arm in results["arms"]
        if arm["scheme"] in by_scheme
        for claim in by_scheme[arm["scheme"]](arm)
    ]


def _law_claim(arm):
    slope, error, constant = law(arm["initial_share"])
    return Claim(
        "BatchNorm, before training: every branch adds the same variance, so that the "
        "share of block l is 1/(l + c), where c is the variance of the first block's "
        "input in units of a branch's (c = 1 in the book). To within 10 %.",
        abs(slope - 1) < TOLERANCE,
        f"1/share = {slope:.3f} l + {constant:.2f}, standard error of the slope "
        f"{error:.3f}",
    )


def _gamma_claim(arm):
    expected = expected_last(arm["initial_share"], GAMMA).mean()
    measured = np.array(arm["gamma_share"])[:, -1]
    before = np.array(arm["initial_share"])[:, -1]
    return Claim(
        "BatchNorm: gamma = 2 in the last block makes four times its variance, and its "
        "share 4/(l + c + 3). To within 10 %.",
        abs(measured.mean() / expected - 1) < TOLERANCE,
        f"from {_spread(before)} to {_spread(measured)}, expected {expected:.3f}",
    )


def _logarithm_claims(arm):
    count = np.array(arm["initial_share"]).shape[1]
    bound = sum(1 / (block + 1) for block in range(1, count + 1))
    for name, word in (("depth", "variance"), ("gradient_depth", "gradient")):
        depth = np.array(arm[f"initial_{name}"])
        yield Claim(
            f"BatchNorm, before training: by {word}, {count} blocks are in effect no "
            f"deeper than 1/2 + 1/3 + ... + 1/{count + 1}.",
            depth.mean() <= bound,
            f"{_spread(depth)} branches on a path; the sum is {bound:.3f}",
        )


def _training_claim(arm):
    before, after = (
        np.array(arm[f"{moment}_depth"]) for moment in ("initial", "trained")
    )
    ends = np.array(arm["trained_share"]).mean(axis=0)
    return Claim(
        "BatchNorm: training leaves the effective depth by variance as it is, to "
        "within 10 %.",
        abs(after.mean() / before.mean() - 1) < TOLERANCE,
        f"effective depth by variance from {_spread(before)} to {_spread(after)}; "
        f"shares of the first and last block then {ends[0]:.3f} and {ends[-1]:.3f}",
    )


def _identity_claim(arm):
    before, after, backward = (
        np.array(arm[name])
        for name in ("initial_depth", "trained_depth", "trained_gradient_depth")
    )
    return Claim(
        "Fixup starts at depth 0 and gets deeper in training.",
        abs(before).max() < 1e-6 and (after > 0).all(),
        f"by variance from {before.mean():.1g} to {_spread(after)}, by gradient to "
        f"{_spread(backward)}",
    )


def _scaled_claim(arm):
    shares = np.array(arm["initial_share"]).mean(axis=0)
    count = len(shares)
    return Claim(
        "Branches scaled by 1/sqrt(L) count for at most 1/(L + 1) each, the last for "
        "no less than the first.",
        shares.max() < 1 / (count + 1) and shares[-1] >= shares[0],
        f"from {shares.min():.4f} to {shares.max():.4f}; 1/(L + 1) = "
        f"{1 / (count + 1):.4f}",
    )


EXPECTED = {"color": "black", "marker": "_", "ls": "", "ms": 13, "mew": 1.4}
EXPECTED["zorder"] = 6


def draw_shares(results):
    arms = results["arms"]
    figure, axes = style.new_figure(1, len(arms), row_height=3.4, sharey=True)
    for axis, arm in zip(axes[0], arms, strict=True):
        scheme = arm["scheme"]
        blocks = np.arange(1, results["config"]["num_blocks"] + 1)
        for index, (moment, line) in enumerate((("initial", "--"), ("trained", "-"))):
            curves = np.maximum(np.array(arm[f"{moment}_share"]), 0)
            panels.draw_curves(axis, blocks, curves.tolist(), scheme, index, 2, line)
        if "gamma_share" in arm:
            last = np.array(arm["gamma_share"])[:, -1].mean()
            color = style.scheme_style(scheme)["color"]
            axis.plot(blocks[-1:], [last], "*", color=color, markersize=11, zorder=5)
            expected = expected_last(arm["initial_share"], GAMMA).mean()
            axis.plot(blocks[-1:], [expected], **EXPECTED)
            constant = law(arm["initial_share"])[2]
            panels.draw_prediction(axis, blocks, 1 / (blocks + constant))
        axis.set_title(_label(scheme))
        axis.set_xlabel("block")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("share of the block's output variance")
    axes[0, 0].set_ylim(bottom=0)
    panels.legend_below(
        figure,
        [
            Line2D([], [], color=style.INK, ls="--", label="before training"),
            Line2D([], [], color=style.INK, label="after training"),
            Line2D([], [], color=style.INK, marker="*", ls="", label="with gamma = 2"),
            panels.prediction_handle("1/(l + c)"),
            Line2D([], [], label="4/(l + c + 3)", **EXPECTED),
        ],
    )
    return figure


def draw_gradient(results):
    figure, axes = style.new_figure(1, 1, row_height=3.2)
    blocks = np.arange(1, results["config"]["num_blocks"] + 1)
    schemes = [arm["scheme"] for arm in results["arms"]]
    for index, arm in enumerate(results["arms"]):
        curves = arm["trained_gradient_share"]
        panels.draw_curves(
            axes[0, 0], blocks, curves, arm["scheme"], index, len(schemes)
        )
    axes[0, 0].set_xlabel("block")
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("share of the gradient")
    axes[0, 0].set_ylim(bottom=min(0, axes[0, 0].get_ylim()[0]))
    panels.legend_below(figure, [panels.scheme_handle(scheme) for scheme in schemes])
    return figure


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=arms,
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"shares": draw_shares, "gradient_shares": draw_gradient},
)

if __name__ == "__main__":
    EXPERIMENT.start()

"""The largest depth that trains, with and without shortcuts and normalization.

For every network and learning rate: how many layers it may have before a few epochs no
longer teach it anything. The depth is quadrupled until no rate trains, and the gap then
bisected.

    python -m recipes.trainable_depth
    python -m recipes.trainable_depth --networks=plain,residual --resolution=1.1
    python -m recipes.trainable_depth --max_blocks=4096 --networks=fixup,batch_norm

Results go to --output_dir: report.html, PNGs, results.csv and results.json.

References:

* [He et al., 2016](https://arxiv.org/abs/1512.03385)
* Prince, Understanding Deep Learning, chapter 11: shortcuts about double the depth that
  trains, and normalization allows much more.
"""

import dataclasses
import functools
import math

import keras

from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Claim
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table
from recipes.common.plotting import panels, style
from recipes.common.training import families
from recipes.common.training.runs import Runs

# Arguments of the model, and how it is drawn.
NETWORKS = {
    "plain": ({"scheme": "unnormalized", "plain": True}, "Plain", "#1a1a1a"),
    "residual": ({"scheme": "unnormalized"}, "Residual", "#5b3a1e"),
    "plain_batch_norm": (
        {"scheme": "batch_norm", "plain": True},
        "Plain, BatchNorm",
        "#8a5fc4",
    ),
    "batch_norm": ({"scheme": "batch_norm"}, "Residual, BatchNorm", "#3b2f9b"),
    "fixup": ({"scheme": "fixup"}, "Residual, Fixup", "#c0242e"),
    "scaled_residual": (
        {"scheme": "scaled_residual"},
        "Residual, scaled",
        "#00877a",
    ),
}
# A network trains if its loss falls to this part of that of a guess.
BAR = 0.9


def known(network):
    if network not in NETWORKS:
        raise ValueError(
            f"--networks takes {', '.join(NETWORKS)}. Received: --networks={network}"
        )


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    networks: tuple[str, ...] = setting(
        ("plain", "residual", "batch_norm", "fixup", "scaled_residual"),
        f"Any of {', '.join(NETWORKS)}. Claims need the default ones.",
        check=known,
    )
    dataset: str = setting("mnist1d", "Data set; flattened.", check=datasets.load)
    learning_rates: tuple[float, ...] = setting(
        (0.01, 0.03, 0.1), "Learning rates, with momentum 0.9.", quick=(0.01,)
    )
    max_blocks: int = setting(
        256,
        "Greatest depth, in blocks of two layers. 4, 16, 64 and so on are tried.",
        quick=16,
        at_least=4,
    )
    resolution: float = setting(
        1.5, "Ratio of depths at which bisection stops.", quick=4.0, above=1
    )
    units: int = setting(32, "Width of every layer.")
    epochs: int = setting(3, "Epochs in which a network must learn something.")
    batch_size: int = setting(100, "Samples in a training step.")


def arms(settings):
    return [{"network": network} for network in settings.networks]


def measure(settings, network):
    data = families.get("residual_mlp").adapt(datasets.load(settings.dataset))
    bar = BAR * math.log(data.num_classes)
    losses = {}

    def trains(rate, num_blocks):
        """Whether it does at the rate of this index; all are tried at once."""
        if num_blocks not in losses:
            losses[num_blocks] = last_losses(settings, data, network, num_blocks)
        return losses[num_blocks][rate] < bar

    deepest, limits = [], []
    for rate in range(len(settings.learning_rates)):
        depth, is_limit = search(functools.partial(trains, rate), settings)
        deepest.append(depth)
        limits.append(is_limit)
    depths = sorted(losses)
    return {
        "deepest": max(deepest),
        "is_limit": all(limits),
        "deepest_at_rate": deepest,
        "is_limit_at_rate": limits,
        "bar": bar,
        "num_blocks": depths,
        "losses": [losses[depth] for depth in depths],
    }


def search(trains, settings):
    """The largest depth that trains, to the resolution of the settings.

    Args:
        trains: Callable `num_blocks -> bool`.
        settings: `Settings`.

    Returns:
        `(deepest, is_limit)`: the number of blocks, 0 if one block does not train, and
        `False` if the greatest depth that may be tried does.
    """
    deepest, limit = 0, 4
    while limit <= settings.max_blocks and trains(limit):
        deepest, limit = limit, 4 * limit
    if limit > settings.max_blocks:
        return deepest, False
    while limit / max(deepest, 1) > settings.resolution:
        middle = round(math.sqrt(max(deepest, 1) * limit))
        if middle in (deepest, limit):
            break
        deepest, limit = (middle, limit) if trains(middle) else (deepest, middle)
    return deepest, True


def last_losses(settings, data, network, num_blocks):
    """The training loss of the last epoch at every rate; infinite if it diverged."""

    def build(seed):
        return families.residual_mlp(
            data,
            num_blocks,
            settings.units,
            **NETWORKS[network][0],
            seed=seed,
            stacked=True,
        )

    runs = Runs(build, data, settings.batch_size, settings.seed, jit_compile=True)
    losses = []
    for rate in settings.learning_rates:
        epochs, diverged = runs.run(rate, settings.seed, settings.epochs, tests=False)
        losses.append(math.inf if diverged else epochs[-1]["train_loss"])
    keras.utils.clear_session()
    return losses


def layers(num_blocks):
    """Weight layers of a network: with stem and head, if it has any."""
    return 2 * num_blocks + 2 if num_blocks else 0


def largest(arm):
    """The largest number of layers at the best rate, as text."""
    return bound(arm["deepest"], arm["is_limit"])


def bound(num_blocks, is_limit):
    """A largest number of layers, as text: a bound where no depth failed."""
    return f"{'' if is_limit else '≥ '}{layers(num_blocks) or 'none'}"


def tables(results):
    rates = results["config"]["learning_rates"]
    rows = [
        (
            NETWORKS[arm["network"]][1],
            largest(arm),
            *map(bound, arm["deepest_at_rate"], arm["is_limit_at_rate"]),
        )
        for arm in results["arms"]
    ]
    columns = ("network", "any rate", *(f"rate {rate:g}" for rate in rates))
    note = (
        f"A network trains if the training loss of epoch {results['config']['epochs']} "
        f"is below {BAR:.0%} of that of a guess. ≥: the deepest that was tried trains. "
        "Every limit is bisected to a ratio of "
        f"{results['config']['resolution']:g}, from one seed."
    )
    return [Table("Largest number of layers that trains", columns, rows, note)]


def claims(results):
    found = {arm["network"]: arm for arm in results["arms"]}
    if not {"plain", "residual", "batch_norm", "fixup"} <= found.keys():
        return []
    plain, residual, normalized = (
        found[name] for name in ("plain", "residual", "batch_norm")
    )
    free = [found[n] for n in ("fixup", "scaled_residual") if n in found]
    ratio = layers(residual["deepest"]) / max(layers(plain["deepest"]), 1)
    gain = layers(normalized["deepest"]) / max(layers(residual["deepest"]), 1)
    least = min(free, key=lambda arm: arm["deepest"])
    return [
        Claim(
            "Shortcuts alone, with He's initialization, about double the depth that "
            "trains.",
            # To the resolution of the search.
            2 / results["config"]["resolution"]
            < ratio
            < 2 * results["config"]["resolution"],
            f"{largest(plain)} layers without and {largest(residual)} with them at the "
            f"best rate: {ratio:.2g} times as many",
        ),
        Claim(
            "BatchNorm in residual branches allows several times more.",
            gain > 4,
            f"{largest(normalized)} layers with it, {largest(residual)} without: "
            f"{'' if normalized['is_limit'] else 'at least '}{gain:.2g} times as many",
        ),
        Claim(
            "Without normalization, Fixup and scaled branches train at least as deep.",
            least["deepest"] >= normalized["deepest"],
            ", ".join(f"{NETWORKS[a['network']][1]}: {largest(a)} layers" for a in free)
            + f"; BatchNorm: {largest(normalized)}",
        ),
    ]


def draw_losses(results):
    figure, axes = style.new_figure(1, 1, row_height=3.8)
    (axis,) = axes[0]
    for arm in results["arms"]:
        _, label, color = NETWORKS[arm["network"]]
        best = [min(losses) for losses in arm["losses"]]
        depths = [layers(d) for d in arm["num_blocks"]]
        axis.plot(depths, best, color=color, marker="o", label=label)
        for depth, loss in zip(depths, best, strict=True):
            if math.isinf(loss):
                top = 1.06 * arm["bar"] / BAR
                axis.plot([depth], [top], "x", color=color, mew=2, clip_on=False)
    guess = results["arms"][0]["bar"] / BAR
    axis.axhline(guess, color=style.MUTED, linestyle=":", linewidth=1)
    axis.axhline(BAR * guess, color=style.MUTED, linestyle="--", linewidth=1)
    axis.set_ylim(top=1.1 * guess)
    axis.set_xscale("log", base=2)
    ticks = [4 * 2**i for i in range(10) if 4 * 2**i <= max(axis.get_xlim())]
    axis.set_xticks(ticks, ticks)
    axis.set_xlabel("weight layers")
    axis.set_ylabel("train loss at the best rate")
    panels.legend_below(figure, axis.get_legend_handles_labels()[0])
    return figure


def draw_rates(results):
    figure, axes = style.new_figure(1, 1, row_height=3.4)
    (axis,) = axes[0]
    rates = results["config"]["learning_rates"]
    for index, arm in enumerate(results["arms"]):
        _, label, color = NETWORKS[arm["network"]]
        depths = [layers(d) or math.nan for d in arm["deepest_at_rate"]]
        # Points that lie on each other are all seen.
        size = 13 - 9 * index / len(results["arms"])
        axis.plot(rates, depths, color=color, marker="o", ms=size, label=label)
    axis.set_xscale("log")
    axis.set_yscale("log", base=2)
    axis.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axis.minorticks_off()
    axis.set_xlabel("learning rate")
    axis.set_ylabel("largest number of layers that trains")
    panels.legend_below(figure, axis.get_legend_handles_labels()[0])
    return figure


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=arms,
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"losses": draw_losses, "rates": draw_rates},
)

if __name__ == "__main__":
    EXPERIMENT.start()

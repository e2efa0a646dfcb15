"""The largest depth that trains, with and without shortcuts and normalization.

For every network and learning rate: how many layers it may have before a few epochs no
longer teach it anything. The depth is quadrupled until no rate trains, and the gap then
bisected.

    python -m recipes.trainable_depth
    python -m recipes.trainable_depth --networks=plain,residual --resolution=1.1
    python -m recipes.trainable_depth --max_blocks=4096 --networks=fixup,batch_norm

References:

* [He et al., 2016](https://arxiv.org/abs/1512.03385)
* Prince, Understanding Deep Learning, chapter 11: shortcuts about double the depth that
  trains, and normalization allows much more.
"""

import dataclasses
import functools
import math

from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Table, Verdict, by, setting
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.common.plotting.panels import CROSS
from recipes.common.training import families
from recipes.trainable_depth.trials import NETWORKS, last_losses, search

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
    return experiment.grid(network=settings.networks)


def measure(settings, network):
    data = families.get("residual_mlp").adapt(datasets.load(settings.dataset))
    bar = BAR * math.log(data.num_classes)
    losses = {}

    def trains(rate, num_blocks):
        """Whether it does at the rate of this index; all are tried at once."""
        if num_blocks not in losses:
            losses[num_blocks] = last_losses(settings, data, network, num_blocks)
        return losses[num_blocks][rate] < bar

    rates = range(len(settings.learning_rates))
    found = [search(functools.partial(trains, rate), settings) for rate in rates]
    deepest, limits = map(list, zip(*found, strict=True))
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
    rates = [f"rate {rate:g}" for rate in results["config"]["learning_rates"]]
    rows = [
        (
            NETWORKS[arm["network"]].label,
            largest(arm),
            *map(bound, arm["deepest_at_rate"], arm["is_limit_at_rate"]),
        )
        for arm in results["arms"]
    ]
    return [Table("largest", ("network", "any rate", *rates), rows)]


def claims(results):
    found = by(results, "network")
    if not {"plain", "residual", "batch_norm", "fixup"} <= found.keys():
        return []
    deepest = {name: layers(arm["deepest"]) for name, arm in found.items()}
    ratio = deepest["residual"] / max(deepest["plain"], 1)
    gain = deepest["batch_norm"] / max(deepest["residual"], 1)
    free = [deepest[name] for name in ("fixup", "scaled_residual") if name in deepest]
    as_deep = min(free) >= deepest["batch_norm"]
    # To the resolution of the search.
    resolution = results["config"]["resolution"]
    doubled = 2 / resolution < ratio < 2 * resolution
    numbers = {"ratio": ratio, "gain": gain}
    numbers["largest"] = {name: largest(arm) for name, arm in found.items()}
    return [
        Verdict("shortcuts_double", doubled, **numbers),
        Verdict("batch_norm_allows_more", gain > 4, **numbers),
        Verdict("free_ones_are_as_deep", as_deep, **numbers),
    ]


def best_losses(arm):
    """The loss at the best rate, over that of a guess, at every depth."""
    return [min(losses) * BAR / arm["bar"] for losses in arm["losses"]]


def diverged(arm):
    """Where to mark depths at which every rate diverged."""
    return [1.06 if math.isinf(loss) else math.nan for loss in best_losses(arm)]


def over_depth(y, **options):
    return Line(
        y, lambda arm: [layers(depth) for depth in arm["num_blocks"]], **options
    )


def deepest_at_rates(arm):
    return [layers(depth) or math.nan for depth in arm["deepest_at_rate"]]


LOSSES = Panel(
    (
        over_depth(best_losses, look={"markevery": 1}),
        over_depth(diverged, label="diverged at every rate", look=CROSS),
    ),
    {
        "xlabel": "weight layers",
        "ylabel": "train loss at the best rate,\nover that of a guess",
        "xscale": "log2",
        "ylim": (0, 1.1),
    },
    {"guess": 1, "bar": BAR},
)
RATES = Panel(
    Line(deepest_at_rates, "learning_rates"),
    {
        "xlabel": "learning rate",
        "ylabel": "largest number of layers that trains",
        "xscale": "log2",
        "yscale": "log2",
    },
)
FIGURES = {
    "losses": Curves(LOSSES, "network", NETWORKS, row_height=3.8),
    "rates": Curves(RATES, "network", NETWORKS, row_height=3.4),
}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()

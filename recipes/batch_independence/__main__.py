"""What BatchNorm couples, and training without normalization does not.

Normalization by the statistics of a batch makes every sample's output, and so its
gradient, depend on the samples beside it. Without it a batch is a mean over samples and
nothing else: split in any way, it gives the same step.

    python -m recipes.batch_independence
    python -m recipes.batch_independence --schemes=skip_init,batch_norm --batch_size=256

References:

* [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167), section 3.
* [Brock et al., 2021](https://arxiv.org/abs/2102.06171), section 2.
"""

import dataclasses

import numpy as np

import fixinit
from recipes.batch_independence.modes import modes
from recipes.batch_independence.splits import SPLITS, trajectory
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Table, Verdict, by, format_percent, setting
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.common.plotting.variants import Schemes
from recipes.common.training import families
from recipes.common.training.runs import Runs

# Every way to add rounds in its own way, as every order does: about as much.
ROUNDING = 10
EPSILON = float(np.finfo("float32").eps)


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    schemes: tuple[str, ...] = setting(
        ("batch_norm", "fixup", "scaled_residual"),
        "What keeps the networks trainable. Claims need batch_norm and another.",
        check=fixinit.schemes.get,
    )
    dataset: str = setting("mnist1d", "Data set; flattened.", check=datasets.load)
    num_blocks: int = setting(5, "Residual blocks of two dense layers.", quick=3)
    units: int = setting(64, "Width of every layer.", quick=32)
    learning_rate: float = setting(0.05, "Learning rate of a whole batch.")
    batch_size: int = setting(32, "Samples in a whole batch.", quick=16)
    parts: int = setting(4, "Parts of a split batch.", at_least=2)
    steps: int = setting(20, "Steps over which splits are compared.", quick=10)
    epochs: int = setting(
        2, "Epochs of training, with whole batches and with single samples.", quick=1
    )
    company_sizes: tuple[int, ...] = setting(
        (2, 8, 32, 128),
        "Batch sizes at which training mode is compared with test mode.",
        quick=(2, 32),
    )

    def __post_init__(self):
        super().__post_init__()
        if self.batch_size % self.parts:
            raise ValueError(
                f"--parts must divide --batch_size={self.batch_size}: parts of unequal "
                f"size have unequal weight. Received: --parts={self.parts}"
            )


def arms(settings):
    return experiment.grid(scheme=settings.schemes)


def measure(settings, scheme):
    data = families.get("residual_mlp").adapt(datasets.load(settings.dataset))

    def build(seed):
        shape = (settings.num_blocks, settings.units)
        return families.residual_mlp(data, *shape, scheme=scheme, seed=seed)

    def accuracy(batch_size):
        runs = Runs(build, data, batch_size, settings.seed, scheme=scheme)
        # A step of a mean over fewer samples is smaller in proportion.
        rate = settings.learning_rate * batch_size / settings.batch_size
        epochs, _ = runs.run(rate, settings.seed, settings.epochs)
        return runs.model, epochs[-1]["train_accuracy"] if epochs else 0.0

    whole = trajectory(settings, data, build, "whole")
    way = np.linalg.norm(whole[1:] - whole[0], axis=1)
    distances = {}
    for split in SPLITS:
        other = trajectory(settings, data, build, split)
        distances[split] = np.linalg.norm(other - whole, axis=1)[1:] / way
    model, accuracy_of_batches = accuracy(settings.batch_size)
    return {
        **{split: distance[-1] for split, distance in distances.items()},
        "distances": distances,
        **modes(settings, data, model),
        "accuracy": accuracy_of_batches,
        "accuracy_of_single": accuracy(batch_size=1)[1],
    }


def tables(results):
    def at_end(split):
        return lambda arm: f"{arm[split]:.1e}"

    columns = {
        "scheme": lambda arm: Schemes()[arm["scheme"]].label,
        **{split.replace("_", " "): at_end(split) for split in SPLITS},
        "accuracy (%)": lambda arm: format_percent(arm["accuracy"]),
        "single samples (%)": lambda arm: format_percent(arm["accuracy_of_single"]),
    }
    return [Table.of("splits", results["arms"], columns)]


def claims(results):
    found = by(results, "scheme")
    coupled = found.pop("batch_norm", None)
    free = found.values()
    if not coupled or not free:
        return []

    def most(name):
        return max(np.max(arm[name]) for arm in free)

    nearest = min(coupled[split] for split in SPLITS if split != "reordered")
    rounding = max(
        arm[split] / max(arm["reordered"], EPSILON) for arm in free for split in SPLITS
    )
    changed, company = most("changed"), most("company")
    lost = max(arm["accuracy"] - arm["accuracy_of_single"] for arm in free)
    numbers = {
        "coupled": coupled,
        "nearest": nearest,
        "farthest": max(map(most, SPLITS)),
        "rounding": rounding,
        "changed": changed,
        "company": company,
        "lost": lost,
    }
    couples = nearest > 1000 * max(coupled["reordered"], EPSILON)
    is_alone = changed == 0 and company < 1e-5
    collapses = coupled["accuracy_of_single"] < coupled["accuracy"] / 2
    return [
        Verdict("splits_are_exact", rounding < ROUNDING, **numbers),
        Verdict("batch_norm_splits_are_not", couples, **numbers),
        Verdict("modes_agree", is_alone and max(coupled["changed"]) > 0, **numbers),
        Verdict("single_samples", lost < 0.05 and collapses, **numbers),
    ]


def distance(index, split):
    """The line of one split; of lines that hide each other, the last is thinnest."""
    variant = SPLITS[split]
    look = variant.look | {"linewidth": 4.0 - 0.7 * index}
    return Line(lambda arm: arm["distances"][split], None, variant.label, look, first=1)


def over_sizes(y, label):
    axes = {"xlabel": "batch size", "ylabel": label, "xscale": "log2"}
    return Panel(Line(y, x="company_sizes"), axes)


def percent_changed(arm):
    return 100 * np.array(arm["changed"])


DISTANCES = Panel(
    tuple(distance(*item) for item in enumerate(SPLITS)),
    {
        "xlabel": "step",
        "ylabel": "distance from weights of whole\nbatches, over their way",
        "yscale": "log",
    },
)
MODES = (
    over_sizes(
        percent_changed, "predictions that differ between\ntraining and test mode (%)"
    ),
    over_sizes("company", "change of the outputs with\nthe company, over their size"),
)
FIGURES = {
    "splits": Curves(DISTANCES, facet="scheme", facet_title=Schemes(), facets=7),
    "modes": Curves(MODES, share=""),
}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()

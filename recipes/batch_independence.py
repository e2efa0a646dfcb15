"""What BatchNorm couples, and training without normalization does not.

Normalization by the statistics of a batch makes every sample's output, and so its
gradient, depend on the samples beside it. Without it a batch is a mean over samples and
nothing else: split in any way, it gives the same step.

    python -m recipes.batch_independence
    python -m recipes.batch_independence --schemes=skip_init,batch_norm --batch_size=256

Results go to --output_dir: report.html, PNGs, results.csv and results.json.

References:

* [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167), section 3.
* [Brock et al., 2021](https://arxiv.org/abs/2102.06171), section 2.
"""

import dataclasses

import keras
import numpy as np

import fixinit
from fixinit.diagnostics.report import loss_and_gradients
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Claim
from recipes.common.experiment.reading import select
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table, format_percent
from recipes.common.plotting import panels, style
from recipes.common.training import families
from recipes.common.training.runs import Runs, sgd

# How a batch reaches the optimizer, beside whole.
SPLITS = {
    "reordered": "another order",
    "accumulated": "parts, accumulated",
    "one_by_one": "single samples, accumulated",
    "data_parallel": "parts, averaged over replicas",
}
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
        )

    def accuracy(batch_size):
        runs = Runs(build, data, batch_size, settings.seed)
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


def trajectory(settings, data, build, split):
    """All weights in a row, before the first step and after every step."""
    model = build(settings.seed)
    parts = settings.batch_size if split == "one_by_one" else settings.parts
    accumulates = split in ("accumulated", "one_by_one")
    optimizer = sgd()
    optimizer.learning_rate = settings.learning_rate
    optimizer.gradient_accumulation_steps = parts if accumulates else None
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(fixinit.optimizers.with_scalar_learning_rate(optimizer), loss)
    model.optimizer.build(model.trainable_variables)
    gradients = loss_and_gradients(model, loss)
    rng = np.random.default_rng(settings.seed)
    weights = [flat(model)]
    for _ in range(settings.steps):
        rows = rng.choice(len(data.x_train), settings.batch_size, replace=False)
        rows = rows[::-1] if split == "reordered" else rows
        x, y = data.x_train[rows], data.y_train[rows]
        pieces = list(zip(np.split(x, parts), np.split(y, parts), strict=True))
        if split == "data_parallel":
            # Replicas start equal and make equal steps: one stands for them all.
            found = [gradients(*piece, training=True)[1] for piece in pieces]
            mean = [sum(replicas) / parts for replicas in zip(*found, strict=True)]
            model.optimizer.apply(mean, model.trainable_variables)
        else:
            for piece in pieces if accumulates else [(x, y)]:
                model.train_on_batch(*piece)
        weights.append(flat(model))
    return np.array(weights)


def flat(model):
    values = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    return np.concatenate([value.ravel() for value in values])


class InTrainingMode(keras.Model):
    """A model whose `predict` runs it in training mode."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs):
        return self.model(inputs, training=True)


def modes(settings, data, model):
    """How far outputs in training mode differ from test mode, and with company."""
    tested = model.predict(data.x_test, verbose=0)
    scale = np.sqrt(np.mean(tested**2))
    in_training_mode = InTrainingMode(model)
    rng = np.random.default_rng(settings.seed)

    def outputs(size):
        # As many as fill the last batch come twice.
        count = len(tested)
        order = np.resize(rng.permutation(count), -(-count // size) * size)
        found = in_training_mode.predict(data.x_test[order], size, verbose=0)
        return found[np.argsort(order[:count])]

    changed, company = [], []
    for size in settings.company_sizes:
        first, second = outputs(size), outputs(size)
        changed.append(np.mean(first.argmax(axis=1) != tested.argmax(axis=1)))
        company.append(np.sqrt(np.mean((first - second) ** 2)) / scale)
    return {"changed": changed, "company": company}


def tables(results):
    columns = ("scheme", *(split.replace("_", " ") for split in SPLITS))
    columns += ("accuracy (%)", "single samples (%)")
    rows = [
        (
            style.scheme_style(arm["scheme"])["label"],
            *(f"{arm[split]:.1e}" for split in SPLITS),
            format_percent(arm["accuracy"]),
            format_percent(arm["accuracy_of_single"]),
        )
        for arm in results["arms"]
    ]
    note = (
        "Distances are relative to the way that the weights have come since "
        "initialization. Accuracy is that of the last epoch on the training samples, "
        "with whole batches and with steps on single samples."
    )
    steps = results["config"]["steps"]
    title = f"Distance from whole batches after {steps} steps, and accuracy"
    return [Table(title, columns, rows, note)]


def claims(results):
    normalized = select(results, scheme="batch_norm")
    free = [arm for arm in results["arms"] if arm not in normalized]
    if not normalized or not free:
        return []
    (coupled,) = normalized
    rounding = max(
        arm[split] / max(arm["reordered"], EPSILON) for arm in free for split in SPLITS
    )
    farthest = max(arm[split] for arm in free for split in SPLITS)
    nearest = min(coupled[split] for split in SPLITS if split != "reordered")
    changed = max(max(arm["changed"]) for arm in free)
    company = max(max(arm["company"]) for arm in free)
    sizes = results["config"]["company_sizes"]
    of_batch_norm = ", ".join(
        f"{100 * part:.0f} % in batches of {size}"
        for size, part in zip(sizes, coupled["changed"], strict=True)
    )
    loss = max(arm["accuracy"] - arm["accuracy_of_single"] for arm in free)
    return [
        Claim(
            "Without normalization, gradients accumulated over parts or single samples "
            "or averaged over replicas give the weights of the whole batch to float "
            "precision.",
            rounding < ROUNDING,
            f"they differ by {farthest:.1e} of their way at most: {rounding:.1f} times "
            "what another order of the same batch does",
        ),
        Claim(
            "With BatchNorm, every such split trains another network.",
            nearest > 1000 * max(coupled["reordered"], EPSILON),
            f"the weights differ by {nearest:.2f} times their way at least; in another "
            f"order of the batch by {coupled['reordered']:.1e}",
        ),
        Claim(
            "Without normalization, training and test mode give the same outputs in "
            "any company; with BatchNorm they do not.",
            changed == 0 and company < 1e-5 and max(coupled["changed"]) > 0,
            f"without it {100 * changed:.0f} % of predictions change, and outputs by "
            f"{company:.0e} with the company; with BatchNorm {of_batch_norm}",
        ),
        Claim(
            "Without normalization, steps on single samples train as well; with "
            "BatchNorm they do not train at all.",
            loss < 0.05 and coupled["accuracy_of_single"] < coupled["accuracy"] / 2,
            f"accuracy lost without normalization: {100 * loss:.1f} points at most; "
            f"with BatchNorm it falls from {format_percent(coupled['accuracy'])} % to "
            f"{format_percent(coupled['accuracy_of_single'])} %",
        ),
    ]


def draw_splits(results):
    count = len(results["arms"])
    figure, axes = style.new_figure(1, count, row_height=3.2, sharey=True)
    for axis, arm in zip(axes[0], results["arms"], strict=True):
        for (split, name), look in zip(SPLITS.items(), LOOKS, strict=True):
            distance = arm["distances"][split]
            axis.plot(range(1, len(distance) + 1), distance, label=name, **look)
        axis.set_yscale("log")
        axis.set_title(style.scheme_style(arm["scheme"])["label"])
        axis.set_xlabel("step")
    axes[0, 0].set_ylabel("distance from weights of whole\nbatches, over their way")
    panels.legend_below(figure, axes[0, 0].get_legend_handles_labels()[0])
    return figure


# Lines that hide each other are drawn thinner, from the first to the last.
LOOKS = (
    {"color": "#bbbbbb", "linestyle": "-", "linewidth": 4.0},
    {"color": "#3b2f9b", "linestyle": "-", "linewidth": 2.4},
    {"color": "#c0242e", "linestyle": "--", "linewidth": 1.6},
    {"color": "#f0a030", "linestyle": ":", "linewidth": 2.0},
)


def draw_modes(results):
    figure, axes = style.new_figure(1, 2, row_height=3.0)
    sizes = results["config"]["company_sizes"]
    for arm in results["arms"]:
        look = style.scheme_style(arm["scheme"])
        axes[0, 0].plot(sizes, 100 * np.array(arm["changed"]), **look)
        axes[0, 1].plot(sizes, arm["company"], **look)
    for axis in axes[0]:
        axis.set_xscale("log", base=2)
        axis.set_xlabel("batch size")
        axis.set_xticks(sizes, sizes)
    axes[0, 0].set_ylabel("predictions that differ between\ntraining and test mode (%)")
    axes[0, 1].set_ylabel("change of the outputs with\nthe company, over their size")
    panels.legend_below(figure, axes[0, 0].get_legend_handles_labels()[0])
    return figure


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=arms,
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"splits": draw_splits, "modes": draw_modes},
)

if __name__ == "__main__":
    EXPERIMENT.start()

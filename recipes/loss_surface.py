"""Slices of the loss, with and without shortcuts, and what they miss.

python -m recipes.loss_surface
"""

import dataclasses
import math

import keras
import numpy as np
from keras import ops

import fixinit
from fixinit.diagnostics import loss_surface
from fixinit.diagnostics.geometry import WeightFunction, filter_normalized_direction
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Claim
from recipes.common.experiment import reading as read
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table
from recipes.common.plotting import style

# Scheme, and whether shortcuts are left out.
KINDS = {
    "plain": ("unnormalized", True),
    "plain_batch_norm": ("batch_norm", True),
    "residual_batch_norm": ("batch_norm", False),
    "fixup": ("fixup", False),
}
LABELS = {
    "plain": "Plain",
    "plain_batch_norm": "Plain + BatchNorm",
    "residual_batch_norm": "Residual + BatchNorm",
    "fixup": "Fixup",
}
KINDS_WITHOUT_SHORTCUTS = ("plain", "plain_batch_norm")
KINDS_WITH_SHORTCUTS = ("residual_batch_norm", "fixup")
NUM_CLASSES = 10
CHANCE = float(np.log(NUM_CLASSES))
POWER_ITERATIONS = 15
# Of the weights' norm: the step of finite differences of gradients.
STEP = 1e-3


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    kinds: tuple[str, ...] = setting(
        tuple(KINDS), "Kinds of network to compare.", choices=tuple(KINDS)
    )
    depths: tuple[int, ...] = setting(
        (4, 12, 24), "Numbers of blocks of two weight layers.", quick=(2, 4)
    )
    units: int = setting(48, "Width of every layer.", quick=16)
    epochs: int = setting(8, "Epochs of training before the slices.", quick=1)
    learning_rate: float = setting(0.02, "Learning rate of SGD with momentum 0.9.")
    num_samples: int = setting(
        500, "Training samples that the slices are drawn for.", quick=100
    )
    num_points: int = setting(13, "Points along each direction, odd.", quick=5)

    def __post_init__(self):
        super().__post_init__()
        if self.num_points % 2 == 0 or self.num_points < 5:
            raise ValueError(
                "--num_points must be odd and at least 5, so that the middle is the "
                f"network itself. Received: --num_points={self.num_points}"
            )


def arms(settings):
    return experiment.grid(scheme=settings.kinds, depth=settings.depths)


def measure(settings, scheme, depth):
    data = datasets.load("mnist1d")
    model = train(settings, scheme, depth, data)
    x, y = (part[: settings.num_samples] for part in (data.x_train, data.y_train))
    options = {"num_points": settings.num_points, "seed": settings.seed}
    surface = loss_surface(model, x, y, **options)
    sharp = sharpest(model, x, y, settings.seed)
    steep = loss_surface(model, x, y, directions=sharp["directions"], **options)
    measured = {
        "num_weights": sum(math.prod(v.shape) for v in model.trainable_variables),
        "loss": surface.center,
        "basin": basin(surface),
        "negative_curvature": negative_curvature(surface),
        "sharpness": sharp["largest"],
        "random_sharpness": sharp["random"],
        "alignment": alignment(model, settings.seed),
        "losses": surface.losses,
        "steep_losses": steep.losses,
    }
    if "batch_norm" in scheme:
        batch = loss_surface(model, x, y, training=True, **options)
        measured["batch_basin"] = basin(batch)
        measured["batch_negative_curvature"] = negative_curvature(batch)
    return measured


def train(settings, kind, depth, data):
    """A trained network; the weights that it started from are `model.start`."""
    scheme, plain = KINDS[kind]
    model = fixinit.models.ResidualMLP(
        depth,
        settings.units,
        scheme=scheme,
        plain=plain,
        input_shape=data.input_shape,
        seed=settings.seed,
        stacked=True,
    )
    model.start = [ops.convert_to_numpy(v.value) for v in model.trainable_variables]
    sgd = keras.optimizers.SGD(settings.learning_rate, momentum=0.9)
    optimizer = fixinit.optimizers.with_scalar_learning_rate(sgd)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    model.fit(
        data.x_train, data.y_train, batch_size=100, epochs=settings.epochs, verbose=0
    )
    return model


def basin(surface):
    """The share of the slice in which the network is better than a guess."""
    return float(np.mean(surface.losses < CHANCE))


def negative_curvature(surface):
    """The mean of -l/|L| where l < 0, the eigenvalues l < L of the slice's Hessian."""
    losses = surface.losses
    with np.errstate(invalid="ignore", over="ignore"):
        xx = losses[2:, 1:-1] - 2 * losses[1:-1, 1:-1] + losses[:-2, 1:-1]
        yy = losses[1:-1, 2:] - 2 * losses[1:-1, 1:-1] + losses[1:-1, :-2]
        xy = losses[2:, 2:] - losses[2:, :-2] - losses[:-2, 2:] + losses[:-2, :-2]
        root = np.hypot(xx - yy, xy / 2)
        low, high = (xx + yy - root) / 2, (xx + yy + root) / 2
        largest = np.maximum(np.abs(low), np.abs(high))
        shares = np.maximum(0, -low) / np.where(largest > 0, largest, 1)
    return float(np.nanmean(shares))


def sharpest(model, x, y, seed):
    """The direction in which the loss curves most, by power iteration.

    Products with the Hessian are differences of gradients.
    """
    function = WeightFunction(model, x, y)
    weights = [v.value for v in model.trainable_variables]
    norm = np.sqrt(sum(np.sum(np.square(ops.convert_to_numpy(w))) for w in weights))
    step = STEP * float(norm)

    def product(direction):
        gradients = []
        for sign in (1, -1):
            moved = [
                w + sign * step * ops.convert_to_tensor(d, dtype="float32")
                for w, d in zip(weights, direction, strict=True)
            ]
            gradients.append(function.loss_and_gradients(moved)[1])
        return [
            (ops.convert_to_numpy(a) - ops.convert_to_numpy(b)) / (2 * step)
            for a, b in zip(*gradients, strict=True)
        ]

    start = filter_normalized_direction(model, [seed, 0])
    length = np.sqrt(inner(start, start))
    direction = unit(start)
    random = inner(direction, product(direction))
    for _ in range(POWER_ITERATIONS):
        new = product(direction)
        largest = inner(direction, new)
        direction = unit(new)
    # As long as the random direction, which takes its place in the slice.
    scaled = [(length * d).astype("float32") for d in direction]
    other = filter_normalized_direction(model, [seed, 1])
    return {"largest": largest, "random": random, "directions": (scaled, other)}


def inner(a, b):
    pairs = zip(a, b, strict=True)
    return float(sum(np.sum(p.astype("float64") * q) for p, q in pairs))


def unit(direction):
    length = np.sqrt(inner(direction, direction))
    return [d / length if length > 0 else d for d in direction]


def alignment(model, seed):
    """The share of the way from start to end of training that lies in the slice."""
    way = [
        ops.convert_to_numpy(v.value) - start
        for v, start in zip(model.trainable_variables, model.start, strict=True)
    ]
    directions = [filter_normalized_direction(model, [seed, i]) for i in range(2)]
    parts = [inner(unit(way), unit(direction)) for direction in directions]
    return float(np.hypot(*parts))


def tables(results):
    names = ("loss", "basin", "batch_basin", "negative_curvature", "sharpness")
    names += ("random_sharpness", "alignment")
    rows = [
        (LABELS[arm["scheme"]], arm["depth"], *(arm.get(name) for name in names))
        for arm in results["arms"]
    ]
    columns = ("network", "blocks", "loss", "basin", "basin (batch)", "negative")
    columns += ("sharpest", "random", "path")
    note = (
        "Basin: share of the slice better than a guess; (batch): with the statistics "
        "of the batch instead of the running ones. Negative: mean share of negative "
        "curvature in the slice. Sharpest, random: second derivative of the loss along "
        "the sharpest and a random direction of length 1. Path: share of the way from "
        "start to end of training that lies in the plane of the slice."
    )
    return [Table("Slices of the loss", columns, rows, note)]


def claims(results):
    depths = read.depths(results)
    found = {(a["scheme"], a["depth"]): a for a in results["arms"]}
    missed = claims_of_what_is_missed(results["arms"])
    if len(depths) < 2 or any((k, d) not in found for k in KINDS for d in depths):
        return missed

    def show(name, *kinds):
        ends = (depths[0], depths[-1])
        values = [" and ".join(f"{found[k, d][name]:.2g}" for d in ends) for k in kinds]
        texts = [f"{LABELS[k]} {v}" for k, v in zip(kinds, values, strict=True)]
        failed = [LABELS[k] for k in kinds if found[k, ends[1]]["loss"] > CHANCE]
        if failed:
            texts[-1] += f"; no better than a guess at {ends[1]}: {', '.join(failed)}"
        return f"at {ends[0]} and {ends[1]} blocks: {', '.join(texts)}"

    def values(name, *kinds):
        return np.array([[found[k, d][name] for d in depths] for k in kinds])

    without, shortcuts = KINDS_WITHOUT_SHORTCUTS, KINDS_WITH_SHORTCUTS
    negative = values("negative_curvature", *without)
    basins = values("basin", *shortcuts)
    return [
        Claim(
            "Without shortcuts, slices lose convexity as depth grows (Li et al.).",
            np.all(negative[:, -1] > np.maximum(0.1, 2 * negative[:, 0])),
            "share of negative curvature " + show("negative_curvature", *without),
        ),
        Claim(
            "With shortcuts, slices stay nearly convex.",
            np.max(values("negative_curvature", *shortcuts)) < 0.1,
            "share of negative curvature " + show("negative_curvature", *shortcuts),
        ),
        Claim(
            "With shortcuts, the basin around the trained network keeps its size.",
            np.all(basins[:, -1] > 0.75 * basins[:, 0]),
            "share of the slice better than a guess " + show("basin", *shortcuts),
        ),
        *missed,
    ]


def claims_of_what_is_missed(arms):
    ratios = sorted(
        abs(arm["sharpness"]) / max(abs(arm["random_sharpness"]), 1e-12)
        for arm in arms
        if arm["loss"] < CHANCE
    )
    aligned = max(arm["alignment"] for arm in arms)
    chance = np.sqrt(2 / min(arm["num_weights"] for arm in arms))
    batch = [(a["basin"], a["batch_basin"]) for a in arms if "batch_basin" in a]
    if not ratios or not batch:
        return []
    running, own = max(batch, key=lambda pair: abs(pair[0] - pair[1]))
    return [
        Claim(
            "Slices miss the sharpest directions, along which the loss curves far more "
            "than along random ones.",
            ratios[0] > 10,
            f"at least {ratios[0]:,.0f} times more in each of {len(ratios)} networks "
            "that are better than a guess",
        ),
        Claim(
            "Slices miss the way that training has taken: as any two directions among "
            "so many weights, those of a slice are nearly orthogonal to it.",
            aligned < 0.1,
            f"at most {100 * aligned:.1f} % of its length lies in the plane; of two "
            "directions without any preference it would be up to "
            f"{100 * chance:.1f} % on average",
        ),
        Claim(
            "With BatchNorm the picture depends on whose statistics are used.",
            abs(running - own) > 0.1,
            f"the basin is {100 * running:.0f} % of the slice with running statistics, "
            f"{100 * own:.0f} % with those of the batch, where they differ most",
        ),
    ]


def draw(results, name, first):
    kinds = [k for k in KINDS if read.select(results, scheme=k)]
    depths = read.depths(results)[:3]
    if not kinds:
        return None
    figure, axes = style.new_figure(
        len(depths), len(kinds), row_height=1.75, sharex=True, sharey=True
    )
    levels = np.linspace(0, 2 * CHANCE, 13)
    for row, depth in zip(axes, depths, strict=True):
        for axis, kind in zip(row, kinds, strict=True):
            axis.set_aspect("equal")
            axis.grid(False)
            axis.set_xticks([-1, 0, 1])
            axis.set_yticks([-1, 0, 1])
            for arm in read.select(results, scheme=kind, depth=depth):
                losses = read.numbers(np.ravel(arm[name])).reshape(np.shape(arm[name]))
                losses = np.nan_to_num(losses, nan=np.inf)
                points = np.linspace(-1, 1, len(losses))
                clipped = np.minimum(losses, 2 * CHANCE).T
                drawn = axis.contourf(points, points, clipped, levels, cmap="viridis")
                axis.contour(
                    points, points, clipped, [CHANCE], colors="white", linewidths=1.2
                )
                axis.plot([0], [0], "+", color="white")
    for axis, kind in zip(axes[0], kinds, strict=True):
        axis.set_title(LABELS[kind].replace(" + ", "\n+ "), fontsize=9)
    for row, depth in zip(axes, depths, strict=True):
        row[0].set_ylabel(f"{depth} blocks\nsecond direction")
    for axis in axes[-1]:
        axis.set_xlabel(first)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7, ticks=[0, CHANCE, 2 * CHANCE])
    bar.ax.set_yticklabels(["0", f"{CHANCE:.2f}", f"{2 * CHANCE:.2f}"])
    bar.set_label("loss (white line: a guess)")
    return figure


def draw_random(results):
    return draw(results, "losses", "first direction")


def draw_steep(results):
    return draw(results, "steep_losses", "sharpest direction")


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=arms,
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"slices": draw_random, "sharpest": draw_steep},
)

if __name__ == "__main__":
    EXPERIMENT.start()

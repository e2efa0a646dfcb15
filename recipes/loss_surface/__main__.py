"""Slices of the loss, with and without shortcuts, and what they miss.

python -m recipes.loss_surface
"""

import dataclasses
import functools
import math

import numpy as np

from fixinit.diagnostics import loss_surface
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Table, Verdict, setting
from recipes.common.experiment import reading as read
from recipes.loss_surface.maps import draw_maps
from recipes.loss_surface.networks import (
    KINDS,
    WITH_SHORTCUTS,
    WITHOUT_SHORTCUTS,
    train,
)
from recipes.loss_surface.slices import (
    CHANCE,
    alignment,
    basin,
    negative_curvature,
    sharpest,
)


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


def tables(results):
    columns = {
        "network": lambda arm: KINDS[arm["scheme"]].label,
        "blocks": "depth",
        "loss": "loss",
        "basin": "basin",
        "basin (batch)": "batch_basin",
        "negative": "negative_curvature",
        "sharpest": "sharpness",
        "random": "random_sharpness",
        "path": "alignment",
    }
    return [Table.of("slices", results["arms"], columns)]


def claims(results):
    yield from claims_about_shortcuts(results)
    yield from claims_about_what_is_missed(results["arms"])


def claims_about_shortcuts(results):
    depths = read.depths(results)
    found = {(a["scheme"], a["depth"]): a for a in results["arms"]}
    if len(depths) < 2 or any((k, d) not in found for k in KINDS for d in depths):
        return
    ends = (depths[0], depths[-1])

    def values(name, kinds):
        return np.array([[found[k, d][name] for d in depths] for k in kinds])

    def show(name, kinds):
        pairs = [" and ".join(f"{found[k, d][name]:.2g}" for d in ends) for k in kinds]
        texts = [
            f"{KINDS[k].label} {pair}" for k, pair in zip(kinds, pairs, strict=True)
        ]
        failed = [KINDS[k].label for k in kinds if found[k, ends[1]]["loss"] > CHANCE]
        if failed:
            texts[-1] += f"; no better than a guess at {ends[1]}: {', '.join(failed)}"
        return f"at {ends[0]} and {ends[1]} blocks: {', '.join(texts)}"

    negative = values("negative_curvature", WITHOUT_SHORTCUTS)
    held = np.all(negative[:, -1] > np.maximum(0.1, 2 * negative[:, 0]))
    yield Verdict(
        "lose_convexity", held, shares=show("negative_curvature", WITHOUT_SHORTCUTS)
    )
    held = np.max(values("negative_curvature", WITH_SHORTCUTS)) < 0.1
    yield Verdict(
        "stay_convex", held, shares=show("negative_curvature", WITH_SHORTCUTS)
    )
    basins = values("basin", WITH_SHORTCUTS)
    held = np.all(basins[:, -1] > 0.75 * basins[:, 0])
    yield Verdict("basin_keeps_its_size", held, shares=show("basin", WITH_SHORTCUTS))


def claims_about_what_is_missed(arms):
    ratios = [
        abs(arm["sharpness"]) / max(abs(arm["random_sharpness"]), 1e-12)
        for arm in arms
        if arm["loss"] < CHANCE
    ]
    batch = [(a["basin"], a["batch_basin"]) for a in arms if "batch_basin" in a]
    if not ratios or not batch:
        return
    least, count = min(ratios), len(ratios)
    yield Verdict("sharpest", least > 10, least=least, count=count)
    aligned = max(arm["alignment"] for arm in arms)
    chance = np.sqrt(2 / min(arm["num_weights"] for arm in arms))
    yield Verdict("way", aligned < 0.1, aligned=aligned, chance=chance)
    running, own = max(batch, key=lambda pair: abs(pair[0] - pair[1]))
    yield Verdict("statistics", abs(running - own) > 0.1, running=running, own=own)


FIGURES = {
    "slices": functools.partial(draw_maps, name="losses", first="first direction"),
    "sharpest": functools.partial(
        draw_maps, name="steep_losses", first="sharpest direction"
    ),
}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()

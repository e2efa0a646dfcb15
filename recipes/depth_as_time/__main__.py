"""Depth as time: what is left of a trained network when its depth is doubled.

python -m recipes.depth_as_time
"""

import dataclasses

import keras
import numpy as np

from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Table, Verdict, format_percent, select, setting
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.common.plotting.style import MUTED
from recipes.common.training import families
from recipes.common.training.fit import fit
from recipes.depth_as_time import networks
from recipes.depth_as_time.networks import STARTS, roughness


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    data: str = setting(
        "mnist1d", "Data set to train on.", quick="digits", check=datasets.load
    )
    starts: tuple[str, ...] = setting(
        tuple(STARTS), "Which steps, and which weights.", choices=tuple(STARTS)
    )
    depths: tuple[int, ...] = setting(
        (8, 16, 32, 64), "Numbers of blocks to train.", at_least=2, quick=(4, 8)
    )
    factors: tuple[int, ...] = setting(
        (2, 4, 8), "By what to multiply the depth.", at_least=2, quick=(2, 4)
    )
    units: int = setting(32, "Width of every layer.", quick=16)
    epochs: int = setting(12, "Epochs of training at every depth.", quick=2)
    batch_size: int = setting(100, "Samples of a training step.")
    learning_rate: float = setting(0.002, "Learning rate of Adam.")


def arms(settings):
    return experiment.grid(start=settings.starts, depth=settings.depths)


def measure(settings, start, depth):
    data = datasets.load(settings.data, seed=settings.seed)
    data = families.get("residual_mlp").adapt(data)
    scale = STARTS[start].options["scale"]
    model = networks.build(settings, data, scale, depth)
    if STARTS[start].options["smooth"]:
        networks.start_smooth(model)
    before, initial = networks.values(model), look(settings, data, scale, model)
    fit(model, data, keras.optimizers.Adam(settings.learning_rate), settings)
    after, trained = networks.values(model), look(settings, data, scale, model)
    learned = [b - a for a, b in zip(before, after, strict=True)]
    return {
        **{f"initial_{key}": value for key, value in initial.items()},
        **trained,
        "initial_roughness": roughness(before),
        "roughness": roughness(after),
        "learned_roughness": roughness(learned),
    }


def look(settings, data, scale, model):
    """What multiplying the depth does to the network as it is now."""
    logits = keras.ops.convert_to_numpy(model(data.x_test))
    found = {"accuracy": accuracy(logits, data), "changes": [], "accuracies": []}
    for factor in settings.factors:
        deeper = networks.deepened(settings, data, scale, model, factor)
        others = keras.ops.convert_to_numpy(deeper(data.x_test))
        found["changes"].append(np.std(others - logits) / np.std(logits))
        found["accuracies"].append(accuracy(others, data))
    return found


def accuracy(logits, data):
    return np.mean(logits.argmax(axis=1) == data.y_test)


def change(arm, index=0):
    return arm["changes"][index]


def tables(results):
    factors = results["config"]["factors"]

    def column(index):
        return lambda arm: f"{change(arm, index):.3f}"

    columns = {
        "steps and start": lambda arm: STARTS[arm["start"]].label,
        "blocks": "depth",
        **{f"change ×{factor}": column(i) for i, factor in enumerate(factors)},
        "accuracy": lambda arm: format_percent(arm["accuracy"]),
        f"at ×{factors[0]}": lambda arm: format_percent(arm["accuracies"][0]),
        "roughness": "roughness",
    }
    return [Table.of("deeper", results["arms"], columns)]


def of_start(results, start):
    """The arms of one start, shallowest first."""
    return sorted(select(results, start=start), key=lambda arm: arm["depth"])


def slope(arms, key):
    """The exponent p of a power law `L^p` through a number of every arm, or nan."""
    values = [np.ravel(arm[key])[0] for arm in arms]
    if min(values) <= 0:
        return float("nan")
    depths = [arm["depth"] for arm in arms]
    return float(np.polyfit(np.log(depths), np.log(values), 1)[0])


def claims(results):
    gentle, rough, random = (of_start(results, name) for name in STARTS)
    if len(gentle) > 1:
        ends = {"first": gentle[0], "last": gentle[-1]}
        rate = slope(gentle, "changes")
        yield Verdict("euler", -1.3 < rate < -0.7, rate=rate, **ends)
        rate, start = slope(gentle, "roughness"), slope(gentle, "initial_roughness")
        yield Verdict("stays_smooth", rate < -0.5, rate=rate, start=start, **ends)
    if len(rough) > 1:
        ends = {"first": rough[0], "last": rough[-1]}
        rate, start = slope(rough, "changes"), slope(rough, "initial_changes")
        yield Verdict("small_steps", rate < -0.25, rate=rate, start=start, **ends)
    if random:
        least = min(change(arm) for arm in random)
        lost = max(arm["accuracy"] - arm["accuracies"][0] for arm in random)
        yield Verdict("no_time", least > 0.2, change=least, lost=100 * lost)
    if random and rough and len(results["config"]["factors"]) > 1:
        grows, stays = (arms[-1]["changes"] for arms in (random, rough))
        held = stays[-1] < 2 * stays[0] and grows[-1] > 2 * grows[0]
        yield Verdict("limit", held, grows=grows, stays=stays)


BLOCKS = {"xlabel": "blocks of the trained network", "xscale": "log2"}
FACTORS = {"xlabel": "factor of the depth", "xscale": "log2", "yscale": "log"}
CHANGE = {"ylabel": "change of the logits", "yscale": "log"}


def over_depth(read, label="", **look):
    return Line(read, "depth", label=label, look=look)


FURTHER = Panel(
    Line("changes", x="factors"),
    {"title": "the deepest, made deeper", **FACTORS},
    only=lambda arm: arm["depth"] == max(arm["depths"]),
)


def draw_doubling(results):
    gentle = of_start(results, "inverse_smooth")

    def inverse(arm):
        """What falls like 1/L from the first smooth network on."""
        if arm["start"] != "inverse_smooth":
            return None
        return change(gentle[0]) * gentle[0]["depth"] / arm["depth"]

    lines = (
        over_depth(change, "trained"),
        over_depth(
            lambda arm: arm["initial_changes"][0], "at initialization", linestyle=":"
        ),
        over_depth(inverse, "1/L", color=MUTED, linestyle="--", linewidth=1, marker=""),
    )
    doubled = Panel(lines, {"title": "depth doubled", **CHANGE, **BLOCKS})
    return Curves((doubled, FURTHER), "start", STARTS, share="")(results)


ACCURACY = Panel(
    (
        over_depth(lambda arm: 100 * arm["accuracy"], "as trained"),
        over_depth(
            lambda arm: 100 * arm["accuracies"][0], "depth doubled", linestyle=":"
        ),
    ),
    {"title": "test accuracy (%)", **BLOCKS},
)
ROUGHNESS = Panel(
    over_depth("roughness"),
    {"title": "roughness of the trained weights", "yscale": "log", **BLOCKS},
)
FIGURES = {
    "doubling": draw_doubling,
    "accuracy_and_roughness": Curves((ACCURACY, ROUGHNESS), "start", STARTS, share=""),
}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()

"""Depth as time: what is left of a trained network when its depth is doubled.

python -m recipes.depth_as_time
"""

import dataclasses

import keras
import numpy as np
from keras import ops

import fixinit
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Claim
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table, format_percent
from recipes.common.plotting import panels, style
from recipes.common.training.shuffled import Shuffled

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

# name: (scale of the branches, whether weights start smooth, label, color and marker)
STARTS = {
    "inverse_smooth": ("inverse", True, "1/L, smooth start", ("#00877a", "o")),
    "inverse": ("inverse", False, "1/L, independent start", ("#3b2f9b", "s")),
    "inverse_sqrt": (
        "inverse_sqrt",
        False,
        "1/√L, independent start",
        ("#c0242e", "^"),
    ),
}


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


def build(settings, data, scale, num_blocks):
    """An untrained network: x + h F(x), with two layers in F."""
    return fixinit.models.ResidualMLP(
        num_blocks,
        settings.units,
        scheme=fixinit.schemes.ScaledResidual(scale),
        input_shape=(int(np.prod(data.input_shape)),),
        classes=data.num_classes,
        seed=settings.seed,
        stacked=True,
    )


def stacked_weights(model):
    """The variables that hold a weight of every block, along a first axis."""
    (stack,) = (x for x in model.layers if isinstance(x, fixinit.layers.Stack))
    return stack.trainable_variables


def smooth(weights):
    """Weights that turn from the first block's draw to the second's with depth.

    `cos(t) w_1 + sin(t) w_2` has the variance of the draws at every t.
    """
    angles = np.pi / 2 * (np.arange(len(weights)) + 0.5) / len(weights)
    angles = angles.reshape(-1, *(1,) * (weights.ndim - 1))
    return np.cos(angles) * weights[0] + np.sin(angles) * weights[1]


def interpolated(weights, factor):
    """The weights of `factor` times as many blocks, linear between the centres.

    Block l of L stands for the time (l + 1/2) / L; before the first centre and after
    the last one, weights are constant.
    """
    depth = len(weights)
    times = (np.arange(factor * depth) + 0.5) / factor - 0.5
    times = np.clip(times, 0, depth - 1)
    before = np.minimum(times.astype(int), depth - 2)
    part = (times - before).reshape(-1, *(1,) * (weights.ndim - 1))
    return (1 - part) * weights[before] + part * weights[before + 1]


def deepened(settings, data, scale, model, factor):
    """The model with `factor` times as many blocks, and steps as its depth has them."""
    depth = stacked_weights(model)[0].shape[0]
    deeper = build(settings, data, scale, factor * depth)
    for new, old in zip(deeper.variables, model.variables, strict=True):
        value = ops.convert_to_numpy(old)
        new.assign(value if new.shape == old.shape else interpolated(value, factor))
    return deeper


def roughness(weights):
    """How much neighbours differ, relative to their size: root mean squares."""
    steps = sum(np.square(np.diff(w, axis=0)).sum(axis=0).sum() for w in weights)
    sizes = sum(np.square(w).sum() for w in weights)
    depth = len(weights[0])
    return float(np.sqrt(steps / (depth - 1) / (sizes / depth)))


def look(settings, data, scale, model, x):
    """What doubling does to the network as it is now."""
    logits = ops.convert_to_numpy(model(x))
    found = {"accuracy": accuracy(logits, data), "changes": [], "accuracies": []}
    for factor in settings.factors:
        deeper = deepened(settings, data, scale, model, factor)
        others = ops.convert_to_numpy(deeper(x))
        change = np.std(others - logits) / np.std(logits)
        found["changes"].append(change)
        found["accuracies"].append(accuracy(others, data))
    return found


def accuracy(logits, data):
    return float(np.mean(logits.argmax(axis=1) == data.y_test))


def measure(settings, start, depth):
    data = datasets.load(settings.data, seed=settings.seed)
    x_train, x_test = (x.reshape(len(x), -1) for x in (data.x_train, data.x_test))
    scale, is_smooth, *_ = STARTS[start]
    model = build(settings, data, scale, depth)
    if is_smooth:
        for variable in stacked_weights(model):
            variable.assign(smooth(ops.convert_to_numpy(variable)))

    def weights():
        values = map(ops.convert_to_numpy, stacked_weights(model))
        return [np.array(v) for v in values]

    before = weights()
    initial = look(settings, data, scale, model, x_test)
    model.compile(
        keras.optimizers.Adam(settings.learning_rate),
        LOSS,
        # So few steps take no longer than XLA.
        jit_compile=keras.backend.backend() == "jax",
    )
    batches = Shuffled(x_train, data.y_train, settings.batch_size, settings.seed)
    batches.fit(model, settings.epochs)
    after = weights()
    learned = [b - a for a, b in zip(before, after, strict=True)]
    trained = look(settings, data, scale, model, x_test)
    return {
        **{f"initial_{key}": value for key, value in initial.items()},
        **trained,
        "initial_roughness": roughness(before),
        "roughness": roughness(after),
        "learned_roughness": roughness(learned),
    }


def of_start(results, start):
    """The arms of one start, shallowest first."""
    found = [arm for arm in results["arms"] if arm["start"] == start]
    return sorted(found, key=lambda arm: arm["depth"])


def slope(arms, key):
    """The exponent p of a power law `L^p` through a number of every arm, or nan."""
    values = [arm[key][0] if isinstance(arm[key], list) else arm[key] for arm in arms]
    if len(arms) < 2 or min(values) <= 0:
        return float("nan")
    return float(
        np.polyfit(np.log([arm["depth"] for arm in arms]), np.log(values), 1)[0]
    )


def tables(results):
    rows = [
        (
            STARTS[arm["start"]][2],
            arm["depth"],
            *(f"{change:.3f}" for change in arm["changes"]),
            format_percent(arm["accuracy"]),
            format_percent(arm["accuracies"][0]),
            arm["roughness"],
        )
        for arm in results["arms"]
    ]
    factors = results["config"]["factors"]
    columns = (
        "steps and start",
        "blocks",
        *(f"change ×{factor}" for factor in factors),
        "accuracy",
        f"at ×{factors[0]}",
        "roughness",
    )
    note = (
        "Change: standard deviation of the change of the logits over that of the "
        "logits, when the depth of the trained network is multiplied by that factor. "
        "Accuracy on the test set, in percent, before and after. Roughness: root mean "
        "square of the difference of neighbouring blocks' weights over that of the "
        "weights; 1.41 for independent ones."
    )
    return [Table("A trained network, made deeper", columns, rows, note)]


def claims(results):
    made = []
    gentle, rough, random = (of_start(results, name) for name in STARTS)
    factors = results["config"]["factors"]
    if len(gentle) > 1:
        rate, first, last = slope(gentle, "changes"), gentle[0], gentle[-1]
        made.append(
            Claim(
                "With steps of 1/L and weights that start smooth in depth, a trained "
                "network is an Euler method: its function changes by O(1/L) when its "
                "depth is doubled.",
                -1.3 < rate < -0.7,
                f"change {first['changes'][0]:.3f} at {first['depth']} blocks, "
                f"{last['changes'][0]:.3f} at {last['depth']}: L^{rate:.2f}",
            )
        )
        rate, start = slope(gentle, "roughness"), slope(gentle, "initial_roughness")
        made.append(
            Claim(
                "Training keeps such weights smooth.",
                rate < -0.5,
                f"roughness {first['roughness']:.3f} and {last['roughness']:.3f}: "
                f"L^{rate:.2f}, at the start L^{start:.2f}",
            )
        )
    if len(rough) > 1:
        rate = slope(rough, "changes")
        made.append(
            Claim(
                "Steps of 1/L are enough: from independent weights, too, the change "
                "falls as the depth grows.",
                rate < -0.25,
                f"change {rough[0]['changes'][0]:.2f} at {rough[0]['depth']} blocks, "
                f"{rough[-1]['changes'][0]:.2f} at {rough[-1]['depth']}: L^{rate:.2f} "
                f"after training, L^{slope(rough, 'initial_changes'):.2f} before; the "
                f"learned part of the weights has roughness "
                f"{rough[-1]['learned_roughness']:.2f}",
            )
        )
    if random:
        change = min(arm["changes"][0] for arm in random)
        lost = max(arm["accuracy"] - arm["accuracies"][0] for arm in random)
        made.append(
            Claim(
                "With steps of 1/√L depth is no time: at every depth, doubling it "
                "makes another function.",
                change > 0.2,
                f"change of {change:.2f} at least, up to {100 * lost:.1f} points of "
                f"accuracy lost",
            )
        )
    if random and rough and len(factors) > 1:
        grows, stays = (arms[-1]["changes"] for arms in (random, rough))
        made.append(
            Claim(
                "Made deeper and deeper, networks with steps of 1/L approach a limit, "
                "and those with 1/√L move away from what they were.",
                stays[-1] < 2 * stays[0] and grows[-1] > 2 * grows[0],
                f"from ×{factors[0]} to ×{factors[-1]} the change goes from "
                f"{stays[0]:.2f} to {stays[-1]:.2f} with 1/L, from {grows[0]:.2f} to "
                f"{grows[-1]:.2f} with 1/√L",
            )
        )
    return made


def look_of(start):
    color, marker = STARTS[start][3]
    return {"color": color, "marker": marker, "markeredgecolor": "white"}


GUIDE = {"linestyle": "--", "linewidth": 1.0}


def draw_doubling(results):
    figure, (axes,) = style.new_figure(1, 2, row_height=3.1)
    for start in STARTS:
        arms = of_start(results, start)
        depths = [arm["depth"] for arm in arms]
        for key, line in (("changes", "-"), ("initial_changes", ":")):
            changes = [arm[key][0] for arm in arms]
            axes[0].plot(depths, changes, line, **look_of(start))
        if arms and start == "inverse_smooth":
            line = arms[0]["changes"][0] * depths[0] / np.array(depths)
            axes[0].plot(depths, line, color=style.MUTED, **GUIDE)
        if arms:
            deepest, factors = arms[-1], results["config"]["factors"]
            axes[1].plot(factors, deepest["changes"], **look_of(start))
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes[0].set(
        title="depth doubled",
        xlabel="blocks of the trained network",
        ylabel="change of the logits",
    )
    axes[1].set(title="the deepest, made deeper", xlabel="factor of the depth")
    axes[1].set_xticks(results["config"]["factors"])
    guide = panels.Line2D([], [], color=style.MUTED, label="1/L", **GUIDE)
    lines = [("trained", "-"), ("at initialization", ":")]
    _legend(figure, results, lines, [guide])
    return figure


def draw_accuracy(results):
    figure, (axes,) = style.new_figure(1, 2, row_height=3.1)
    for start in STARTS:
        arms = of_start(results, start)
        depths = [arm["depth"] for arm in arms]
        trained = [100 * arm["accuracy"] for arm in arms]
        doubled = [100 * arm["accuracies"][0] for arm in arms]
        axes[0].plot(depths, trained, "-", **look_of(start))
        axes[0].plot(depths, doubled, ":", **look_of(start))
        rough = [arm["roughness"] for arm in arms]
        # The independent starts coincide: both stay visible.
        width = 3.4 if start == "inverse" else 1.8
        axes[1].plot(depths, rough, linewidth=width, **look_of(start))
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axis.set_xlabel("blocks of the trained network")
    axes[0].set(title="test accuracy (%)")
    axes[1].set(title="roughness of the trained weights", yscale="log")
    _legend(figure, results, [("as trained", "-"), ("depth doubled", ":")])
    return figure


def _legend(figure, results, lines, others=()):
    handles = [
        panels.Line2D([], [], label=STARTS[start][2], **look_of(start))
        for start in STARTS
        if of_start(results, start)
    ]
    handles += [
        panels.Line2D([], [], color=style.INK, linestyle=line, label=label)
        for label, line in lines
    ]
    panels.legend_below(figure, [*handles, *others])


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=lambda settings: experiment.grid(start=settings.starts, depth=settings.depths),
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"doubling": draw_doubling, "accuracy_and_roughness": draw_accuracy},
)

if __name__ == "__main__":
    EXPERIMENT.start()

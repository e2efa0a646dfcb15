"""Converts the networks of keras.applications with every scheme, and measures them.

python -m recipes.converted_applications
"""

import dataclasses

import keras
import numpy as np

import fixinit
from fixinit import schemes
from fixinit.conversion import delete_normalization
from recipes.common import experiment
from recipes.common.data.standard_inputs import standard_inputs
from recipes.common.experiment import Table, Verdict, format_number, setting
from recipes.common.experiment.reading import number
from recipes.common.plotting import panels, style
from recipes.common.plotting.variants import Schemes, variant
from recipes.common.training import applications, conversion
from recipes.common.training.last_block import at_last_block, last_block

# Those that do without normalization and say how.
FREE = [
    name
    for name in schemes.names()
    if not (schemes.get(name).normalizes or schemes.get(name).refuses_batch_norm)
    and name != "unnormalized"
]
SCHEMES = ("unnormalized", "batch_norm", *FREE)
CLASSES, STEPS = 10, 3
# Small, for networks that were not made for images of this size.
LEARNING_RATE = 1e-3
# Mean squares at the last block may leave the data's by this factor, either way.
FACTOR = 3.0
DRAWN = {
    "normalized": variant("as it is", style.INK, marker="s"),
    "deleted": variant("normalization deleted", style.MUTED, marker="X"),
} | {scheme: Schemes()[scheme] for scheme in FREE}
# The axis of the figure.
SHOWN = (1e-3, 1e3)


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    models: tuple[str, ...] = setting(
        applications.NAMES,
        "Functions of keras.applications.",
        quick=("MobileNetV3Small",),
        check=applications.check_name,
    )
    scheme: str = setting(
        "fixup",
        "With which of the schemes networks are also saved, loaded and trained.",
        choices=SCHEMES,
    )
    schemes: tuple[str, ...] = setting(
        SCHEMES,
        "What networks are converted with.",
        quick=("unnormalized", "batch_norm", "fixup"),
        choices=SCHEMES,
    )
    batch_size: int = setting(16, "Inputs that are measured and trained on.", quick=4)


def arms(settings):
    return experiment.grid(model=settings.models)


def measure(settings, model):
    network = applications.build(model, applications.smallest_size(model), CLASSES)
    x = standard_inputs(network, settings.batch_size, settings.seed)
    place = last_block(network)
    versions = {"normalized": at_last_block(network, place, x)}
    versions["deleted"] = at_last_block(delete_normalization(network), place, x)
    measured = {
        "size": x.shape[1],
        "layers": len(network.layers),
        "parameters": network.count_params(),
        "place": place,
        "versions": versions,
        "normalizations": {},
    }
    for scheme in dict.fromkeys((*settings.schemes, settings.scheme)):
        free = conversion.convert(network, scheme, seed=settings.seed)
        for shape in ("input_shape", "output_shape"):
            if getattr(free, shape) != getattr(network, shape):
                raise ValueError(f"The {shape} of {model} differs with {scheme}.")
        measured["normalizations"][scheme] = len(conversion.normalization_layers(free))
        blocks = free.conversion["blocks"]
        measured["num_branches"] = sum(len(block["branches"]) for block in blocks)
        versions[scheme] = at_last_block(free, place, x)
        if scheme == settings.scheme:
            measured["losses"] = train(free, x, settings.seed)
            # Behind the steps, for heads that start at zero would hide everything.
            measured["reload_error"] = conversion.reload_error(free, x)
        keras.utils.clear_session()
    return measured


def train(model, x, seed):
    """The losses of some steps of plain descent towards random classes."""
    optimizer = fixinit.optimizers.with_scalar_learning_rate(
        keras.optimizers.SGD(LEARNING_RATE)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Compiling the larger networks takes minutes.
    model.compile(optimizer, loss, run_eagerly=True)
    y = np.random.default_rng([seed, 1]).integers(CLASSES, size=len(x))
    return conversion.batch_losses(model, x, y, STEPS)


def at(version, quantity):
    """A function from an arm to a quantity at the last block of one version."""
    return lambda arm: number(arm["versions"][version][quantity])


def tables(results):
    def of(quantity):
        columns = {
            "network": "model",
            "L": lambda arm: arm["num_branches"] or "none",
            **{
                version: at(version, quantity)
                for version in results["arms"][0]["versions"]
            },
        }
        return Table.of(quantity, results["arms"], columns)

    columns = {
        "network": "model",
        "image size": "size",
        "layers": "layers",
        "million parameters": lambda arm: arm["parameters"] / 1e6,
        "measured behind": "place",
        "error after loading": "reload_error",
        f"losses of {STEPS} steps": lambda arm: ", ".join(
            format_number(number(loss)) for loss in arm["losses"]
        ),
    }
    checked = Table.of("checked", results["arms"], columns)
    return [of("variance"), of("mean_square"), checked]


def claims(results):
    arms = results["arms"]
    # The scheme BatchNorm puts in its own.
    found = [arm["normalizations"] | {"batch_norm": 0} for arm in arms]
    left = sum(sum(counts.values()) for counts in found)
    counts = {"networks": len(arms), "schemes": len(found[0]), "left": left}
    yield Verdict("all_convert", left == 0, **counts)
    # The first NaN, if there is one.
    errors = [number(arm["reload_error"]) for arm in arms]
    worst = int(np.argmax(errors))
    largest = {"error": errors[worst], "network": arms[worst]["model"]}
    yield Verdict("reload", errors[worst] < 1e-4, **largest)
    losses = [number(loss) for arm in arms for loss in arm["losses"]]
    yield Verdict("finite_losses", np.all(np.isfinite(losses)), steps=len(losses))
    for scheme in filter(FREE.__contains__, arms[0]["versions"]):
        found = {arm["model"]: at(scheme, "mean_square")(arm) for arm in arms}
        outside = {x: y for x, y in found.items() if not 1 / FACTOR < y < FACTOR}
        numbers = {"found": found, "outside": outside, "factor": FACTOR}
        label = Schemes()[scheme].label
        yield Verdict("keeps_signals", not outside, label=label, **numbers)


def draw(results):
    arms = results["arms"]
    figure, ((axis,),) = style.new_figure(1, 1, row_height=1.4 + 0.27 * len(arms))
    # One below the other, for many give nearly the same.
    shown = {v: DRAWN[v] for v in arms[0]["versions"] if v in DRAWN}
    shifts = np.linspace(-0.33, 0.33, len(shown))
    for shift, (version, drawn) in zip(shifts, shown.items(), strict=True):
        values = [at(version, "mean_square")(arm) for arm in arms]
        rows = np.arange(len(arms)) + shift
        look = drawn.look | {"linestyle": "", "label": drawn.label}
        axis.plot(np.clip(values, *SHOWN), rows, **look)
    panels.legend_below(figure, axis.get_lines())
    axis.axvline(1.0, color=style.MUTED, linewidth=0.8)
    axis.set_yticks(range(len(arms)), [arm["model"] for arm in arms])
    axis.set_xlabel("mean square at the last block, relative to the input's")
    axis.set(xscale="log", xlim=(0.8 * SHOWN[0], 1.25 * SHOWN[1]))
    axis.set_ylim(len(arms) - 0.5, -0.5)
    return figure


EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, {"last_block": draw}
)

if __name__ == "__main__":
    EXPERIMENT.start()

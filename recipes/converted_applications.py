"""Converts the networks of keras.applications with every scheme, and measures them.

python -m recipes.converted_applications
"""

import dataclasses
import pathlib
import tempfile
import warnings

import keras
import numpy as np

import fixinit
from fixinit.conversion import delete_normalization
from fixinit.layers import facts_of
from recipes.common import experiment
from recipes.common.data.standard_inputs import standard_inputs
from recipes.common.experiment import Claim
from recipes.common.experiment.reading import number
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table, format_number
from recipes.common.plotting import panels, style
from recipes.common.training import applications

SCHEMES = tuple(fixinit.schemes.names())
# Those that do without normalization and say how.
FREE = tuple(s for s in SCHEMES if s not in ("unnormalized", "batch_norm"))
CLASSES = 10
STEPS = 3
# Small, for networks that were not made for images of this size.
LEARNING_RATE = 1e-3
# Mean squares at the last block may leave the data's by this factor, either way.
FACTOR = 3.0
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
    batch_size: int = setting(16, "Inputs that are measured and trained on.", quick=4)


class LastBlock(fixinit.graph.Hook):
    """The variance and the mean square that one call of a network gives."""

    def __init__(self, place):
        self.place, self.found = place, None

    def leave(self, call, outputs, control):
        if call.name == self.place:
            y = keras.ops.convert_to_numpy(outputs[0]).astype("float64")
            axes = tuple(range(y.ndim - 1))
            self.found = {
                "variance": y.var(axes).mean(),
                "mean_square": np.mean(y**2),
            }
        return outputs


def last_block(model):
    """The call that ends the last block; without, the last weights before the head."""
    graph = fixinit.graph.trace(model)
    blocks = fixinit.graph.find_blocks(graph)
    if blocks:
        return blocks[-1].merge.name
    return [call for call in graph.calls if call.has_weights][-2].name


def at_last_block(model, place, x):
    """What stands there, with the statistics of the batch where they are used."""
    hook = LastBlock(place)
    with keras.StatelessScope():
        graph = fixinit.graph.trace(model)
        fixinit.graph.run(graph, [x], hook, training=True)
    return hook.found


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
    for scheme in SCHEMES:
        with warnings.catch_warnings():
            # What was assumed is in the record, and of no concern here.
            warnings.simplefilter("ignore", UserWarning)
            free = fixinit.convert(network, scheme, seed=settings.seed)
        left = [y for y in free._flatten_layers() if facts_of(y).normalizes]
        measured["normalizations"][scheme] = len(left)
        blocks = free.conversion["blocks"]
        measured["num_branches"] = sum(len(block["branches"]) for block in blocks)
        if free.input_shape != network.input_shape:
            raise ValueError(f"{free.input_shape} is not {network.input_shape}.")
        if free.output_shape != network.output_shape:
            raise ValueError(f"{free.output_shape} is not {network.output_shape}.")
        versions[scheme] = at_last_block(free, place, x)
        if scheme == settings.scheme:
            measured["losses"] = _train(free, x, settings.seed)
            # Behind the steps, for heads that start at zero would hide everything.
            measured["reload_error"] = _reload_error(free, x)
        keras.utils.clear_session()
    return measured


def _train(model, x, seed):
    """The losses of some steps of plain descent towards random classes."""
    optimizer = fixinit.optimizers.with_scalar_learning_rate(
        keras.optimizers.SGD(LEARNING_RATE)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Compiling the larger networks takes minutes.
    model.compile(optimizer, loss, run_eagerly=True)
    y = np.random.default_rng([seed, 1]).integers(CLASSES, size=len(x))
    return [float(model.train_on_batch(x, y)) for _ in range(STEPS)]


def _reload_error(model, x):
    """By how much of the largest output a network differs that was saved and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "free.keras"
        model.save(path)
        loaded = keras.models.load_model(path, compile=False)
    before, after = (
        keras.ops.convert_to_numpy(m(x, training=False)) for m in (model, loaded)
    )
    return float(np.abs(before - after).max() / np.abs(before).max())


def at(arm, version, quantity):
    """A quantity at the last block of one version of a network."""
    return number(arm["versions"][version][quantity])


def tables(results):
    arms = results["arms"]
    versions = ("normalized", "deleted", *SCHEMES)

    def of(quantity):
        return [
            (arm["model"], arm["num_branches"] or "none")
            + tuple(at(arm, version, quantity) for version in versions)
            for arm in arms
        ]

    columns = ("network", "L", *versions)
    checked = [
        (
            arm["model"],
            arm["size"],
            arm["layers"],
            arm["parameters"] / 1e6,
            arm["place"],
            arm["reload_error"],
            ", ".join(format_number(number(loss)) for loss in arm["losses"]),
        )
        for arm in arms
    ]
    return [
        Table("Variance at the last block", columns, of("variance"), VARIANCE),
        Table("Mean square at the last block", columns, of("mean_square"), SQUARE),
        Table("Saved and trained", CHECKED, checked, TRAINED),
    ]


VARIANCE = (
    "Over the batch and over space, of every channel; the mean over channels. Standard "
    "normal inputs. Networks without residual blocks: behind the last weight layer in "
    "front of the head. The signal may be large and the variance small, where it is "
    "nearly the same for all inputs."
)
SQUARE = "Of the same signals: their size, what is alike for all inputs included."
CHECKED = (
    *("network", "image size", "layers", "million parameters", "measured behind"),
    *("error after loading", f"losses of {STEPS} steps"),
)
TRAINED = (
    f"Converted with the scheme of the flag. Steps of {LEARNING_RATE:g}. Error: "
    "the largest difference of outputs, of the largest."
)


def claims(results):
    arms = results["arms"]
    if not arms:
        return []
    left = sum(
        count
        for arm in arms
        for scheme, count in arm["normalizations"].items()
        if scheme != "batch_norm"
    )
    losses = [number(loss) for arm in arms for loss in arm["losses"]]
    # The first NaN, if there is one.
    errors = [number(arm["reload_error"]) for arm in arms]
    worst = int(np.argmax(errors))
    return [
        Claim(
            "Every network converts with every scheme, and no normalization is left.",
            left == 0,
            f"{len(arms)} networks, {len(SCHEMES)} schemes, {left} layers left",
        ),
        Claim(
            "What is saved and loaded computes the same, to 1e-4.",
            errors[worst] < 1e-4,
            f"at most {errors[worst]:.1e}, in {arms[worst]['model']}",
        ),
        Claim(
            "Losses are finite.",
            bool(np.all(np.isfinite(losses))),
            f"{len(losses)} steps",
        ),
        *(_keeps_signals(arms, scheme) for scheme in FREE),
    ]


def _keeps_signals(arms, scheme):
    found = {arm["model"]: at(arm, scheme, "mean_square") for arm in arms}
    outside = [
        f"{name} {format_number(value)}"
        for name, value in found.items()
        if not 1 / FACTOR < value < FACTOR
    ]
    return Claim(
        f"{style.scheme_style(scheme)['label']}: the mean square at the last block is "
        f"within a factor of {FACTOR:g} of the input's.",
        not outside,
        f"outside: {', '.join(outside)}"
        if outside
        else f"between {format_number(min(found.values()))} and "
        f"{format_number(max(found.values()))}",
    )


def draw(results):
    arms = results["arms"]
    figure, ((axis,),) = style.new_figure(1, 1, row_height=1.4 + 0.27 * len(arms))
    looks = {
        "normalized": {"marker": "s", "color": style.INK, "label": "as it is"},
        "deleted": {
            "marker": "x",
            "color": style.MUTED,
            "label": "normalization deleted",
        },
    }
    for scheme in FREE:
        look = style.scheme_style(scheme)
        looks[scheme] = {key: look[key] for key in ("marker", "color", "label")}
    # One below the other, for many give nearly the same.
    shifts = np.linspace(-0.33, 0.33, len(looks))
    for shift, (version, look) in zip(shifts, looks.items(), strict=True):
        values = np.array([at(arm, version, "mean_square") for arm in arms])
        rows = np.arange(len(arms)) + shift
        axis.plot(np.clip(values, *SHOWN), rows, linestyle="", markersize=3.5, **look)
    axis.axvline(1.0, color=style.MUTED, linewidth=0.8)
    axis.set_yticks(range(len(arms)), [arm["model"] for arm in arms])
    axis.set(xscale="log", xlim=(0.8 * SHOWN[0], 1.25 * SHOWN[1]))
    axis.set_ylim(len(arms) - 0.5, -0.5)
    axis.set_xlabel("mean square at the last block, relative to the input's")
    panels.legend_below(figure, axis.get_lines()[:-1])
    return figure


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=lambda settings: experiment.grid(model=settings.models),
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"last_block": draw},
)

if __name__ == "__main__":
    EXPERIMENT.start()

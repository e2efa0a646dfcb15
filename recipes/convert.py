"""Takes the normalization out of a Keras model, and shows what that changes.

python -m recipes.convert --model=ResNet50V2 --scheme=fixup
"""

import dataclasses
import pathlib
import warnings

import keras
import numpy as np

import fixinit
from fixinit.conversion import delete_normalization, explain
from fixinit.diagnostics import diagnose
from recipes.common import experiment
from recipes.common.data.standard_inputs import standard_inputs
from recipes.common.experiment import Claim
from recipes.common.experiment import reading as read
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table, format_number
from recipes.common.plotting import panels, style
from recipes.common.training import applications

VERSIONS = {
    "normalized": "as it is",
    "deleted": "normalization deleted",
    "converted": "converted",
}
# Variances may leave the input's by this factor, either way.
FACTOR = 3.0
SMALLEST = 32


def _check_model(name):
    if name.endswith(".keras"):
        if not pathlib.Path(name).is_file():
            raise ValueError(f"There is no file {name!r}.")
    elif name not in applications.NAMES:
        raise ValueError(
            f"{name!r} is neither the path of a .keras file nor a function of "
            "keras.applications, such as 'ResNet50V2'."
        )


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    model: str = setting(
        "ResNet50V2",
        "What to convert: a function of keras.applications, or a .keras file.",
        check=_check_model,
    )
    scheme: str = setting(
        "fixup", "What takes the place of normalization.", check=fixinit.schemes.get
    )
    weights: str = setting(
        "initialize",
        "What becomes of weights: new ones, or statistics folded into those there are.",
        choices=("initialize", "fold"),
    )
    keep: str = setting(
        "", "Names or classes of normalization layers to keep, between commas."
    )
    image_size: int = setting(
        64, "Height and width for a function of keras.applications.", quick=SMALLEST
    )
    classes: int = setting(10, "Classes for a function of keras.applications.")
    batch_size: int = setting(16, "Inputs that are measured and trained on.", quick=8)
    steps: int = setting(10, "Steps of training that are timed.", quick=3)
    learning_rate: float = setting(1e-3, "Learning rate of these steps.")


def kept(settings):
    """What is to be kept, as `fixinit.convert` takes it."""
    return tuple(name for name in settings.keep.split(",") if name)


def load(settings):
    """The model that is to be converted."""
    if settings.model.endswith(".keras"):
        return keras.models.load_model(settings.model, compile=False)
    keras.utils.set_random_seed(settings.seed)
    return applications.build(settings.model, settings.image_size, settings.classes)


def make(settings, version):
    """One version of the model."""
    model = load(settings)
    if version == "normalized":
        return model
    if version == "deleted":
        return delete_normalization(model, kept(settings))
    return fixinit.convert(
        model, settings.scheme, settings.weights, kept(settings), settings.seed
    )


def measure(settings, version):
    with warnings.catch_warnings():
        # What was assumed is printed, and in the report.
        warnings.simplefilter("ignore", UserWarning)
        model = make(settings, version)
    x = standard_inputs(model, settings.batch_size, settings.seed)
    diagnosis = diagnose(model, x)
    measured = {
        "parameters": model.count_params(),
        "normalizations": len(_normalizations(model)),
        "mean_square": diagnosis.curve("mean_square"),
        "variance": diagnosis.curve("variance"),
        "gradient": diagnosis.curve("gradient_mean_square"),
        "verdict": str(diagnosis.verdict),
        "losses": _train(settings, model, x),
    }
    if version == "converted":
        measured["record"] = model.conversion
    return measured


def _normalizations(model):
    facts_of = fixinit.layers.facts_of
    return [x for x in model._flatten_layers() if facts_of(x).normalizes]


def _train(settings, model, x):
    """The losses of some steps towards random targets."""
    optimizer = keras.optimizers.SGD(settings.learning_rate, momentum=0.9)
    model.compile(fixinit.optimizers.with_scalar_learning_rate(optimizer), "mse")
    rng = np.random.default_rng([settings.seed, 1])
    y = keras.tree.map_structure(
        lambda output: rng.normal(size=output.shape).astype("float32"), model(x)
    )
    found = (
        model.train_on_batch(x, y, return_dict=True) for _ in range(settings.steps)
    )
    return [float(losses["loss"]) for losses in found]


def _arm(results, version):
    return next(iter(read.select(results, version=version)), None)


def _spread(arm):
    """The least and the most of what blocks give, relative to what the first gives."""
    curve = read.numbers(arm["mean_square"])
    relative = curve / curve[0]
    return float(np.min(relative)), float(np.max(relative))


def tables(results):
    rows = []
    for arm in results["arms"]:
        variance = read.numbers(arm["variance"])
        rows.append(
            (
                VERSIONS[arm["version"]],
                arm["normalizations"],
                arm["parameters"],
                variance[-1],
                read.numbers(arm["mean_square"])[-1],
                arm["losses"][0],
                arm["losses"][-1],
            )
        )
    columns = (
        "version",
        "normalization layers",
        "parameters",
        "variance, last block",
        "mean square, last block",
        "first loss",
        "last loss",
    )
    note = "Loss: squared error of random targets, on one batch that is seen again."
    return [Table("Before and after", columns, rows, note)]


def claims(results):
    converted = _arm(results, "converted")
    if converted is None:
        return []
    made = []
    if not results["config"]["keep"]:
        made.append(
            Claim(
                "No normalization is left.",
                converted["normalizations"] == 0,
                f"{converted['normalizations']} layers",
            )
        )
    low, high = _spread(converted)
    made.append(
        Claim(
            "Signals keep their size through all blocks, to within a factor of "
            f"{FACTOR:g}.",
            low > 1 / FACTOR and high < FACTOR,
            f"mean squares between {format_number(low)} and {format_number(high)} of "
            "the first",
        )
    )
    losses = converted["losses"]
    made.append(
        Claim(
            "It trains.",
            bool(np.all(np.isfinite(losses))) and losses[-1] < losses[0],
            f"loss {format_number(losses[0])}, after {len(losses) - 1} steps "
            f"{format_number(losses[-1])}",
        )
    )
    return made


def draw(results):
    figure, (axes,) = style.new_figure(1, 2, row_height=3.4)
    for axis, key in zip(axes, ("mean_square", "gradient"), strict=True):
        for index, arm in enumerate(results["arms"]):
            curve = read.numbers(arm[key])
            axis.plot(
                np.arange(len(curve)),
                np.where(curve > 0, curve, np.nan),
                marker="os^"[index % 3],
                markersize=3.5,
                label=VERSIONS[arm["version"]],
            )
        axis.set(yscale="log", xlabel="block or layer, from the input")
    axes[0].set_ylabel("mean square of activations")
    axes[1].set_ylabel("mean square of their gradients")
    panels.legend_below(figure, axes[0].get_lines())
    return figure


@dataclasses.dataclass(frozen=True)
class Conversion(experiment.Experiment):
    """An experiment that also explains what it does, and leaves the model."""

    def run(self, asked, arms, results):
        explain(load(asked), asked.scheme, asked.weights, kept(asked))
        print()
        content = super().run(asked, arms, results)
        path = results.path / "converted.keras"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            make(asked, "converted").save(path)
        print(f"Model: {path}", flush=True)
        return content


EXPERIMENT = Conversion(
    __file__,
    settings=Settings,
    arms=lambda settings: experiment.grid(version=tuple(VERSIONS)),
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"signals": draw},
)

if __name__ == "__main__":
    EXPERIMENT.start()

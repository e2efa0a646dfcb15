"""Takes the normalization out of a Keras model, and shows what that changes.

python -m recipes.convert --model=ResNet50V2 --scheme=fixup
"""

import dataclasses

import keras
import numpy as np

import fixinit
from fixinit.conversion import delete_normalization, explain
from fixinit.diagnostics import diagnose
from recipes.common import experiment
from recipes.common.data.standard_inputs import standard_inputs
from recipes.common.experiment import Table, Verdict, by, setting
from recipes.common.experiment.reading import numbers
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.common.plotting.variants import variant
from recipes.common.training import applications, conversion, saved_models

VERSIONS = {
    "normalized": variant("as it is", "#1a1a1a", "--", "s"),
    "deleted": variant("normalization deleted", "#f0a030", ":", "v"),
    "converted": variant("converted", "#c0242e", "-", "o"),
}
# Variances may leave the input's by this factor, either way.
FACTOR = 3.0


def _check_model(name):
    if name.endswith(".keras"):
        saved_models.check_model(name)
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
        64, "Height and width for a function of keras.applications.", quick=32
    )
    classes: int = setting(10, "Classes for a function of keras.applications.")
    batch_size: int = setting(16, "Inputs that are measured and trained on.", quick=8)
    steps: int = setting(10, "Steps of training that are timed.", quick=3)
    learning_rate: float = setting(1e-3, "Learning rate of these steps.")


def arms(settings):
    return experiment.grid(version=VERSIONS)


def kept(settings):
    """What is to be kept, as `fixinit.convert` takes it."""
    return tuple(name for name in settings.keep.split(",") if name)


def load(settings):
    """The model that is to be converted."""
    if settings.model.endswith(".keras"):
        return saved_models.load_model(settings.model)
    keras.utils.set_random_seed(settings.seed)
    return applications.build(settings.model, settings.image_size, settings.classes)


def make(settings, version):
    """One version of the model. What is assumed is printed, and in the report."""
    model, keep = load(settings), kept(settings)
    if version == "normalized":
        return model
    if version == "deleted":
        return delete_normalization(model, keep)
    options = {"weights": settings.weights, "keep": keep, "seed": settings.seed}
    return conversion.convert(model, settings.scheme, **options)


def measure(settings, version):
    model = make(settings, version)
    x = standard_inputs(model, settings.batch_size, settings.seed)
    diagnosis = diagnose(model, x)
    measured = {
        "parameters": model.count_params(),
        "normalizations": len(conversion.normalization_layers(model)),
        "mean_square": diagnosis.curve("mean_square"),
        "variance": diagnosis.curve("variance"),
        "gradient": diagnosis.curve("gradient_mean_square"),
        "verdict": str(diagnosis.verdict),
        "losses": train(settings, model, x),
    }
    if version == "converted":
        measured["record"] = model.conversion
    return measured


def train(settings, model, x):
    """The losses of some steps towards random targets."""
    optimizer = keras.optimizers.SGD(settings.learning_rate, momentum=0.9)
    model.compile(fixinit.optimizers.with_scalar_learning_rate(optimizer), "mse")
    rng = np.random.default_rng([settings.seed, 1])
    y = keras.tree.map_structure(
        lambda output: rng.normal(size=output.shape).astype("float32"), model(x)
    )
    return conversion.batch_losses(model, x, y, settings.steps)


def tables(results):
    columns = {
        "version": lambda arm: VERSIONS[arm["version"]].label,
        "normalization layers": "normalizations",
        "parameters": "parameters",
        "variance, last block": lambda arm: numbers(arm["variance"])[-1],
        "mean square, last block": lambda arm: numbers(arm["mean_square"])[-1],
        "first loss": lambda arm: arm["losses"][0],
        "last loss": lambda arm: arm["losses"][-1],
    }
    return [Table.of("versions", results["arms"], columns)]


def claims(results):
    converted = by(results, "version")["converted"]
    if not results["config"]["keep"]:
        left = converted["normalizations"]
        yield Verdict("no_normalization", left == 0, left=left)
    squares = numbers(converted["mean_square"])
    # Relative to what the first block gives.
    low, high = np.min(squares / squares[0]), np.max(squares / squares[0])
    held = low > 1 / FACTOR and high < FACTOR
    yield Verdict("keeps_signals", held, low=low, high=high, factor=FACTOR)
    losses = converted["losses"]
    held = np.all(np.isfinite(losses)) and losses[-1] < losses[0]
    yield Verdict("trains", held, losses=losses)


def over_depth(name, label):
    def curve(arm):
        # Zeros have no place on a logarithmic axis.
        found = numbers(arm[name])
        return np.where(found > 0, found, np.nan)

    axes = {"xlabel": "block or layer, from the input", "ylabel": label}
    return Panel(Line(curve), axes | {"yscale": "log"})


SIGNALS = (
    over_depth("mean_square", "mean square of activations"),
    over_depth("gradient", "mean square of their gradients"),
)
FIGURES = {"signals": Curves(SIGNALS, "version", VERSIONS, share="", stagger=False)}


@dataclasses.dataclass(frozen=True)
class Conversion(experiment.Experiment):
    """An experiment that also explains what it does, and leaves the model."""

    def run(self, asked, arms, results):
        explain(load(asked), asked.scheme, asked.weights, kept(asked))
        print()
        content = super().run(asked, arms, results)
        path = results.path / "converted.keras"
        saved_models.save_model(make(asked, "converted"), path)
        print(f"Model: {path}", flush=True)
        return content


EXPERIMENT = Conversion(__file__, Settings, arms, measure, claims, tables, FIGURES)

if __name__ == "__main__":
    EXPERIMENT.start()

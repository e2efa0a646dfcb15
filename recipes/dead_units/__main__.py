"""Units that are always on or always off, by depth: He alone, BatchNorm, Fixup, CReLU.

python -m recipes.dead_units
"""

import dataclasses

import keras
import numpy as np

from fixinit.diagnostics.report import loss_and_gradients
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Table, Verdict, by, format_percent, setting
from recipes.common.experiment.reading import number, numbers
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.common.training import families
from recipes.common.training.fit import LOSS, fit
from recipes.dead_units.activity import activity, describe
from recipes.dead_units.networks import NETWORKS, build


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    data: str = setting(
        "mnist1d", "Data set of the inputs.", quick="digits", check=datasets.load
    )
    networks: tuple[str, ...] = setting(
        tuple(NETWORKS), "Which networks to measure.", choices=tuple(NETWORKS)
    )
    num_blocks: int = setting(
        24, "Blocks of two weight layers each.", quick=4, at_least=2
    )
    units: int = setting(128, "Width of every layer.", quick=32)
    epochs: int = setting(8, "Epochs of training before the second look.", quick=1)
    batch_size: int = setting(100, "Samples of a training step.")
    learning_rate: float = setting(0.01, "Learning rate of SGD with momentum 0.9.")


def arms(settings):
    return experiment.grid(network=settings.networks)


def measure(settings, network):
    data = datasets.load(settings.data, seed=settings.seed)
    data = families.get("residual_mlp").adapt(data)
    model = build(settings, network, data.input_shape, data.num_classes)
    # Before training, running averages say nothing.
    *initial, _ = activity(settings, model, data.x_test, training=True)
    growth = gradient_growth(model, data.x_test, data.y_test)
    sgd = keras.optimizers.SGD(settings.learning_rate, momentum=0.9)
    fit(model, data, sgd, settings, [keras.callbacks.TerminateOnNaN()])
    *trained, outputs = activity(settings, model, data.x_test, training=False)
    diverged = not np.isfinite(outputs).all()
    accuracy = np.mean(outputs.argmax(axis=1) == data.y_test)
    return {
        **describe("initial", *initial),
        **({} if diverged else describe("trained", *trained)),
        "gradient_growth": growth,
        "diverged": diverged,
        "test_accuracy": None if diverged else accuracy,
    }


def gradient_growth(model, x, y):
    """The gradient's norm in the first block's kernels over that in the last one's."""
    _, gradients = loss_and_gradients(model, LOSS)(x, y, training=True)
    blocks = model.get_layer("blocks").trainable_variables
    kernels = [v.path for v in blocks if v.name == "kernel"]
    squares = 0.0
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        if variable.path in kernels:
            gradient = keras.ops.convert_to_numpy(gradient).astype("float64")
            squares = squares + (gradient**2).sum(axis=(1, 2))
    # Behind a head of zeros there is no gradient.
    return np.sqrt(squares[0] / squares[-1]) if squares[-1] else None


def stuck(arm, when="initial"):
    """The share of units that are always on or always off, by depth."""
    on, off = (numbers(arm.get(f"{when}_always_{x}")) for x in ("on", "off"))
    return on + off


def most_stuck(arm):
    """That share after training where it is largest; nan where training diverged."""
    return np.nan if arm["diverged"] else stuck(arm, "trained").max()


def label(arm):
    return NETWORKS[arm["network"]].label


def tables(results):
    columns = {
        "network": label,
        "first (%)": lambda arm: format_percent(stuck(arm)[0]),
        "last (%)": lambda arm: format_percent(stuck(arm)[-1]),
        "cosine": lambda arm: arm["initial_cosine"][-1],
        "gradient": "gradient_growth",
        "trained (%)": lambda arm: format_percent(most_stuck(arm)),
        "accuracy (%)": lambda arm: format_percent(number(arm["test_accuracy"])),
    }
    return [Table.of("stuck", results["arms"], columns)]


# The claims that no unit starts like that, and the networks that they are about.
NONE_STUCK = {
    "batch_norm": ("batch_norm_plain", "batch_norm_residual"),
    "without_normalization": ("fixup_residual", "looks_linear_plain"),
}


def claims(results):
    found = by(results, "network")
    shares = {name: stuck(arm) for name, arm in found.items()}
    plain, residual = shares.get("he_plain"), shares.get("he_residual")
    if plain is not None:
        yield Verdict("he_alone", plain[-1] > 0.5 and plain[0] < 0.1, plain=plain)
    if plain is not None and residual is not None:
        held = residual.mean() < plain.mean() and residual[-1] > residual[0] + 0.2
        yield Verdict("shortcuts_alone", held, plain=plain, residual=residual)
    for claim, names in NONE_STUCK.items():
        most = [shares[name].max() for name in names if name in found]
        if most:
            yield Verdict(claim, max(most) < 0.01, most=max(most))
    he = {name: arm for name, arm in found.items() if name.startswith("he_")}
    others = [arm for name, arm in found.items() if name not in he]
    if he and others:
        lowest = min(arm["initial_cosine"][-1] for arm in he.values())
        highest = max(arm["initial_cosine"][-1] for arm in others)
        held = lowest > 0.9 > 0.5 > highest
        yield Verdict("one_input", held, lowest=lowest, highest=highest)
    most = {label(arm): most_stuck(arm) for arm in others if not arm["diverged"]}
    if most:
        diverged = [label(arm) for arm in found.values() if arm["diverged"]]
        held = max(most.values()) < 0.05
        yield Verdict("survives_training", held, most=most, diverged=diverged)


def over_depth(line, title, ylabel, **axes):
    axes |= {"title": title, "ylabel": ylabel, "xlabel": "activation, from the input"}
    return Panel(Line(line, first=1), axes)


def shares(when, title):
    what = "units always on or always off (%)"
    return over_depth(lambda arm: 100 * stuck(arm, when), title, what, ylim=(-3, 103))


def last_rates(arm):
    return 100 * np.sort(numbers(arm["initial_last_rates"]))


def ranks(arm):
    count = len(arm["initial_last_rates"])
    return 100 * (np.arange(count) + 0.5) / count


STUCK = (shares("initial", "at initialization"), shares("trained", "after training"))
COSINE = ("initial_cosine", "how alike two inputs are", "cosine of their angle")
RATES = {
    "title": "activity at the last activation",
    "xlabel": "units, sorted (%)",
    "ylabel": "inputs that it is on for (%)",
}
WHY = (over_depth(*COSINE), Panel(Line(last_rates, x=ranks), RATES))
FIGURES = {
    "stuck_units": Curves(STUCK, "network", NETWORKS, row_height=3.0),
    "why_units_are_stuck": Curves(WHY, "network", NETWORKS, row_height=3.0, share=""),
}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()

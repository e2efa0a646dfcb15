"""Units that are always on or always off, by depth: He alone, BatchNorm, Fixup, CReLU.

python -m recipes.dead_units
"""

import dataclasses

import keras
import numpy as np
from keras import ops

import fixinit
from fixinit import graph
from fixinit.diagnostics.report import loss_and_gradients
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Claim
from recipes.common.experiment import reading as read
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table, format_percent
from recipes.common.plotting import panels, style
from recipes.common.training.shuffled import Shuffled

# In the place of zero, where all units of a layer are off.
_TINY = 1e-30
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

# name: (scheme, whether without shortcuts, label)
NETWORKS = {
    "he_plain": ("unnormalized", True, "He alone, no shortcuts"),
    "batch_norm_plain": ("batch_norm", True, "BatchNorm, no shortcuts"),
    "looks_linear_plain": (None, True, "looks-linear, no shortcuts"),
    "he_residual": ("unnormalized", False, "He alone, residual"),
    "batch_norm_residual": ("batch_norm", False, "BatchNorm, residual"),
    "fixup_residual": ("fixup", False, "Fixup, residual"),
}


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


def looks_linear(settings, input_shape, classes):
    """A network without shortcuts whose layers start as one orthogonal map."""

    def mirrored(units, seed):
        kernel = fixinit.initializers.LooksLinear(seed=seed)
        return keras.layers.Dense(units, kernel_initializer=kernel)

    seed = 3 * settings.seed
    layer = fixinit.layers.ResidualBlock(
        [fixinit.layers.CReLU(), mirrored(settings.units, seed + 2)],
        plain=True,
        name="layer",
    )
    stem = keras.layers.Dense(
        settings.units, kernel_initializer=keras.initializers.LecunNormal(seed)
    )
    head = [fixinit.layers.CReLU(), mirrored(classes, seed + 1)]
    stack = fixinit.layers.Stack(layer, 2 * settings.num_blocks)
    return keras.Sequential([keras.Input(input_shape), stem, stack, *head])


def build(settings, network, input_shape, classes):
    """The untrained network of one arm."""
    scheme, plain, _ = NETWORKS[network]
    if scheme is None:
        return looks_linear(settings, input_shape, classes)
    return fixinit.models.ResidualMLP(
        settings.num_blocks,
        settings.units,
        scheme=scheme,
        plain=plain,
        input_shape=input_shape,
        classes=classes,
        seed=settings.seed,
        stacked=True,
    )


class Activity(graph.Hook):
    """Observes on what share of the inputs every unit is active.

    And, as the last number, how alike the inputs look there: the cosine of the angle
    between two of them, on average over all pairs.
    """

    def __init__(self, units):
        self.units = units

    def observation_shape(self, call):
        is_relu = getattr(call.operation, "activation", None) is keras.activations.relu
        is_activation = is_relu or isinstance(call.operation, fixinit.layers.CReLU)
        return (self.units + 1,) if is_activation else None

    def observe(self, call, inputs, outputs):
        (x,) = inputs
        active = ops.mean(ops.cast(x > 0, "float32"), axis=0)
        # Deep in a network that explodes, squares of its numbers would overflow.
        x = x / ops.maximum(ops.max(ops.abs(x), axis=1, keepdims=True), _TINY)
        x = x / ops.maximum(ops.norm(x, axis=1, keepdims=True), _TINY)
        size = ops.cast(ops.shape(x)[0], "float32")
        mean = ops.sum(ops.square(ops.mean(x, axis=0)))
        cosine = (size * mean - 1) / (size - 1)
        return ops.concatenate([active, ops.reshape(cosine, (1,))])


def activity(settings, model, x, training):
    """`(rates, cosines, outputs)` of the activations from the first to the last."""
    hook = Activity(settings.units)
    with keras.StatelessScope():
        (outputs,), observed = graph.run(
            graph.trace(model), [ops.convert_to_tensor(x)], hook, None, training
        )
    *stacked, head = (ops.convert_to_numpy(value) for value in observed.values())
    # The activations of a block in turn, block by block.
    rows = np.stack(stacked, axis=1).reshape(-1, settings.units + 1)
    rows = np.concatenate([rows, head[None]])
    return rows[:, :-1], rows[:, -1], ops.convert_to_numpy(outputs)


def describe(prefix, rates, cosines):
    """What results.json holds of one look."""
    return {
        f"{prefix}_always_on": (rates == 1).mean(axis=1),
        f"{prefix}_always_off": (rates == 0).mean(axis=1),
        f"{prefix}_cosine": cosines,
        f"{prefix}_last_rates": rates[-1],
    }


def gradient_growth(model, x, y):
    """The gradient's norm in the first block's kernels over that in the last one's."""
    _, gradients = loss_and_gradients(model, LOSS)(x, y, training=True)
    (stack,) = (x for x in model.layers if isinstance(x, fixinit.layers.Stack))
    kernels = [v.path for v in stack.trainable_variables if v.path.endswith("kernel")]
    squares = 0.0
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        if variable.path in kernels:
            gradient = ops.convert_to_numpy(gradient).astype("float64")
            squares = squares + (gradient**2).sum(axis=(1, 2))
    # Behind a head of zeros there is no gradient.
    return np.sqrt(squares[0] / squares[-1]) if squares[-1] else None


def measure(settings, network):
    data = datasets.load(settings.data, seed=settings.seed)
    x_train, x_test = (x.reshape(len(x), -1) for x in (data.x_train, data.x_test))
    model = build(settings, network, x_train.shape[1:], data.num_classes)
    # Before training, running averages say nothing.
    *initial, _ = activity(settings, model, x_test, training=True)
    growth = gradient_growth(model, x_test, data.y_test)
    model.compile(
        keras.optimizers.SGD(settings.learning_rate, momentum=0.9),
        LOSS,
        # So few steps take less time than XLA.
        jit_compile=keras.backend.backend() == "jax",
    )
    batches = Shuffled(x_train, data.y_train, settings.batch_size, settings.seed)
    batches.fit(model, settings.epochs, [keras.callbacks.TerminateOnNaN()])
    *looked, outputs = activity(settings, model, x_test, training=False)
    diverged = not np.isfinite(outputs).all()
    trained = {} if diverged else describe("trained", *looked)
    accuracy = np.mean(outputs.argmax(axis=1) == data.y_test)
    return {
        **describe("initial", *initial),
        **trained,
        "gradient_growth": growth,
        "diverged": diverged,
        "test_accuracy": None if diverged else accuracy,
    }


def stuck(arm, when="initial"):
    """The share of units that are always on or always off, by depth."""
    on, off = (read.numbers(arm.get(f"{when}_always_{x}")) for x in ("on", "off"))
    return on + off


def label(arm):
    return NETWORKS[arm["network"]][2]


def tables(results):
    rows = []
    for arm in results["arms"]:
        trained = stuck(arm, "trained")
        rows.append(
            (
                label(arm),
                format_percent(stuck(arm)[0]),
                format_percent(stuck(arm)[-1]),
                arm["initial_cosine"][-1],
                arm["gradient_growth"],
                format_percent(trained.max() if trained.size else np.nan),
                format_percent(read.number(arm["test_accuracy"])),
            )
        )
    columns = (
        "network",
        "first (%)",
        "last (%)",
        "cosine",
        "gradient",
        "trained (%)",
        "accuracy (%)",
    )
    note = (
        "First, last: units that are on for all test inputs or for none, at the first "
        "and the last activation, at initialization. Cosine: of the angle between two "
        "inputs at the last activation. Gradient: its norm in the first block's "
        "kernels over that in the last one's, a dash where there is none yet. "
        "Trained: units always on or off after training, at the activation that has "
        "most of them. Accuracy: on the test set; a dash where training diverged."
    )
    return [Table("Units that are always on or always off", columns, rows, note)]


def percent(share):
    return f"{format_percent(share)} %"


def claims(results):
    found = {arm["network"]: arm for arm in results["arms"]}
    made = []
    if "he_plain" in found:
        share = stuck(found["he_plain"])
        made.append(
            Claim(
                "With He initialization alone, deep units are on for every input or "
                "for none.",
                share[-1] > 0.5 and share[0] < 0.1,
                f"{percent(share[0])} of the units at activation 1, "
                f"{percent(share[-1])} at activation {len(share)}, without shortcuts",
            )
        )
    if {"he_plain", "he_residual"} <= set(found):
        plain, residual = (stuck(found[name]) for name in ("he_plain", "he_residual"))
        made.append(
            Claim(
                "Shortcuts alone slow this down and do not stop it.",
                residual.mean() < plain.mean() and residual[-1] > residual[0] + 0.2,
                f"{percent(residual.mean())} of all units with shortcuts, "
                f"{percent(plain.mean())} without; with them {percent(residual[-1])} "
                "at the last activation",
            )
        )
    for names, text in (
        (
            ("batch_norm_plain", "batch_norm_residual"),
            "With BatchNorm no unit starts like that, at any depth.",
        ),
        (
            ("fixup_residual", "looks_linear_plain"),
            "Fixup and looks-linear initialization do as well without normalization.",
        ),
    ):
        shares = [stuck(found[name]).max() for name in names if name in found]
        if shares:
            evidence = f"at most {percent(max(shares))} of the units of any layer"
            made.append(Claim(text, max(shares) < 0.01, evidence))
    he = [found[n]["initial_cosine"][-1] for n in found if n.startswith("he_")]
    others = [found[n]["initial_cosine"][-1] for n in found if n[:3] != "he_"]
    if he and others:
        made.append(
            Claim(
                "Units get stuck where all inputs have become one.",
                min(he) > 0.9 > 0.5 > max(others),
                f"cosine between two inputs at the last activation: at least "
                f"{min(he):.3f} with He alone, at most {max(others):.3f} elsewhere",
            )
        )
    trained = {
        label(arm): stuck(arm, "trained").max()
        for name, arm in found.items()
        if not name.startswith("he_") and not arm["diverged"]
    }
    if trained:
        shares = "; ".join(f"{name}: {percent(x)}" for name, x in trained.items())
        diverged = [label(arm) for arm in found.values() if arm["diverged"]]
        if diverged:
            shares += f"; diverged, and left out: {', '.join(diverged)}"
        made.append(
            Claim(
                "What a good start has given survives training.",
                max(trained.values()) < 0.05,
                f"most units of one layer always on or off after training: {shares}",
            )
        )
    return made


def line_style(arm):
    scheme, plain, _ = NETWORKS[arm["network"]]
    look = style.scheme_style(scheme or "looks_linear")
    # Curves that lie on others are thinner, so that these show behind them.
    width = 2.8 - 0.35 * list(NETWORKS).index(arm["network"])
    line = {"linestyle": ":" if plain else "-", "linewidth": width}
    return {"color": look["color"], **line}


def draw_depth(results):
    figure, axes = style.new_figure(1, 2, row_height=3.0, sharey=True)
    titles = {"initial": "at initialization", "trained": "after training"}
    for axis, (when, title) in zip(axes[0], titles.items(), strict=True):
        for arm in results["arms"]:
            share = 100 * stuck(arm, when)
            axis.plot(range(1, len(share) + 1), share, **line_style(arm))
        axis.set(title=title, xlabel="activation, from the input", ylim=(-3, 103))
    axes[0, 0].set_ylabel("units always on or always off (%)")
    _legend(figure, results)
    return figure


def draw_why(results):
    figure, (axes,) = style.new_figure(1, 2, row_height=3.0)
    for arm in results["arms"]:
        cosine = read.numbers(arm["initial_cosine"])
        axes[0].plot(range(1, len(cosine) + 1), cosine, **line_style(arm))
        rates = np.sort(read.numbers(arm["initial_last_rates"]))
        ranks = 100 * (np.arange(len(rates)) + 0.5) / len(rates)
        axes[1].plot(ranks, 100 * rates, **line_style(arm))
    axes[0].set(
        title="how alike two inputs are",
        xlabel="activation, from the input",
        ylabel="cosine of their angle",
    )
    axes[1].set(
        title="activity at the last activation",
        xlabel="units, sorted (%)",
        ylabel="inputs that it is on for (%)",
    )
    _legend(figure, results)
    return figure


def _legend(figure, results):
    handles = [
        panels.Line2D([], [], label=label(arm), **line_style(arm))
        for arm in results["arms"]
    ]
    panels.legend_below(figure, handles)


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=lambda settings: [{"network": network} for network in settings.networks],
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"stuck_units": draw_depth, "why_units_are_stuck": draw_why},
)

if __name__ == "__main__":
    EXPERIMENT.start()

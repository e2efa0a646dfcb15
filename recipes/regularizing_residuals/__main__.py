"""What regularizes residual networks: dropped, re-weighted and decayed branches, noise.

python -m recipes.regularizing_residuals
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
from recipes.common.training.differences import Difference
from recipes.common.training.shuffled import Shuffled
from recipes.regularizing_residuals import disturbance, residual_noise
from recipes.regularizing_residuals.disturbance import BATCH_SIZE
from recipes.regularizing_residuals.figures import FIGURES, WAYS, by_way, mean

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    data: str = setting(
        "mnist1d", "Data set to train on.", quick="digits", check=datasets.load
    )
    ways: tuple[str, ...] = setting(
        tuple(WAYS),
        "Which ways to train with.",
        choices=tuple(WAYS),
    )
    num_blocks: int = setting(6, "Blocks of two weight layers each.", quick=3)
    units: int = setting(64, "Width of every layer, an even number.", quick=16)
    epochs: int = setting(16, "Epochs of training per network.", quick=2)
    repeats: int = setting(2, "Networks per way, each of its own seed.", quick=1)
    learning_rate: float = setting(0.05, "Learning rate of SGD with momentum 0.9.")
    survival: float = setting(
        0.5, "Probability that the last branch survives.", below=1.0
    )
    weak_decay: float = setting(1e-3, "Weight decay of the branches' kernels.")
    strong_decay: float = setting(1e-2, "The same for the stronger decay.")


def build(settings, way, data, seed):
    """The untrained network of one arm."""
    shape = (int(np.prod(data.input_shape)),)
    if way in ("even", "shake_shake"):
        shaken = way == "shake_shake"
        return residual_noise.two_branch_network(
            settings.num_blocks, settings.units, shape, data.num_classes, shaken, seed
        )
    scheme = "fixup"
    if way in residual_noise.NOISES:
        scheme = residual_noise.DisturbedFixup(
            noise=way, last=settings.survival, seed=seed
        )
    elif way in ("batch_norm_frozen", "batch_norm_8", "batch_norm_32"):
        size = way.removeprefix("batch_norm_")
        size = 0 if size == "frozen" else int(size)
        scheme = residual_noise.NoisyBatchNorm(size=size)
    elif way in ("batch_norm_128", "plain"):
        scheme = "batch_norm"
    model = fixinit.models.ResidualMLP(
        settings.num_blocks,
        settings.units,
        scheme=scheme,
        plain=way == "plain",
        input_shape=shape,
        classes=data.num_classes,
        seed=seed,
        stacked=False,
    )
    if way.endswith("_decay"):
        strength = getattr(settings, way)
        for block in disturbance.blocks(model):
            for variable in block.trainable_variables:
                if len(variable.shape) == 2:
                    variable.regularizer = keras.regularizers.L2(strength / 2)
    return model


class Trainer:
    """Trains networks of one way from one seed after the other, compiled once."""

    def __init__(self, settings, way, data):
        self.settings, self.way, self.data = settings, way, data
        size = max(len(data.x_train) // BATCH_SIZE, 1) * BATCH_SIZE
        self.x = data.x_train.reshape(len(data.x_train), -1)[:size]
        self.y = data.y_train[:size]
        self.model = build(settings, way, data, settings.seed)
        steps = settings.epochs * len(self.x) // BATCH_SIZE
        schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
        optimizer = fixinit.optimizers.with_scalar_learning_rate(
            keras.optimizers.SGD(schedule, momentum=0.9)
        )
        on_torch = keras.backend.backend() == "torch"
        self.model.compile(
            optimizer,
            LOSS,
            jit_compile=keras.backend.backend() == "jax",
            steps_per_execution=1 if on_torch else len(self.x) // BATCH_SIZE,
        )
        optimizer.build(self.model.trainable_variables)
        self._start = [np.array(ops.convert_to_numpy(v)) for v in optimizer.variables]

    def train(self, repeat):
        """Trains the network of one seed; returns it, and its noise before."""
        settings = self.settings
        seed = settings.seed + 1000 * repeat
        fresh = build(settings, self.way, self.data, seed)
        self.model.set_weights(fresh.get_weights())
        variables = self.model.optimizer.variables
        for variable, value in zip(variables, self._start, strict=True):
            variable.assign(value)
        residual_noise.calibrate(self.model, self.x)
        initial_noise = disturbance.noise(self.model, self.x, seed)
        batches = Shuffled(self.x, self.y, BATCH_SIZE, seed)
        batches.fit(self.model, settings.epochs)
        return self.model, initial_noise


def measure(settings, way):
    data = datasets.load(settings.data, seed=settings.seed)
    x_test = data.x_test.reshape(len(data.x_test), -1)
    trainer = Trainer(settings, way, data)
    found = {}
    for repeat in range(settings.repeats):
        model, initial_noise = trainer.train(repeat)
        test = (x_test, data.y_test)
        one = {
            "train_accuracy": disturbance.accuracy(model, trainer.x, trainer.y),
            "test_accuracy": disturbance.accuracy(model, *test),
            "lesioned": [
                disturbance.accuracy(model, *test, removed=block)
                for block in disturbance.blocks(model)
            ],
            "ratios": disturbance.branch_ratios(model, x_test),
            "initial_noise": initial_noise,
            "noise": disturbance.noise(model, trainer.x, settings.seed),
        }
        for key, value in one.items():
            found.setdefault(key, []).append(value)
    return found


def gap(arm):
    return mean(arm, "train_accuracy") - mean(arm, "test_accuracy")


def cost(arm):
    """What the removal of one block costs, on average: test accuracy."""
    return mean(arm, "test_accuracy") - mean(arm, "lesioned")


def tables(results):
    rows = [
        (
            WAYS[arm["way"]][0],
            *(
                format_percent(mean(arm, key), np.std(arm[key]))
                for key in ("train_accuracy", "test_accuracy")
            ),
            f"{100 * gap(arm):.1f}",
            f"{100 * cost(arm):.1f}",
            mean(arm, "ratios"),
            mean(arm, "noise"),
        )
        for arm in results["arms"]
    ]
    columns = ("way", "train (%)", "test (%)", "gap", "lesion", "branch", "noise")
    note = (
        "Accuracy with its standard deviation over seeds. Gap: between training and "
        "test set, in points. Lesion: points of test accuracy that the removal of one "
        "block costs, on average over the blocks. Branch: root mean square of what a "
        "branch adds over that of the shortcut. Noise: standard deviation of a "
        "sample's logits in training mode over that of the logits."
    )
    return [Table("Ways to regularize", columns, rows, note)]


def claims(results):
    found = by_way(results)
    parts = (
        claim_lesions,
        claim_robust,
        claim_gap,
        claim_accuracy,
        claim_shaken,
        claim_decay,
        claim_noise,
        claim_noise_regularizes,
    )
    made = [part(found) for part in parts]
    return [claim for claim in made if claim is not None]


def has(found, *ways):
    return set(ways) <= set(found)


def points(x):
    return f"{100 * x:.1f} points"


def gain(arm, base):
    """The `Difference` of two arms' test accuracies, in points."""
    return Difference.of(
        *(100 * np.array(a["test_accuracy"], "float64") for a in (arm, base))
    )


def claim_lesions(found):
    if not has(found, "none", "batch_norm_128", "plain"):
        return None
    residual = max(cost(found["none"]), cost(found["batch_norm_128"]))
    plain, left = cost(found["plain"]), mean(found["plain"], "lesioned")
    return Claim(
        "A trained residual network survives the removal of any block; without "
        "shortcuts the removal of any block destroys it.",
        residual < plain / 3 and left < 0.2,
        f"on average one block costs {points(cost(found['none']))} with Fixup, "
        f"{points(cost(found['batch_norm_128']))} with BatchNorm and "
        f"{points(plain)} without shortcuts, where an accuracy of "
        f"{format_percent(left)} % is left",
    )


def claim_robust(found):
    if not has(found, "none", "stochastic_depth"):
        return None
    before, after = cost(found["none"]), cost(found["stochastic_depth"])
    return Claim(
        "Networks trained with stochastic depth lean less on their blocks.",
        after < before / 2,
        f"on average one block costs {points(after)} with it, {points(before)} without",
    )


def claim_gap(found):
    ways = [w for w in ("stochastic_depth", "shake_drop", "shake_shake") if w in found]
    if not ways or not has(found, "none"):
        return None
    gaps = ", ".join(f"{WAYS[w][0]} {100 * gap(found[w]):.1f}" for w in ways)
    return Claim(
        "Dropping and re-weighting branches narrow the gap between training and test "
        "accuracy.",
        all(gap(found[way]) < gap(found["none"]) for way in ways),
        f"{points(gap(found['none']))} without; {gaps}",
    )


def claim_accuracy(found):
    ways = [w for w in ("stochastic_depth", "shake_drop") if w in found]
    if not ways or not has(found, "none"):
        return None
    gains = {way: gain(found[way], found["none"]) for way in ways}
    text = ", ".join(f"{WAYS[way][0]} {x:+.1f}" for way, x in gains.items())
    return Claim(
        "What dropping branches loses on the training set, it wins on the test set.",
        all(x.is_positive for x in gains.values()),
        "test accuracy in points (standard error), over "
        f"{len(found['none']['test_accuracy'])} seeds: {text}",
    )


def claim_shaken(found):
    if not has(found, "even", "shake_shake"):
        return None
    even, shaken = (found[way] for way in ("even", "shake_shake"))
    won = gain(shaken, even)
    return Claim(
        "Two branches with random weights generalize better than with their mean.",
        won.is_positive,
        f"Shake-Shake {won:+.1f} points of test accuracy (standard error), gap "
        f"{points(gap(shaken))} instead of {points(gap(even))}",
    )


def claim_decay(found):
    ways = ("none", "weak_decay", "strong_decay")
    if not has(found, *ways):
        return None
    ratios = [mean(found[way], "ratios") for way in ways]
    return Claim(
        "Weight decay on the branches pulls blocks towards the identity.",
        ratios[0] > ratios[1] > ratios[2],
        "a branch adds {:.3f} of its shortcut without, {:.3f} with the weaker and "
        "{:.3f} with the stronger decay".format(*ratios),
    )


def claim_noise(found):
    sizes = [size for size in (8, 32, 128) if f"batch_norm_{size}" in found]
    if len(sizes) < 2:
        return None
    powers, numbers = {}, {}
    for key in ("initial_noise", "noise"):
        noises = [mean(found[f"batch_norm_{size}"], key) for size in sizes]
        powers[key] = np.polyfit(np.log(sizes), np.log(noises), 1)[0]
        numbers[key] = ", ".join(
            f"{noise:.3f} over {size}"
            for size, noise in zip(sizes, noises, strict=True)
        )
    return Claim(
        "BatchNorm's own noise falls like one over the root of the samples that it "
        "normalizes together.",
        all(abs(power + 0.5) < 0.1 for power in powers.values()),
        f"before training {numbers['initial_noise']}: power "
        f"{powers['initial_noise']:.2f}; after training, each with its own size, "
        f"{numbers['noise']}: power {powers['noise']:.2f}",
    )


def claim_noise_regularizes(found):
    ways = ("batch_norm_frozen", "batch_norm_128", "batch_norm_32", "batch_norm_8")
    if not has(found, *ways):
        return None
    gaps = [gap(found[way]) for way in ways]
    tests = ", ".join(format_percent(mean(found[w], "test_accuracy")) for w in ways)
    return Claim(
        "The noise regularizes: the more of it, the narrower the gap.",
        sorted(gaps, reverse=True) == gaps,
        f"gaps of {', '.join(f'{100 * x:.1f}' for x in gaps)} points with frozen "
        f"statistics and over 128, 32 and 8 samples; test accuracy {tests} %",
    )


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=lambda settings: [{"way": way} for way in settings.ways],
    measure=measure,
    tables=tables,
    claims=claims,
    figures=FIGURES,
)

if __name__ == "__main__":
    EXPERIMENT.start()

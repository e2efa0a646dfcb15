"""What `recipes.ten_thousand_layers` trains: one value per flag, checked."""

import dataclasses
import math

from absl import flags

from fixinit import schemes
from fixinit._validation import check_choice, check_positive_int
from recipes.common import datasets

# Kept activations above this many bytes are computed again for the gradient.
KEPT_BYTES = 4e9
REMAT = ("auto", "none", "sqrt", "block")
QUICK = {"layers": 1000, "epochs": 3, "give_up_epochs": 2}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every setting that determines the results, each named as its flag."""

    dataset: str = "mnist1d"
    layers: int = 10_000
    units: int = 32
    schemes: tuple = ("scaled_residual", "batch_norm", "unnormalized")
    epochs: int = 12
    give_up_epochs: int = 3
    batch_size: int = 100
    learning_rate: float = 0.2
    warmup_epochs: int = 1
    momentum: float = 0.8
    global_clipnorm: float = 3.0
    scalar_learning_rate_multiplier: float = 0.1
    remat: str = "auto"
    seed: int = 0

    def __post_init__(self):
        for name in ("units", "epochs", "give_up_epochs", "batch_size"):
            check_positive_int(name, getattr(self, name))
        check_positive_int("layers", self.layers, minimum=4)
        if self.layers % 2:
            raise ValueError(
                "A stem, blocks of two weight layers and a head make an even number "
                f"of layers. The nearest are {self.layers - 1} and {self.layers + 1}. "
                f"Received: --layers={self.layers}"
            )
        _check_schemes(self.schemes)
        for name in ("learning_rate", "scalar_learning_rate_multiplier"):
            value = getattr(self, name)
            _check(name, 0 < value < math.inf, value, "positive and finite")
        clipnorm = self.global_clipnorm
        _check(
            "global_clipnorm", 0 <= clipnorm < math.inf, clipnorm, "finite, at least 0"
        )
        _check("momentum", 0 <= self.momentum < 1, self.momentum, "in [0, 1)")
        warmup = self.warmup_epochs
        below = f"at least 0 and below --epochs={self.epochs}"
        _check("warmup_epochs", 0 <= warmup < self.epochs, warmup, below)
        check_choice("remat", self.remat, REMAT)
        check_positive_int("seed", self.seed, minimum=0)

    @property
    def num_blocks(self):
        return (self.layers - 2) // 2

    @property
    def remat_argument(self):
        """The argument of `fixinit.models.ResidualMLP`."""
        if self.remat == "auto":
            # Two activations of every weight layer, in single precision.
            kept = 8 * self.layers * self.units * self.batch_size
            return "sqrt" if kept > KEPT_BYTES else None
        return None if self.remat == "none" else self.remat


def define(flag_values=flags.FLAGS):
    """Defines the flags. A function, as other recipes have flags of these names."""
    options = {"flag_values": flag_values}
    defaults = Settings()
    flags.DEFINE_list(
        "schemes",
        list(defaults.schemes),
        "What keeps the networks trainable, one network after the other. Any of "
        f"{', '.join(schemes.names())}.",
        **options,
    )
    for name, text in _HELP.items():
        default = getattr(defaults, name)
        kind = {int: flags.DEFINE_integer, float: flags.DEFINE_float}
        kind.get(type(default), flags.DEFINE_string)(name, default, text, **options)
    flags.DEFINE_string(
        "output_dir",
        "results/ten_thousand_layers",
        "Directory for the results. Started again with the same flags, a run goes on "
        "from the networks that are finished there.",
        **options,
    )
    flags.DEFINE_bool(
        "quick",
        False,
        "A small version of the whole in about a minute: other defaults for "
        f"{', '.join(f'--{name}' for name in QUICK)}.",
        **options,
    )


_HELP = {
    "dataset": f"Data set, one of {', '.join(datasets.names())}; the last stands for a "
    "file of your own. Samples are flattened.",
    "layers": "Number of weight layers: stem, two in every block, head. Any even "
    "number; 100000 works.",
    "units": "Width of every layer.",
    "epochs": "Passes over the training set.",
    "give_up_epochs": "A network whose training loss is no better than that of a "
    "guess after this many epochs is not trained any further.",
    "batch_size": "Samples in a training step.",
    "learning_rate": "Peak learning rate; a cosine takes it to 0.",
    "warmup_epochs": "Epochs at the beginning in which the learning rate grows "
    "linearly from 0.",
    "momentum": "Momentum of stochastic gradient descent.",
    "global_clipnorm": "Gradients are scaled down to this norm. The scalars of a "
    "scheme, and all other weights, have a norm of their own. 0 is off.",
    "scalar_learning_rate_multiplier": "Factor of the learning rate for the scalar "
    "biases and multipliers of schemes like fixup.",
    "remat": f"One of {', '.join(REMAT)}: which activations are computed again for "
    "the gradient, to save memory. auto: sqrt where they would take more than 4 GB.",
    "seed": "Seed of weights and order of samples.",
}


def from_flags(flag_values=flags.FLAGS):
    """The settings that the parsed flags ask for.

    Raises:
        ValueError: If a flag is outside its range.
    """
    names = [field.name for field in dataclasses.fields(Settings)]
    values = {name: flag_values[name].value for name in names}
    values["schemes"] = tuple(values["schemes"])
    if flag_values["quick"].value:
        for name, value in QUICK.items():
            if not flag_values[name].present:
                values[name] = value
    return Settings(**values)


def _check_schemes(names):
    if not names:
        raise ValueError("--schemes must not be empty.")
    for name in names:
        schemes.get(name)
    if len(set(names)) < len(names):
        raise ValueError(
            f"--schemes holds a scheme more than once. Received: {','.join(names)}"
        )


def _check(name, valid, value, allowed):
    # Written so that NaN, for which every comparison is false, is refused.
    if not valid:
        raise ValueError(f"--{name} must be {allowed}. Received: --{name}={value}")

"""What a comparison is asked to do, checked before anything is trained."""

import dataclasses
import math
import sys

import keras

from fixinit import schemes
from fixinit._validation import check_choice, check_positive_int
from recipes.common import families

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(1.0, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(1.0),
    "adamw": lambda: keras.optimizers.AdamW(1.0),
}
# Adaptive optimizers take steps of about the size of their rate.
LEARNING_RATES = {
    "sgd": (0.01, 0.03, 0.1, 0.3),
    "adam": (0.0003, 0.001, 0.003, 0.01),
    "adamw": (0.0003, 0.001, 0.003, 0.01),
}
SCHEMES = (
    "unnormalized",
    "batch_norm",
    "fixup",
    "scaled_residual",
    "skip_init",
    "rezero",
)
DTYPE_POLICIES = {
    "none": "float32",
    "mixed_float16": "mixed_float16",
    "mixed_bfloat16": "mixed_bfloat16",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every setting that determines the results, each named as its flag.

    `None` stands for a default that depends on other settings.
    """

    dataset: str = "mnist1d"
    model: str = "residual_mlp"
    units: int | None = None
    schemes: tuple = SCHEMES
    depths: tuple | None = None
    learning_rates: tuple | None = None
    seeds: tuple = (0, 1, 2)
    map_epochs: int = 3
    epochs: int = 10
    batch_size: int = 125
    optimizer: str = "sgd"
    mixed_precision: str = "none"
    divergence_loss: float = 100.0

    def __post_init__(self):
        family = families.get(self.model)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("mixed_precision", self.mixed_precision, DTYPE_POLICIES)
        self._default("units", family.units)
        self._default("depths", family.depths)
        self._default("learning_rates", LEARNING_RATES[self.optimizer])
        for name in ("units", "map_epochs", "epochs", "batch_size"):
            check_positive_int(name, getattr(self, name))
        for name in ("schemes", "depths", "learning_rates", "seeds"):
            _check_list(name, getattr(self, name))
        for scheme in self.schemes:
            schemes.get(scheme)
        for depth in self.depths:
            family.num_blocks(depth)
        for rate in self.learning_rates:
            _check_positive("learning_rates", rate)
        for seed in self.seeds:
            check_positive_int("seeds", seed, minimum=0)
        _check_positive("divergence_loss", self.divergence_loss, maximum=math.inf)
        # Shallow networks first, so that results appear early.
        object.__setattr__(self, "depths", tuple(sorted(self.depths)))
        object.__setattr__(self, "learning_rates", tuple(sorted(self.learning_rates)))

    def _default(self, name, value):
        if getattr(self, name) is None:
            # The way of frozen dataclasses to set a field.
            object.__setattr__(self, name, value)

    @property
    def family(self):
        return families.get(self.model)

    @property
    def dtype_policy(self):
        return DTYPE_POLICIES[self.mixed_precision]

    def make_optimizer(self):
        """A new optimizer of learning rate 1."""
        return OPTIMIZERS[self.optimizer]()


def quick(family, optimizer):
    """The settings of `--quick`: every part of the comparison, as small as it goes."""
    rates = LEARNING_RATES[optimizer]
    return {
        "depths": family.quick_depths,
        "learning_rates": rates[1::2],
        "seeds": (0, 1),
        "map_epochs": 1,
        "epochs": 3,
    }


def _check_list(name, values):
    if not values:
        raise ValueError(f"--{name} must not be empty.")
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(
            f"--{name} holds {', '.join(map(str, twice))} more than once. "
            f"Received: {','.join(map(str, values))}"
        )


def _check_positive(name, value, maximum=sys.float_info.max):
    if not 0 < value <= maximum:
        raise ValueError(f"--{name} must be positive numbers. Received: {value}")

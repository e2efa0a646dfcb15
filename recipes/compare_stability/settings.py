"""Flags of `recipes.compare_stability`, checked before training."""

import dataclasses

import keras

from fixinit import schemes
from recipes.common.data import datasets
from recipes.common.experiment import settings as settings_lib
from recipes.common.experiment.settings import setting
from recipes.common.training import families
from recipes.common.training.runs import sgd

OPTIMIZERS = {
    "sgd": sgd,
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
# Stands for every scheme that is registered.
ALL = "all"
# Defaults of a comparison, and of one of all schemes: shorter runs, more seeds.
COMPARED = {"seeds": (0, 1, 2), "map_epochs": 3, "epochs": 10}
RANKED = {"seeds": (0, 1, 2, 3, 4), "map_epochs": 2, "epochs": 5}
DTYPE_POLICIES = {
    "none": "float32",
    "mixed_float16": "mixed_float16",
    "mixed_bfloat16": "mixed_bfloat16",
}


def _rates(optimizer):
    return ",".join(map(str, LEARNING_RATES[optimizer]))


def _default_of(name):
    """What `--help` says of a default that depends on the schemes."""
    few, many = (
        ",".join(map(str, value)) if isinstance(value, tuple) else value
        for value in (COMPARED[name], RANKED[name])
    )
    return f"Default: {few}; {many} with --schemes=all."


@dataclasses.dataclass(frozen=True)
class Settings(settings_lib.Settings):
    """Every setting that determines the results, each named as its flag.

    `None` stands for a default that depends on other settings.
    """

    schemes: tuple[str, ...] = setting(
        SCHEMES,
        "What keeps the networks trainable, compared side by side. Any of "
        f"{', '.join(schemes.names())}; all stands for every one of them, by default "
        "at the shallowest and the deepest depth, with more seeds and fewer epochs.",
        check=lambda name: name == ALL or schemes.get(name),
    )
    depths: tuple[int, ...] | None = setting(
        None,
        "Depths of the networks, counted in weight layers. Which there are depends on "
        "--model: residual_mlp has every even number from 4. Default for "
        f"residual_mlp: {','.join(map(str, families.get('residual_mlp').depths))}.",
    )
    learning_rates: tuple[float, ...] | None = setting(
        None,
        "Learning rates to try for every scheme and depth. Default: "
        f"{_rates('sgd')} with sgd, {_rates('adam')} with adam and adamw.",
    )
    more_rates: int = setting(
        4,
        "Rates to try at most beyond the highest and the lowest, where one of these is "
        "the best so far. Each is as far from its neighbour as the two before it.",
        at_least=0,
    )
    seeds: tuple[int, ...] | None = setting(
        None,
        "Seeds of weights and data order. The best learning rate is trained once per "
        "seed; the rates are compared at the first seed. "
        f"{_default_of('seeds')}",
        at_least=0,
    )
    model: str = setting(
        "residual_mlp", f"Family of networks, one of {', '.join(families.FAMILIES)}."
    )
    units: int | None = setting(
        None,
        "Width of the network: units of residual_mlp (default 64), filters of the "
        "first stage of the others (16, for wide_resnet 32).",
    )
    dataset: str = setting(
        "mnist1d",
        f"Data set, one of {', '.join(datasets.names())}; the last stands for a file "
        "of your own.",
    )
    map_epochs: int | None = setting(
        None,
        "Epochs of the short runs that compare learning rates. "
        f"{_default_of('map_epochs')}",
    )
    epochs: int | None = setting(
        None,
        f"Epochs of the runs at the best learning rate. {_default_of('epochs')}",
    )
    batch_size: int = setting(
        125,
        "Samples in a training step. The default divides the 4,000 samples of mnist1d, "
        "so that no batch is smaller than the others.",
    )
    optimizer: str = setting(
        "sgd",
        f"One of {', '.join(OPTIMIZERS)}. sgd has momentum 0.9. Each scheme trains by "
        "its rules: the scalars of Fixup at a tenth of the learning rate.",
        choices=OPTIMIZERS,
    )
    mixed_precision: str = setting(
        "none",
        f"One of {', '.join(DTYPE_POLICIES)}: compute in half precision, with "
        "variables in float32. Pays on GPUs and TPUs.",
        choices=DTYPE_POLICIES,
    )
    divergence_loss: float = setting(
        100.0,
        "A run whose training loss on a batch exceeds this, or is not finite, has "
        "diverged: it is stopped and the others go on. 'inf' for non-finite only.",
        below=None,
    )

    def __post_init__(self):
        super().__post_init__()
        family = families.get(self.model)
        ranks_all = ALL in self.schemes
        if ranks_all:
            object.__setattr__(self, "schemes", tuple(schemes.names()))
            self._default("depths", (family.depths[0], family.depths[-1]))
        for name, value in (RANKED if ranks_all else COMPARED).items():
            self._default(name, value)
        self._default("units", family.units)
        self._default("depths", family.depths)
        self._default("learning_rates", LEARNING_RATES[self.optimizer])
        for depth in self.depths:
            family.num_blocks(depth)
        # Shallow networks first, so that results appear early.
        object.__setattr__(self, "depths", tuple(sorted(self.depths)))
        object.__setattr__(self, "learning_rates", tuple(sorted(self.learning_rates)))

    @classmethod
    def quick(cls, values):
        """Defaults of `--quick`: every part of the comparison, small."""
        return {
            "depths": families.get(values["model"]).quick_depths,
            "learning_rates": LEARNING_RATES[values["optimizer"]][1::2],
            "seeds": (0, 1),
            "more_rates": 0,
            "map_epochs": 1,
            "epochs": 3,
        }

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

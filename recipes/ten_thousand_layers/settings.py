"""Flags of `recipes.ten_thousand_layers`, checked."""

import dataclasses

from fixinit import schemes
from recipes.common.data import datasets
from recipes.common.experiment import settings as settings_lib
from recipes.common.experiment.settings import setting

# Kept activations above this many bytes are computed again for the gradient.
KEPT_BYTES = 4e9
REMAT = ("auto", "none", "sqrt", "block")


@dataclasses.dataclass(frozen=True)
class Settings(settings_lib.Settings):
    """Every setting that determines the results, each named as its flag."""

    schemes: tuple[str, ...] = setting(
        ("scaled_residual", "batch_norm", "unnormalized"),
        "What keeps the networks trainable, one network after the other. Any of "
        f"{', '.join(schemes.names())}.",
        check=schemes.get,
    )
    dataset: str = setting(
        "mnist1d",
        f"Data set, one of {', '.join(datasets.names())}; the last stands for a file "
        "of your own. Samples are flattened.",
    )
    layers: int = setting(
        10_000,
        "Number of weight layers: stem, two in every block, head. Any even number; "
        "100000 works.",
        quick=1000,
        at_least=4,
    )
    units: int = setting(32, "Width of every layer.")
    epochs: int = setting(12, "Passes over the training set.", quick=3)
    give_up_epochs: int = setting(
        3,
        "A network whose training loss is no better than that of a guess after this "
        "many epochs is not trained any further.",
        quick=2,
    )
    batch_size: int = setting(100, "Samples in a training step.")
    learning_rate: float = setting(0.2, "Peak learning rate; a cosine takes it to 0.")
    warmup_epochs: int = setting(
        1,
        "Epochs at the beginning in which the learning rate grows linearly from 0.",
        at_least=0,
    )
    momentum: float = setting(
        0.8, "Momentum of stochastic gradient descent.", at_least=0, below=1
    )
    global_clipnorm: float = setting(
        3.0,
        "Gradients are scaled down to this norm. The scalars of a scheme, and all "
        "other weights, have a norm of their own. 0 is off.",
        at_least=0,
    )
    scalar_learning_rate_multiplier: float = setting(
        0.1,
        "Factor of the learning rate for the scalar biases and multipliers of schemes "
        "like fixup.",
    )
    remat: str = setting(
        "auto",
        f"One of {', '.join(REMAT)}: which activations are computed again for the "
        "gradient, to save memory. auto: sqrt where they would take more than 4 GB.",
        choices=REMAT,
    )
    seed: int = setting(0, "Seed of weights and order of samples.", at_least=0)

    def __post_init__(self):
        super().__post_init__()
        if self.layers % 2:
            raise ValueError(
                "A stem, blocks of two weight layers and a head make an even number "
                f"of layers. The nearest are {self.layers - 1} and {self.layers + 1}. "
                f"Received: --layers={self.layers}"
            )
        settings_lib.check_warmup(self)

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

"""What `recipes.train` trains, and how: one value per flag, checked."""

import dataclasses
import math

from fixinit import schemes
from fixinit._validation import check_choice
from recipes.common.datasets import Dataset

MODELS = (
    "cifar_resnet",
    "wide_resnet",
    "imagenet_resnet",
    "resnet1d",
    "residual_mlp",
)
AUGMENTATIONS = ("auto", "none", "crop", "flip", "crop_flip")
MIXED_PRECISION = ("none", "mixed_float16", "mixed_bfloat16")
JIT_COMPILE = ("auto", "on", "off")

DEFAULT_DEPTHS = {
    "cifar_resnet": 110,
    "wide_resnet": 28,
    "imagenet_resnet": 50,
    "resnet1d": 20,
    "residual_mlp": 42,
}
CIFAR = ("cifar10", "cifar100")
# Below this size, a crop that moves by four pixels loses what the image shows.
SMALLEST_CROP = 32


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of one training run.

    `None` and `"auto"` stand for a choice that depends on the data set: see
    `resolved`. The defaults are the published recipe for CIFAR-10.
    """

    dataset: str = "cifar10"
    model: str | None = None
    depth: int | None = None
    widen_factor: int = 10
    scheme: str = "fixup"
    epochs: int = 200
    steps_per_epoch: int | None = None
    batch_size: int | None = None
    learning_rate: float = 0.1
    scalar_learning_rate_multiplier: float = 0.1
    momentum: float = 0.9
    warmup_epochs: int = 0
    weight_decay: float = 1e-4
    decay_scalars: bool = True
    decay_biases: bool = True
    mixup_alpha: float | None = None
    augment: str = "auto"
    gradient_accumulation_steps: int = 1
    mixed_precision: str = "none"
    jit_compile: str = "auto"
    seed: int = 0

    def __post_init__(self):
        schemes.get(self.scheme)
        if self.model is not None:
            check_choice("model", self.model, MODELS)
        for name in (
            "depth",
            "widen_factor",
            "epochs",
            "steps_per_epoch",
            "batch_size",
            "gradient_accumulation_steps",
        ):
            value = getattr(self, name)
            _check(name, value is None or value >= 1, self, "at least 1")
        for name in ("learning_rate", "scalar_learning_rate_multiplier"):
            value = getattr(self, name)
            _check(name, 0 < value < math.inf, self, "positive and finite")
        for name in ("weight_decay", "mixup_alpha"):
            value = getattr(self, name)
            valid = value is None or 0 <= value < math.inf
            _check(name, valid, self, "finite and not negative")
        _check("momentum", 0 <= self.momentum < 1, self, "in [0, 1)")
        _check("seed", 0 <= self.seed < 2**31, self, "in [0, 2**31)")
        below = f"at least 0 and below --epochs={self.epochs}"
        valid = 0 <= self.warmup_epochs < self.epochs
        _check("warmup_epochs", valid, self, below)

    def resolved(self, dataset: Dataset):
        """The same settings, with the choices that the data set decides made."""
        small_or_no_image = (
            not dataset.is_image or min(dataset.input_shape[:2]) < SMALLEST_CROP
        )
        model = self.model or ("cifar_resnet" if dataset.is_image else "resnet1d")
        augment = self.augment
        if augment == "auto":
            # A mirrored digit is another sign or none, unlike a mirrored cat.
            crop = not small_or_no_image
            flip = dataset.is_image and dataset.name != "digits"
            wanted = [crop * "crop", flip * "flip"]
            augment = "_".join(filter(None, wanted)) or "none"
            if model == "residual_mlp":
                augment = "none"
        mixup_alpha = self.mixup_alpha
        if mixup_alpha is None:
            mixup_alpha = 1.0 if dataset.name in CIFAR else 0.0
        # Batches of 128 would leave the 1,437 digits too few steps in an epoch.
        batch_size = self.batch_size or (32 if dataset.name == "digits" else 128)
        return dataclasses.replace(
            self,
            batch_size=batch_size,
            model=model,
            depth=self.depth or DEFAULT_DEPTHS[model],
            augment=augment,
            mixup_alpha=mixup_alpha,
        )


def _check(name, valid, settings, allowed):
    # Written so that NaN, for which every comparison is false, is refused.
    if not valid:
        raise ValueError(
            f"Flag --{name} must be {allowed}. "
            f"Received: --{name}={getattr(settings, name)}"
        )

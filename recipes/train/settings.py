"""Flags of `recipes.train`, checked."""

import dataclasses

from fixinit import schemes
from recipes.common.data.datasets import Dataset
from recipes.common.experiment import settings as settings_lib
from recipes.common.experiment.settings import setting

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
class Settings(settings_lib.Settings):
    """The settings of one training run.

    `None` and `"auto"` stand for a choice that depends on the data set: see
    `resolved`. The defaults are the published recipe for CIFAR-10.
    """

    dataset: str = setting(
        "cifar10",
        "The data: mnist1d, digits, cifar10, cifar100 or npz:PATH, a file with the "
        "arrays x_train, y_train, x_test and y_test.",
    )
    model: str | None = setting(
        None,
        f"The family of networks: {', '.join(MODELS)}. Default: cifar_resnet for "
        "images, resnet1d for everything else.",
        choices=MODELS,
    )
    depth: int | None = setting(
        None,
        "Number of weight layers. cifar_resnet, resnet1d: 6n + 2; wide_resnet: "
        "6n + 4; imagenet_resnet: 18, 34, 50, 101, 152; residual_mlp: 2n + 2. "
        "Default: 110, 20, 28, 50 and 42, in this order.",
    )
    widen_factor: int = setting(10, "Width of wide_resnet (k); others ignore it.")
    scheme: str = setting(
        "fixup",
        "What keeps the network trainable: unnormalized, batch_norm, fixup, "
        "scaled_residual, skip_init, rezero or normalized_sum.",
        check=schemes.get,
    )
    epochs: int = setting(200, "Passes over the training set.")
    steps_per_epoch: int | None = setting(
        None,
        "Batches in an epoch, to try something out. Default: the whole training set.",
    )
    batch_size: int | None = setting(
        None,
        "Samples in a batch, over all devices. An epoch leaves out the last ones of "
        "its random order that do not fill a batch. Default: 128, for digits 32.",
    )
    learning_rate: float = setting(0.1, "Peak learning rate; a cosine takes it to 0.")
    scalar_learning_rate_multiplier: float = setting(
        0.1,
        "Factor of the learning rate for the scalar biases and multipliers of schemes "
        "like fixup.",
    )
    momentum: float = setting(
        0.9, "Momentum of stochastic gradient descent.", at_least=0, below=1
    )
    warmup_epochs: int = setting(
        0,
        "Epochs at the beginning in which the learning rate grows linearly from 0.",
        at_least=0,
    )
    weight_decay: float = setting(
        1e-4,
        "Coupled weight decay, as PyTorch's SGD has it: this times the weights is "
        "added to the gradient, before the momentum.",
        at_least=0,
    )
    decay_scalars: bool = setting(True, "Decay the schemes' scalars, too.")
    decay_biases: bool = setting(
        True, "Decay bias vectors, and normalization's scales and shifts, too."
    )
    mixup_alpha: float | None = setting(
        None,
        "Blend every training sample with another, with a weight from "
        "Beta(alpha, alpha); 0 is off. Default: 1 for cifar10 and cifar100, else 0.",
        at_least=0,
    )
    augment: str = setting(
        "auto",
        f"One of {', '.join(AUGMENTATIONS)}: random changes of the training images, "
        "crop (after padding with 4 zeros on every side), flip (left to right), both "
        "or none. auto: crop images of at least 32 x 32, flip any but digits.",
        choices=AUGMENTATIONS,
    )
    gradient_accumulation_steps: int = setting(
        1, "Batches whose gradients are averaged for one update."
    )
    mixed_precision: str = setting(
        "none",
        f"One of {', '.join(MIXED_PRECISION)}: compute in half precision, with "
        "float32 weights. mixed_float16 suits GPUs and scales the loss; mixed_bfloat16 "
        "suits TPUs and recent GPUs.",
        choices=MIXED_PRECISION,
    )
    jit_compile: str = setting(
        "auto",
        f"One of {', '.join(JIT_COMPILE)}: compile with XLA. auto: with JAX, and with "
        "TensorFlow on a single GPU.",
        choices=JIT_COMPILE,
    )
    seed: int = setting(
        0,
        "Seed of weights, order of samples and augmentation. On a CPU the same seed "
        "gives the same run, bit for bit.",
        at_least=0,
        below=2**31,
    )

    def __post_init__(self):
        super().__post_init__()
        settings_lib.check_warmup(self)

    def resolved(self, dataset: Dataset) -> "Settings":
        """A copy in which the defaults that depend on the data set are filled in."""
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

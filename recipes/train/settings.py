"""Flags of `recipes.train`, checked."""

import dataclasses

from fixinit import schemes
from recipes.common.data.datasets import Dataset
from recipes.common.experiment import settings as settings_lib
from recipes.common.experiment.settings import setting
from recipes.common.training.compute import ComputeSettings

MODELS = (
    "cifar_resnet",
    "wide_resnet",
    "imagenet_resnet",
    "resnet1d",
    "residual_mlp",
    "nf_resnet",
    "nfnet",
)
# Those that only the schemes of their papers are meant for.
NORMALIZER_FREE = ("nf_resnet", "nfnet")
AUGMENTATIONS = ("auto", "none", "crop", "flip", "crop_flip")

DEFAULT_DEPTHS = {
    "cifar_resnet": 110,
    "wide_resnet": 28,
    "imagenet_resnet": 50,
    "resnet1d": 20,
    "residual_mlp": 42,
    "nf_resnet": 50,
}
VARIANTS = tuple(f"F{index}" for index in range(8))
CIFAR = ("cifar10", "cifar100")
# Below this size, a crop that moves by four pixels loses what the image shows.
SMALLEST_CROP = 32


@dataclasses.dataclass(frozen=True)
class Settings(ComputeSettings):
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
        "6n + 4; imagenet_resnet: 18, 34, 50, 101, 152; residual_mlp: 2n + 2; "
        "nf_resnet: 50, 101, 152, 200, 288. Default: 110, 20, 28, 50, 42 and 50, in "
        "this order.",
    )
    variant: str | None = setting(
        None,
        f"Size of nfnet, one of {', '.join(VARIANTS)}. Default: F0.",
        choices=VARIANTS,
    )
    widen_factor: int = setting(10, "Width of wide_resnet (k); others ignore it.")
    scheme: str | None = setting(
        None,
        f"What keeps the network trainable: {', '.join(schemes.names())}. Default: "
        f"normalizer_free for {' and '.join(NORMALIZER_FREE)}, else fixup.",
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
    scalar_learning_rate_multiplier: float | None = setting(
        None,
        "Factor of the learning rate for scalar biases and multipliers. Default: the "
        "scheme's, 0.1 for fixup and 1 for the others.",
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
    clipping: float | None = setting(
        None,
        "Factor of adaptive gradient clipping: the longest gradient of a unit, "
        "relative to its weights, the head aside; 0 is off. It clips the sum of the "
        "gradient and the weight decay. Default: the scheme's, 0.16 for "
        "normalizer_free and none for the others.",
        at_least=0,
    )
    decay_scalars: bool = setting(True, "Decay the schemes' scalars, too.")
    decay_biases: bool = setting(
        True, "Decay bias vectors, and normalization's scales and shifts, too."
    )
    drop_rate: float | None = setting(
        None,
        "Dropout in front of the classification layer. Default: that of the variant "
        "for nfnet, else 0.",
        at_least=0,
        below=1,
    )
    stochastic_depth_rate: float | None = setting(
        None,
        "Probability with which a sample passes the last block without its branch, in "
        "proportion less for earlier ones. Default: 0.1 for nf_resnet and nfnet, else "
        "0.",
        at_least=0,
        below=1,
    )
    shake_drop_rate: float = setting(
        0.0,
        "Probability with which ShakeDrop distorts the last block's branch, in "
        "proportion less for earlier ones; in the place of stochastic depth.",
        at_least=0,
        below=1,
    )
    label_smoothing: float = setting(
        0.0,
        "Share of the targets that is spread over all classes.",
        at_least=0,
        below=1,
    )
    ema_momentum: float = setting(
        0.0,
        "Test, and save in the end, the moving average of the weights instead of the "
        "last ones: what it keeps of itself at every batch, such as 0.99; 0 is off. "
        "Statistics of BatchNorm remain those of the last weights.",
        at_least=0,
        below=1,
    )
    mixup_alpha: float | None = setting(
        None,
        "Blend every training sample with another, with a weight from "
        "Beta(alpha, alpha); 0 is off. Default: 1 for cifar10 and cifar100, else 0.",
        at_least=0,
    )
    cutmix_alpha: float = setting(
        0.0,
        "Paste a box of another image into every training image, whose share of the "
        "area is from Beta(alpha, alpha), at most 1; 0 is off. With mixup, one half of "
        "every batch has it, the other mixup.",
        at_least=0,
        at_most=1,
    )
    rand_augment_factor: float = setting(
        0.0,
        "Strength, at most 1, of RandAugment, which changes shape or colors of every "
        "training image twice; 0 is off.",
        at_least=0,
        at_most=1,
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
        if self.model is not None:
            _check_family(self)
        if self.stochastic_depth_rate and self.shake_drop_rate:
            raise ValueError(
                "--stochastic_depth_rate and --shake_drop_rate distort the same "
                f"branches. Received: {self.stochastic_depth_rate} and "
                f"{self.shake_drop_rate}. Leave one of them out."
            )

    def resolved(self, dataset: Dataset) -> "Settings":
        """A copy in which the defaults that depend on the data set are filled in."""
        small_or_no_image = (
            not dataset.is_image or min(dataset.input_shape[:2]) < SMALLEST_CROP
        )
        model = self.model or ("cifar_resnet" if dataset.is_image else "resnet1d")
        scheme = self.scheme
        if scheme is None:
            scheme = "normalizer_free" if model in NORMALIZER_FREE else "fixup"
        clipping = self.clipping
        if clipping is None:
            clipping = schemes.get(scheme).clipping or 0.0
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
            depth=self.depth or DEFAULT_DEPTHS.get(model),
            variant=self.variant or (VARIANTS[0] if model == "nfnet" else None),
            scheme=scheme,
            clipping=clipping,
            augment=augment,
            mixup_alpha=mixup_alpha,
        )


def _check_family(settings):
    """Refuses flags that mean nothing to the family of networks."""
    model = settings.model
    if model == "nfnet" and settings.depth is not None:
        raise ValueError(
            "--depth means nothing to nfnet, whose sizes are its variants. Received: "
            f"--depth={settings.depth}. Pass --variant, one of {', '.join(VARIANTS)}."
        )
    if model != "nfnet" and settings.variant is not None:
        raise ValueError(
            f"--variant is for nfnet. Received: --variant={settings.variant}, "
            f"--model={model}. Pass --model=nfnet, or --depth."
        )
    if model in NORMALIZER_FREE and settings.shake_drop_rate:
        raise ValueError(
            f"--shake_drop_rate is not for {model}, which has stochastic depth. "
            f"Received: {settings.shake_drop_rate}. Pass --stochastic_depth_rate."
        )

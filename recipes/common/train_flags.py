"""The command line of `recipes.train`."""

import dataclasses

from absl import flags

from recipes.common.train_settings import (
    AUGMENTATIONS,
    JIT_COMPILE,
    MIXED_PRECISION,
    MODELS,
    Settings,
)


def define(flag_values=flags.FLAGS):
    """Defines the flags. A function, as other recipes have flags of these names."""
    _define_paths(flag_values)
    _define_network(flag_values)
    _define_optimization(flag_values)
    _define_data(flag_values)
    _define_execution(flag_values)


def settings(flag_values=flags.FLAGS):
    """The settings that the parsed flags ask for.

    Raises:
        ValueError: If a flag is outside its range.
    """
    fields = dataclasses.fields(Settings)
    return Settings(**{field.name: flag_values[field.name].value for field in fields})


def _define_paths(flag_values):
    flags.DEFINE_string(
        "output_dir",
        None,
        "Where checkpoints, logs and results go. A run that was interrupted goes on "
        "from its last finished epoch when it is started again with the same flags. "
        "Default: results/train/ and a name made of data set, model, scheme and seed.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "restart",
        False,
        "Delete what earlier runs left in --output_dir and start from the beginning.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "Directory that holds the CIFAR archive or the folder extracted from it. By "
        "default Keras downloads the data or takes it from its cache.",
        flag_values=flag_values,
    )


def _define_network(flag_values):
    _string(
        "dataset",
        "The data: mnist1d, digits, cifar10, cifar100 or npz:PATH, a file with the "
        "arrays x_train, y_train, x_test and y_test.",
        flag_values,
    )
    _string(
        "model",
        f"The family of networks: {', '.join(MODELS)}. Default: cifar_resnet for "
        "images, resnet1d for everything else.",
        flag_values,
    )
    _integer(
        "depth",
        "Number of weight layers. cifar_resnet, resnet1d: 6n + 2; wide_resnet: "
        "6n + 4; imagenet_resnet: 18, 34, 50, 101, 152; residual_mlp: 2n + 2. "
        "Default: 110, 20, 28, 50 and 42, in this order.",
        flag_values,
    )
    _integer("widen_factor", "Width of wide_resnet (k); others ignore it.", flag_values)
    _string(
        "scheme",
        "What keeps the network trainable: unnormalized, batch_norm, fixup, "
        "scaled_residual, skip_init, rezero or normalized_sum.",
        flag_values,
    )


def _define_optimization(flag_values):
    _integer("epochs", "Passes over the training set.", flag_values)
    _integer(
        "steps_per_epoch",
        "Batches in an epoch, to try something out. Default: the whole training set.",
        flag_values,
    )
    _integer(
        "batch_size",
        "Samples in a batch, over all devices. An epoch leaves out the last ones of "
        "its random order that do not fill a batch. Default: 128, for digits 32.",
        flag_values,
    )
    _float("learning_rate", "Peak learning rate; a cosine takes it to 0.", flag_values)
    _float(
        "scalar_learning_rate_multiplier",
        "Factor of the learning rate for the scalar biases and multipliers of schemes "
        "like fixup.",
        flag_values,
    )
    _float("momentum", "Momentum of stochastic gradient descent.", flag_values)
    _integer(
        "warmup_epochs",
        "Epochs at the beginning in which the learning rate grows linearly from 0.",
        flag_values,
    )
    _float(
        "weight_decay",
        "Coupled weight decay, as PyTorch's SGD has it: this times the weights is "
        "added to the gradient, before the momentum.",
        flag_values,
    )
    _bool("decay_scalars", "Decay the schemes' scalars, too.", flag_values)
    _bool(
        "decay_biases",
        "Decay bias vectors, and normalization's scales and shifts, too.",
        flag_values,
    )
    _integer(
        "gradient_accumulation_steps",
        "Batches whose gradients are averaged for one update.",
        flag_values,
    )


def _define_data(flag_values):
    _float(
        "mixup_alpha",
        "Blend every training sample with another, with a weight from "
        "Beta(alpha, alpha); 0 is off. Default: 1 for cifar10 and cifar100, else 0.",
        flag_values,
    )
    _enum(
        "augment",
        AUGMENTATIONS,
        "Random changes of the training images: crop (after padding with 4 zeros on "
        "every side), flip (left to right), both or none. auto: crop images of at "
        "least 32 x 32, flip any but digits.",
        flag_values,
    )


def _define_execution(flag_values):
    _enum(
        "mixed_precision",
        MIXED_PRECISION,
        "Compute in half precision, with float32 weights. mixed_float16 suits GPUs "
        "and scales the loss; mixed_bfloat16 suits TPUs and recent GPUs.",
        flag_values,
    )
    _enum(
        "jit_compile",
        JIT_COMPILE,
        "Compile with XLA. auto: with JAX, and with TensorFlow on a single GPU.",
        flag_values,
    )
    _integer(
        "seed",
        "Seed of weights, order of samples and augmentation. On a CPU the same seed "
        "gives the same run, bit for bit.",
        flag_values,
    )


def _default(name):
    return Settings.__dataclass_fields__[name].default


def _string(name, text, flag_values):
    flags.DEFINE_string(name, _default(name), text, flag_values=flag_values)


def _integer(name, text, flag_values):
    flags.DEFINE_integer(name, _default(name), text, flag_values=flag_values)


def _float(name, text, flag_values):
    flags.DEFINE_float(name, _default(name), text, flag_values=flag_values)


def _bool(name, text, flag_values):
    flags.DEFINE_bool(name, _default(name), text, flag_values=flag_values)


def _enum(name, values, text, flag_values):
    flags.DEFINE_enum(name, _default(name), values, text, flag_values=flag_values)

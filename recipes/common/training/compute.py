"""How a training run computes: its precision, and whether XLA compiles it."""

import dataclasses

import keras

from recipes.common.experiment import settings as settings_lib
from recipes.common.experiment.settings import setting
from recipes.common.training import devices

MIXED_PRECISION = ("none", "mixed_float16", "mixed_bfloat16")
JIT_COMPILE = ("auto", "on", "off")


@dataclasses.dataclass(frozen=True)
class ComputeSettings(settings_lib.Settings):
    """Settings of a training run that say how it computes."""

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


def start(settings):
    """Seeds Keras and sets its precision, before anything is built.

    Args:
        settings: `ComputeSettings` with a `seed`.
    """
    keras.utils.set_random_seed(settings.seed)
    policy = settings.mixed_precision
    keras.config.set_dtype_policy("float32" if policy == "none" else policy)
    devices.leave_gpus_to_backend()

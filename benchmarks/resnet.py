"""ResNet-110 on images of CIFAR's size: what a training step costs without BatchNorm.

Every arm trains through `model.train_on_batch` on one batch of 64, with SGD and
momentum 0.9. The floor is the same network of convolutions, ReLUs and shortcuts with
nothing else in it, so that `fixup / floor` is what Fixup's scalars cost.

TensorFlow uses oneDNN's convolutions by itself only on processors with instructions for
neural networks. All arms ask for them: on others, its own convolutions take so long
that nothing else in the network would show.
"""

import dataclasses

import keras
import numpy as np

import fixinit
from benchmarks.common.benchmark import Arm, Benchmark, Ratio

TENSORFLOW = {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1"}
TORCH = {"KERAS_BACKEND": "torch"}
DEPTH, QUICK_DEPTH = 110, 8
BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Floor(fixinit.schemes.Fixup):
    """Fixup's kernels and none of its scalars."""

    name = "floor"

    def before_activation(self, site):
        return []

    def before_weight(self, site):
        return []

    def branch_end(self, site):
        return []


def training_step(scheme, dtype_policy="float32", stacked="auto", clips=False):
    """A function that builds the network and returns one of its training steps."""

    def build(quick):
        keras.config.set_dtype_policy(dtype_policy)
        model = fixinit.models.CifarResNet(
            QUICK_DEPTH if quick else DEPTH, scheme=scheme, stacked=stacked, seed=0
        )
        rng = np.random.default_rng(0)
        x = rng.standard_normal((BATCH_SIZE, 32, 32, 3)).astype("float32")
        y = rng.integers(10, size=BATCH_SIZE)
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
        if clips:
            optimizer = fixinit.optimizers.adaptive_clipping(optimizer, model)
        model.compile(
            optimizer,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return lambda: model.train_on_batch(x, y)

    return build


BENCHMARKS = [
    Benchmark(
        name="resnet110",
        arms={
            "fixup": Arm(training_step("fixup"), TENSORFLOW),
            "batch_norm": Arm(training_step("batch_norm"), TENSORFLOW),
            "floor": Arm(training_step(Floor()), TENSORFLOW),
            "unstacked": Arm(training_step("fixup", stacked=False), TENSORFLOW),
        },
        ratios=[
            Ratio("step: Fixup / BatchNorm", "fixup", "batch_norm", limit=0.72),
            Ratio("step: Fixup / floor", "fixup", "floor", limit=1.12),
            Ratio("step: floor / BatchNorm", "floor", "batch_norm"),
            Ratio("step: Fixup / not stacked", "fixup", "unstacked"),
            Ratio(
                "CPU time: Fixup / BatchNorm", "fixup", "batch_norm", None, "processor"
            ),
            Ratio("CPU time: Fixup / floor", "fixup", "floor", None, "processor"),
            Ratio("first step: Fixup [s]", "fixup", None, 7.0, "first_step"),
            Ratio("first step: not stacked [s]", "unstacked", None, None, "first_step"),
            Ratio("first step: BatchNorm [s]", "batch_norm", None, None, "first_step"),
            Ratio("build: Fixup [s]", "fixup", None, None, "build"),
        ],
        repeats=20,
    ),
    Benchmark(
        name="resnet110_clipping",
        arms={
            "plain": Arm(training_step("fixup"), TENSORFLOW),
            "clipped": Arm(training_step("fixup", clips=True), TENSORFLOW),
            "unstacked": Arm(training_step("fixup", stacked=False), TENSORFLOW),
            "unstacked_clipped": Arm(
                training_step("fixup", stacked=False, clips=True), TENSORFLOW
            ),
            "torch": Arm(training_step("fixup"), TORCH),
            "torch_clipped": Arm(training_step("fixup", clips=True), TORCH),
        },
        ratios=[
            Ratio("step: clipping / none", "clipped", "plain", 1.03),
            Ratio(
                "step, not stacked: clipping / none",
                "unstacked_clipped",
                "unstacked",
                1.03,
            ),
            Ratio("step, PyTorch: clipping / none", "torch_clipped", "torch", 1.03),
            Ratio("CPU time: clipping / none", "clipped", "plain", None, "processor"),
            Ratio(
                "CPU time, not stacked: clipping / none",
                "unstacked_clipped",
                "unstacked",
                None,
                "processor",
            ),
            Ratio(
                "CPU time, PyTorch: clipping / none",
                "torch_clipped",
                "torch",
                None,
                "processor",
            ),
        ],
        repeats=30,
    ),
    Benchmark(
        name="resnet110_bfloat16",
        arms={
            "float32": Arm(training_step("fixup"), TENSORFLOW),
            "bfloat16": Arm(training_step("fixup", "mixed_bfloat16"), TENSORFLOW),
        },
        ratios=[
            Ratio("step: bfloat16 / float32", "bfloat16", "float32", limit=0.70),
        ],
        # A single step takes many seconds where the processor has no bfloat16.
        repeats=8,
        warmup=1,
    ),
]

"""Trains one very deep network, whose blocks are one `fixinit.layers.Stack`."""

import math
import time

import keras

import fixinit
from fixinit import _keras
from recipes.common.training import families
from recipes.common.training.divergence import Divergence
from recipes.common.training.initial import BlockMeasurements, probe
from recipes.common.training.memory import PeakMemory
from recipes.common.training.recorder import Recorder
from recipes.common.training.schedule import warmup_and_cosine
from recipes.common.training.shuffled import Shuffled

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build(settings, data, scheme):
    """The untrained network."""
    return families.residual_mlp(
        data,
        settings.num_blocks,
        settings.units,
        scheme=scheme,
        seed=settings.seed,
        stacked=True,
        remat=settings.remat_argument,
    )


def weight_layers(model):
    """Counts the layers that multiply by a kernel, those inside of stacks included."""
    count = 0
    for layer in model.layers:
        if isinstance(layer, fixinit.layers.Stack):
            count += layer.depth * _kernels(layer.block)
        else:
            count += _kernels(layer)
    return count


def _kernels(layer):
    return sum(isinstance(x, keras.layers.Dense) for x in _keras.flatten_layers(layer))


def compile_model(model, settings, steps):
    """Compiles the model, with XLA where the backend has it."""
    sgd = keras.optimizers.SGD(
        warmup_and_cosine(settings, steps),
        momentum=settings.momentum,
        global_clipnorm=settings.global_clipnorm or None,
    )
    optimizer = fixinit.optimizers.with_scalar_learning_rate(
        sgd, settings.scalar_learning_rate_multiplier
    )
    model.compile(
        optimizer,
        LOSS,
        metrics=["accuracy", Divergence(math.inf)],
        # Thousands of small matrix products in a loop: XLA runs them several times
        # faster than TensorFlow does. PyTorch has no such loop.
        jit_compile=keras.backend.backend() != "torch",
    )


def train(settings, data, scheme, progress):
    """Builds, measures and trains the network of one scheme.

    Args:
        settings: `recipes.ten_thousand_layers.settings.Settings`.
        data: `recipes.common.data.datasets.Dataset` of vectors.
        scheme: Name of a scheme.
        progress: `recipes.common.experiment.progress.Progress`; one epoch is one
            unit of work.

    Returns:
        dict. The arm as results.json holds it.
    """
    start = time.perf_counter()
    memory = PeakMemory()
    keras.utils.set_random_seed(settings.seed)
    model = build(settings, data, scheme)
    initial = BlockMeasurements(model, LOSS).initial(
        *probe(data, settings.batch_size), fixinit.schemes.get(scheme)
    )
    steps = math.ceil(len(data.x_train) / settings.batch_size)
    compile_model(model, settings, steps)
    batches = Shuffled(data.x_train, data.y_train, settings.batch_size, settings.seed)
    recorder = Recorder(math.inf, steps, gradient_norm=None, on_epoch=lambda: None)
    watch = Watch(settings, scheme, recorder, progress, math.log(data.num_classes))
    batches.fit(
        model,
        settings.epochs,
        [recorder, watch],
        validation_data=(data.x_test, data.y_test),
        validation_batch_size=settings.batch_size,
    )
    return {
        "id": scheme,
        "kind": "train",
        "scheme": scheme,
        "depth": weight_layers(model),
        "num_blocks": settings.num_blocks,
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
        "parameters": model.count_params(),
        "diverged": recorder.diverged,
        "gave_up": watch.gave_up,
        "epochs": recorder.epochs,
        "initial": initial,
        "steps_per_second": recorder.steps_per_second,
        "peak_memory_mb": memory.megabytes(),
        "seconds": round(time.perf_counter() - start, 3),
    }


class Watch(keras.callbacks.Callback):
    """Reports progress, and stops a network that does not learn.

    Args:
        settings: `recipes.ten_thousand_layers.settings.Settings`.
        scheme: Name of a scheme.
        recorder: `recipes.common.training.recorder.Recorder`, called before this.
        progress: `recipes.common.experiment.progress.Progress`.
        guessing: float. The loss of a network that guesses.
    """

    def __init__(self, settings, scheme, recorder, progress, guessing):
        super().__init__()
        self.settings = settings
        self.scheme = scheme
        self.recorder = recorder
        self.progress = progress
        self.guessing = guessing
        self.gave_up = False

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        label = f"{self.scheme}, epoch {self.epoch}, loss {logs['loss']:.3f}"
        self.progress.start(label)
        self.progress.advance(1 / self.recorder.steps)

    def on_epoch_end(self, epoch, logs=None):
        if self.recorder.diverged:
            return
        last = self.recorder.epochs[-1]
        self.progress.write(
            f"{self.scheme:15s} epoch {self.epoch:<3d} "
            f"train loss {last['train_loss']:.3f}, "
            f"test accuracy {100 * last['test_accuracy']:.1f} %"
        )
        learns = last["train_loss"] < self.guessing
        if self.epoch == self.settings.give_up_epochs and not learns:
            self.gave_up = self.model.stop_training = True

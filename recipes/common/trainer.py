"""Trains the arms of a comparison: one compiled network, many short runs."""

import math
import time

import keras

from fixinit import optimizers, schemes
from recipes.common.divergence import Divergence, divergence
from recipes.common.initial import BlockMeasurements, probe
from recipes.common.memory import PeakMemory
from recipes.common.shuffled import Shuffled

# More steps in one execution no longer pay, and divergence is noticed later.
MAX_STEPS_PER_EXECUTION = 32
TEST_BATCH_SIZE = 1000


class Trainer:
    """Trains networks of one scheme and depth, at any learning rate and seed.

    Compiling a deep network takes longer than a short run, so it is done once.
    Every arm starts from the weights of its seed and from an optimizer without
    history: its result does not depend on the arms before it.

    Args:
        settings: `recipes.common.comparison_settings.Settings`.
        data: `recipes.common.datasets.Dataset` in the family's shape.
        scheme: Name of a scheme.
        depth: int. Weight layers.
    """

    def __init__(self, settings, data, scheme, depth):
        self.settings = settings
        self.data = data
        self.scheme = scheme
        self.depth = depth
        self.num_blocks = settings.family.num_blocks(depth)
        self.steps = math.ceil(len(data.x_train) / settings.batch_size)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        keras.config.set_dtype_policy(settings.dtype_policy)
        self._weights = {}
        seed = settings.seeds[0]
        self.model = self._build(seed)
        self._weights[seed] = self.model.get_weights()
        self._compile()
        self._probe = probe(data)
        self._measurements = BlockMeasurements(self.model, self.loss)

    def _build(self, seed):
        settings = self.settings
        return settings.family.build(
            self.depth, settings.units, self.data, self.scheme, seed
        )

    def _compile(self):
        model, backend = self.model, keras.backend.backend()
        steps = min(self.steps, MAX_STEPS_PER_EXECUTION)
        optimizer = optimizers.with_scalar_learning_rate(self.settings.make_optimizer())
        # Measured on two CPU cores, 12 blocks of width 64: 32 steps in one execution
        # run twice as fast as single ones, and XLA, which the JAX backend always
        # uses, does not make TensorFlow faster.
        model.compile(
            optimizer,
            self.loss,
            metrics=["accuracy", Divergence(self.settings.divergence_loss)],
            # PyTorch, which compiles nothing here, takes single steps only.
            steps_per_execution=1 if backend == "torch" else steps,
            jit_compile=backend == "jax",
        )
        # Everything is built here: variables that are made while the training step is
        # traced would make TensorFlow trace it again, which takes seconds.
        model.optimizer.build(model.trainable_variables)
        x, y = self.data.x_train[:1], self.data.y_train[:1]
        outputs = model(x)
        model.compute_loss(x, y, outputs)
        model.compute_metrics(x, y, outputs)
        self._optimizer_state = [
            keras.ops.convert_to_numpy(v).copy() for v in model.optimizer.variables
        ]
        # Compiled at rate 1, each group of variables holds its multiplier.
        self._groups = [
            (group, float(keras.ops.convert_to_numpy(group.learning_rate)))
            for group in _groups(model.optimizer)
        ]

    def train(self, arm_id, kind, learning_rate, seed, epochs, on_epoch=lambda: None):
        """Trains one arm.

        Args:
            arm_id: Its id in results.json.
            kind: `"train"`, with measurements of the network, or `"map"`.
            learning_rate: float.
            seed: int. Draws the weights and the order of the samples.
            epochs: int.
            on_epoch: Called after every epoch.

        Returns:
            dict. The arm as results.json holds it.
        """
        start = time.perf_counter()
        memory = PeakMemory()
        self._reset(learning_rate, seed)
        measures = kind == "train"
        initial = self._initial() if measures else None
        recorder = Recorder(
            bound=self.settings.divergence_loss,
            steps=self.steps,
            gradient_norm=self._gradient_norm if measures else None,
            on_epoch=on_epoch,
        )
        x, y = self.data.x_train, self.data.y_train
        batches = Shuffled(x, y, self.settings.batch_size, seed)
        self.model.fit(
            batches,
            epochs=epochs,
            shuffle=False,
            validation_data=(self.data.x_test, self.data.y_test),
            validation_batch_size=TEST_BATCH_SIZE,
            callbacks=[batches.callback(), recorder],
            verbose=0,
        )
        return {
            "id": arm_id,
            "kind": kind,
            "scheme": self.scheme,
            "depth": self.depth,
            "num_blocks": self.num_blocks,
            "learning_rate": learning_rate,
            "seed": seed,
            "parameters": self.model.count_params(),
            "diverged": recorder.diverged,
            "epochs": recorder.epochs,
            "initial": initial,
            "steps_per_second": recorder.steps_per_second,
            "peak_memory_mb": memory.megabytes(),
            "seconds": round(time.perf_counter() - start, 3),
        }

    def _reset(self, learning_rate, seed):
        if seed not in self._weights:
            self._weights[seed] = self._build(seed).get_weights()
        self.model.set_weights(self._weights[seed])
        variables = self.model.optimizer.variables
        for variable, value in zip(variables, self._optimizer_state, strict=True):
            variable.assign(value)
        for group, multiplier in self._groups:
            group.learning_rate = learning_rate * multiplier

    def _initial(self):
        """What the network is like before its first step."""
        scheme = None
        if self.settings.family.predictable:
            scheme = schemes.get(self.scheme)
        return self._measurements.initial(*self._probe, scheme)

    def _gradient_norm(self):
        return self._measurements.gradient_norm(*self._probe)


class Recorder(keras.callbacks.Callback):
    """Keeps what `fit` reports of one epoch after the other, and notices divergence.

    Args:
        bound: float. The bound of `Divergence`.
        steps: int. Steps of an epoch.
        gradient_norm: Callable that measures it after every epoch, or `None`.
        on_epoch: Called after every epoch.
    """

    def __init__(self, bound, steps, gradient_norm, on_epoch):
        super().__init__()
        self.bound = bound
        self.steps = steps
        self.gradient_norm = gradient_norm
        self.on_epoch = on_epoch
        self.epochs = []
        self.diverged = None

    @property
    def steps_per_second(self):
        """That of the fastest epoch: the first compiles, others may be disturbed."""
        if not self.epochs:
            return None
        return self.steps / min(epoch["seconds"] for epoch in self.epochs)

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        # Without the evaluation that follows the last batch.
        self._seconds = time.perf_counter() - self._start
        done = len(self.epochs)
        self.diverged = divergence(logs, self.bound, done + 1, done * self.steps)
        if self.diverged:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if self.diverged:
            return
        self.epochs.append(
            {
                "epoch": len(self.epochs) + 1,
                "train_loss": logs["loss"],
                "train_accuracy": logs["accuracy"],
                "test_loss": logs["val_loss"],
                "test_accuracy": logs["val_accuracy"],
                "gradient_norm": self.gradient_norm() if self.gradient_norm else None,
                "seconds": round(self._seconds, 4),
            }
        )
        self.on_epoch()


def _groups(optimizer):
    """The optimizers of the groups of variables, inside any loss scaling."""
    return getattr(optimizer, "inner_optimizer", optimizer).optimizers

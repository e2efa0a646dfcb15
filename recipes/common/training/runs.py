"""One compiled network, many runs of it."""

import math

import keras

from fixinit import optimizers, schemes
from recipes.common.training.divergence import Divergence
from recipes.common.training.fit import LOSS
from recipes.common.training.noise import seed_noise
from recipes.common.training.recorder import Recorder
from recipes.common.training.shuffled import Shuffled

# More steps in one execution no longer pay, and divergence is noticed later.
MAX_STEPS_PER_EXECUTION = 32
TEST_BATCH_SIZE = 1000


def sgd():
    """SGD with momentum 0.9 and learning rate 1."""
    return keras.optimizers.SGD(1.0, momentum=0.9)


class Runs:
    """Trains networks that differ in their weights only, at any learning rate.

    Compiling a deep network takes longer than a short run, so it is done once.
    Every run starts from the weights of its seed and from an optimizer without
    history: its result does not depend on the runs before it.

    Args:
        build: Callable `seed -> model`. The models differ in their weights only.
        data: `recipes.common.data.datasets.Dataset` in the shape that the models take.
        batch_size: int.
        seed: int. The seed of the first run.
        optimizer: Keras optimizer of learning rate 1, or with a schedule. It is not
            compiled again when the rate changes.
        divergence_loss: float. A larger loss on a batch ends a run.
        clipping: float, the factor of adaptive gradient clipping, 0 for none; `None`
            for the scheme's.
        scheme: The scheme of the models, by whose rules and with whose clipping they
            train; `None` for neither.
        loss: Keras loss of class indices and logits.
        jit_compile: bool. Whether to use XLA, which the JAX backend always does:
            slower to compile, and faster for stacks of many blocks. PyTorch runs
            without.
    """

    def __init__(
        self,
        build,
        data,
        batch_size,
        seed,
        optimizer=None,
        divergence_loss=math.inf,
        jit_compile=False,
        clipping=None,
        loss=LOSS,
        scheme=None,
    ):
        self.build = build
        self.data = data
        self.batch_size = batch_size
        self.divergence_loss = divergence_loss
        self.steps = math.ceil(len(data.x_train) / batch_size)
        self.loss = loss
        self.model = build(seed)
        self._weights = {seed: self.model.get_weights()}
        rules = ()
        if scheme is not None:
            scheme = schemes.get(scheme)
            rules = scheme.optimizer_rules
            clipping = scheme.clipping if clipping is None else clipping
        optimizer = optimizers.by_role(optimizer or sgd(), rules)
        if clipping:
            optimizer = optimizers.adaptive_clipping(optimizer, self.model, clipping)
        self._compile(optimizer, jit_compile)

    def _compile(self, optimizer, jit_compile):
        model, backend = self.model, keras.backend.backend()
        steps = min(self.steps, MAX_STEPS_PER_EXECUTION)
        # Measured on two CPU cores, 12 blocks of width 64: 32 steps in one execution
        # run twice as fast as single ones, and XLA does not make TensorFlow faster.
        model.compile(
            optimizer,
            self.loss,
            metrics=["accuracy", Divergence(self.divergence_loss)],
            # PyTorch, which compiles nothing here, takes single steps only.
            steps_per_execution=1 if backend == "torch" else steps,
            jit_compile=backend == "jax" or (jit_compile and backend != "torch"),
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

    def reset(self, learning_rate, seed):
        """Goes back to the beginning of a run.

        Args:
            learning_rate: float, or `None` for the schedule of the optimizer.
            seed: int. Draws the weights, and what random layers put out.
        """
        if seed not in self._weights:
            self._weights[seed] = self.build(seed).get_weights()
        self.model.set_weights(self._weights[seed])
        seed_noise(self.model, seed)
        variables = self.model.optimizer.variables
        for variable, value in zip(variables, self._optimizer_state, strict=True):
            variable.assign(value)
        if learning_rate is not None:
            self.set_learning_rate(learning_rate)

    def set_learning_rate(self, learning_rate):
        """Sets the rate; every group of variables has its multiple of it."""
        self.model.optimizer.learning_rate = learning_rate

    def fit(
        self,
        epochs,
        seed,
        gradient_norm=None,
        on_epoch=lambda: None,
        tests=True,
        samples=None,
        callbacks=(),
    ):
        """Trains from where the network is.

        Args:
            epochs: int.
            seed: int. Draws the order of the samples.
            gradient_norm: Callable that measures it after every epoch, or `None`.
            on_epoch: Called after every epoch.
            tests: bool. Whether to look at the test samples after every epoch.
            samples: `(x, y)` in the place of the training set, as many or fewer.
            callbacks: Other Keras callbacks.

        Returns:
            The `Recorder`, with what happened.
        """
        recorder = Recorder(self.divergence_loss, self.steps, gradient_norm, on_epoch)
        x, y = samples or (self.data.x_train, self.data.y_train)
        batches = Shuffled(x, y, self.batch_size, seed)
        batches.fit(
            self.model,
            epochs,
            [recorder, *callbacks],
            validation_data=(self.data.x_test, self.data.y_test) if tests else None,
            validation_batch_size=TEST_BATCH_SIZE,
        )
        return recorder

    def run(self, learning_rate, seed, epochs, tests=True):
        """A whole run.

        Args:
            learning_rate: float.
            seed: int. Draws the weights and the order of the samples.
            epochs: int.
            tests: bool. `False` leaves out the test samples, which takes less time
                to compile.

        Returns:
            `(epochs, diverged)`: a list of what every epoch gave, as `Recorder` has
            them, and `None` or where it diverged.
        """
        self.reset(learning_rate, seed)
        recorder = self.fit(epochs, seed, tests=tests)
        return recorder.epochs, recorder.diverged

    def run_to_the_end(self, learning_rate, seed, epochs):
        """A whole run; divergence is an error. Returns what every epoch gave.

        Raises:
            RuntimeError: If it does.
        """
        found, diverged = self.run(learning_rate, seed, epochs)
        if diverged:
            raise RuntimeError(
                f"The network {self.model.name} diverged: {diverged}. Lower "
                "--learning_rate."
            )
        return found

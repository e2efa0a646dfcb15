"""The step at which training diverges, found inside the compiled training loop."""

import math

import keras
from keras import ops


class Divergence(keras.metrics.Metric):
    """The first step of an epoch whose loss is not finite or above a bound.

    A metric sees every step, also those that run inside one compiled execution
    of many steps, from which a callback sees only the last.

    Args:
        bound: float. Losses above it count as divergence. May be infinite.
        name: Name of the metric.
    """

    def __init__(self, bound, name="divergence"):
        super().__init__(name=name, dtype="float32")
        self.bound = bound
        self.steps = self.add_variable((), "zeros", name="steps")
        self.first_step = self.add_variable((), "zeros", name="first_step")
        self.first_loss = self.add_variable((), "zeros", name="first_loss")

    def update_state(self, y_true, y_pred, sample_weight=None):
        loss = ops.mean(
            keras.losses.sparse_categorical_crossentropy(
                y_true, ops.cast(y_pred, "float32"), from_logits=True
            )
        )
        step = self.steps + 1
        self.steps.assign(step)
        fine = ops.isfinite(loss)
        if math.isfinite(self.bound):
            fine = ops.logical_and(fine, loss <= self.bound)
        first = ops.logical_and(ops.logical_not(fine), self.first_step < 1)
        # `value`, as a variable is no tensor for the functions of JAX.
        self.first_step.assign(ops.where(first, step, self.first_step.value))
        self.first_loss.assign(ops.where(first, loss, self.first_loss.value))

    def result(self):
        return {
            "diverged_step": self.first_step.value,
            "diverged_loss": self.first_loss.value,
        }


def divergence(logs, bound, epoch, steps_before):
    """Divergence in the logs of Keras, as results.json records it.

    Args:
        logs: dict. Logs of an epoch, or of the part of it that is over.
        bound: float. The bound of `Divergence`.
        epoch: int, counted from 1.
        steps_before: int. Steps of the epochs before.

    Returns:
        `None`, or `{"step", "epoch", "reason"}`. Steps count from 1; at the one
        recorded, the loss *before* the update was the first that was too large.
    """
    if not logs.get("diverged_step"):
        return None
    loss = logs["diverged_loss"]
    if math.isfinite(loss):
        reason = f"loss {loss:.4g} exceeds {bound:g}"
    else:
        reason = "loss is not finite"
    step = steps_before + int(logs["diverged_step"])
    return {"step": step, "epoch": epoch, "reason": reason}

"""How often every unit is active, and how alike the inputs look, by depth."""

import keras
import numpy as np
from keras import ops

from fixinit import graph
from fixinit.layers import CReLU

# In the place of zero, where all units of a layer are off.
_TINY = 1e-30


def activity(settings, model, x, training):
    """Looks at the activations from the first to the last.

    Returns:
        `(rates, cosines, outputs)`: on what share of the inputs every unit is active;
        the cosine of the angle between two of them, on average over all pairs; and
        the outputs of the model.
    """
    hook = _Activity(settings.units)
    with keras.StatelessScope():
        (outputs,), observed = graph.run(
            graph.trace(model), [ops.convert_to_tensor(x)], hook, None, training
        )
    *stacked, head = (ops.convert_to_numpy(value) for value in observed.values())
    # The activations of a block in turn, block by block.
    rows = np.stack(stacked, axis=1).reshape(-1, settings.units + 1)
    rows = np.concatenate([rows, head[None]])
    return rows[:, :-1], rows[:, -1], ops.convert_to_numpy(outputs)


class _Activity(graph.Hook):
    """Observes rates, and the cosine as the last number."""

    def __init__(self, units):
        self.units = units

    def observation_shape(self, call):
        is_relu = getattr(call.operation, "activation", None) is keras.activations.relu
        is_activation = is_relu or isinstance(call.operation, CReLU)
        return (self.units + 1,) if is_activation else None

    def observe(self, call, inputs, outputs):
        (x,) = inputs
        active = ops.mean(ops.cast(x > 0, "float32"), axis=0)
        # Deep in a network that explodes, squares of its numbers would overflow.
        x = x / ops.maximum(ops.max(ops.abs(x), axis=1, keepdims=True), _TINY)
        x = x / ops.maximum(ops.norm(x, axis=1, keepdims=True), _TINY)
        size = ops.cast(ops.shape(x)[0], "float32")
        mean = ops.sum(ops.square(ops.mean(x, axis=0)))
        cosine = (size * mean - 1) / (size - 1)
        return ops.concatenate([active, ops.reshape(cosine, (1,))])


def describe(prefix, rates, cosines):
    """What results.json holds of one look."""
    return {
        f"{prefix}_always_on": (rates == 1).mean(axis=1),
        f"{prefix}_always_off": (rates == 0).mean(axis=1),
        f"{prefix}_cosine": cosines,
        f"{prefix}_last_rates": rates[-1],
    }

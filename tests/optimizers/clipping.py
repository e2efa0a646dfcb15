"""What the tests of adaptive clipping have in common."""

import keras
import numpy as np


@keras.saving.register_keras_serializable("tests")
class Recorder(keras.optimizers.Optimizer):
    """Optimizer that keeps the gradients it would update with, and updates nothing."""

    def __init__(self, learning_rate=0.1, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)

    def build(self, variables):
        super().build(variables)
        self.seen = self.add_optimizer_variables(variables, "seen")

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        self.assign(self.seen[index], gradient)


def seen(recorder):
    return [keras.ops.convert_to_numpy(v) for v in recorder.seen]


def reference(gradient, weight, within, factor, epsilon=1e-3):
    """The paper's formula in float64; `within` are the axes of one unit."""
    gradient, weight = np.float64(gradient), np.float64(weight)
    length, of_weight = (
        np.sqrt(np.sum(x**2, axis=within, keepdims=True)) for x in (gradient, weight)
    )
    longest = factor * np.maximum(of_weight, epsilon)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(length > longest, gradient * longest / length, gradient)


def applied(optimizer, variables, gradients):
    """Applies arrays, some of which may be `None`, as Keras's trainers do."""
    tensors = [g if g is None else keras.ops.convert_to_tensor(g) for g in gradients]
    if keras.backend.backend() != "jax":
        optimizer.apply(tensors, variables)
        return
    import jax

    if not optimizer.built:
        optimizer.build(variables)
    state = optimizer.variables
    values = [[v.value for v in these] for these in (state, variables)]
    step = jax.jit(optimizer.stateless_apply)
    weights, new_state = step(values[0], tensors, values[1])
    for v, value in zip([*variables, *state], [*weights, *new_state], strict=True):
        v.assign(value)

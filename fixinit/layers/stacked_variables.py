"""Variables that hold the same weight or seed of many blocks, along a first axis."""

import contextlib

import keras
import numpy as np
from keras import ops

from fixinit import initializers

_SUMS = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


def stacked_weight(variable, initializer, depth, seed_step, values, scopes):
    """One variable for a weight of `depth` blocks.

    Args:
        variable: `keras.Variable`, the weight of the template.
        initializer: Keras initializer of that weight.
        depth: int.
        seed_step: int. Distance between the seeds of consecutive blocks.
        values: Tensor that takes the place of draws, or `None`.
        scopes: List of names in front of the variable's own, for its path.
    """
    initializer = initializers.Stacked(initializer, seed_step)
    if values is not None:
        initializer = _given(values)
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        stacked = keras.Variable(
            initializer,
            shape=(depth, *variable.shape),
            dtype=variable.dtype,
            trainable=variable.trainable,
            # Blocks cast what they need: a copy of all at once would be large.
            autocast=False,
            aggregation=variable.aggregation,
            name=variable.name,
        )
    if variable.regularizer is not None:
        stacked.regularizer = SumOverBlocks(variable.regularizer)
    if variable.constraint is not None:
        stacked.constraint = PerBlock(variable.constraint)
    return stacked


class StackedSeedGenerator(keras.random.SeedGenerator):
    """The states of a seed generator in `depth` blocks.

    Keras keeps seed generators apart from weights: they are not counted and not
    saved.
    """

    def __init__(self, state, depth, seed_step, values):
        if values is None:
            first = ops.convert_to_numpy(state.value).astype("int64")
            steps = np.zeros((depth, *first.shape), "int64")
            steps[..., 0] = seed_step * np.arange(depth).reshape(
                (depth,) + (1,) * (first.ndim - 1)
            )
            dtype = keras.backend.standardize_dtype(state.dtype)
            values = first + steps
            if dtype != "int64":
                values = values.astype("uint32").view(dtype)
        self.name = state.path.split("/")[-2] if "/" in state.path else "seeds"
        self.state = keras.Variable(
            _given(values),
            shape=(depth, *state.shape),
            dtype=state.dtype,
            trainable=False,
            aggregation="none",
            name=state.name,
        )


class PerBlock(keras.constraints.Constraint):
    """A constraint that holds for the weight of every block by itself."""

    def __init__(self, function):
        self.function = function

    def __call__(self, value):
        return ops.vectorized_map(self.function, ops.convert_to_tensor(value))


class SumOverBlocks(keras.regularizers.Regularizer):
    """The sum of a regularizer over the weights of all blocks."""

    def __init__(self, function):
        self.function = function

    def __call__(self, value):
        value = ops.convert_to_tensor(value)
        if isinstance(self.function, _SUMS):
            # They add up over all elements anyway, and XLA is slow on loops.
            return self.function(value)
        return ops.sum(ops.vectorized_map(self.function, value))


def _given(values):
    # A function, since Keras refuses values where variables are made later.
    return lambda shape, dtype: ops.cast(values, dtype)

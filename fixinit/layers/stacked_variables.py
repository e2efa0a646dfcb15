"""Variables that hold the same weight or seed of many blocks, along a first axis."""

import contextlib

import keras
import numpy as np
from keras import ops

_SUMS = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


def stacked_weight(variable, initializer, depth, trainable, scopes):
    """One variable for a weight of `depth` blocks.

    Args:
        variable: `keras.Variable`, the weight of the template.
        initializer: Callable of the stacked shape and a dtype.
        depth: int.
        trainable: bool. Whether it is a weight and not a state.
        scopes: List of names in front of the variable's own, for its path.
    """
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        stacked = keras.Variable(
            initializer,
            shape=(depth, *variable.shape),
            dtype=variable.dtype,
            trainable=trainable,
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
        steps = np.zeros((depth, *state.shape), "int64")
        steps.T[0] += seed_step * np.arange(depth)
        dtype = keras.backend.standardize_dtype(state.dtype)
        if dtype != "int64":
            steps = steps.astype("uint32").view(dtype)

        def shifted(shape, dtype):
            return state.value[None] + ops.convert_to_tensor(steps)

        self.name = "stacked_seeds"
        self.state = keras.Variable(
            shifted if values is None else given(values),
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
        if type(self.function) in _SUMS:
            # They add up over all elements anyway, and XLA is slow on loops.
            return self.function(value)
        return ops.sum(ops.vectorized_map(self.function, value))


def given(values):
    """An initializer that returns these values."""
    # A function, since Keras refuses values where variables are made later.
    return lambda shape, dtype: ops.cast(values, dtype)

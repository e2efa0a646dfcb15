"""Steps of an optimizer that nobody else notices."""

import contextlib

import keras
from keras import ops


class TrialOptimizer:
    """An optimizer like the given one, with copies of a model's weights.

    Keras's `stateless_apply` would do, were it not refused on TensorFlow.

    Args:
        model: Built `keras.Model`. It stays as it is.
        optimizer: Keras optimizer or its name, which stays as it is. Steps go on from
            its state if it is the one that trains the model, and start anew otherwise.
    """

    def __init__(self, model, optimizer):
        given = keras.optimizers.get(optimizer)
        originals = model.trainable_variables
        self._variables = [_copy(v) for v in originals]
        config = keras.optimizers.serialize(given)
        self._optimizer = keras.optimizers.deserialize(config)
        self._optimizer.build(self._variables)
        trained = given._trainable_variables if given.built else []
        if [id(v) for v in trained] == [id(v) for v in originals]:
            pairs = zip(self._optimizer.variables, given.variables, strict=True)
            for state, value in pairs:
                state.assign(value)

    @property
    def weights(self):
        """List of tensors, like the model's trainable variables."""
        # Copies, as PyTorch's optimizers write into their variables.
        return [ops.copy(v.value) for v in self._variables]

    def step(self, gradients):
        """Makes one step with a list of gradients."""
        self._optimizer.apply(list(gradients), self._variables)


def _copy(variable):
    """A variable of the same path, by which optimizers tell variables apart."""
    *scopes, name = variable.path.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        # A copy of the value: a variable made from another's shares it on TensorFlow.
        copy = keras.Variable(ops.copy(variable.value), dtype=variable.dtype, name=name)
    copy.constraint = variable.constraint
    return copy

"""Runs of a model that leave no trace in it."""

import contextlib

import keras
from keras import tree

from fixinit import _keras, backend
from fixinit.graph.functional import functional_of


@contextlib.contextmanager
def stateless(variables, values):
    """A context in which a model's variables have other values and nothing changes.

    Not even the random state of the backend. Losses that layers add, such as those of
    activity regularizers, are in `model.losses`: of a layer that is called twice, the
    last one's, and none of those inside of a `Stack` that a hook looks into.

    Args:
        variables: List of `keras.Variable`s, all that the model has.
        values: List of tensors, one for each.
    """
    state = zip(variables, values, strict=True)
    scope = keras.StatelessScope(state_mapping=state, collect_losses=True)
    with backend.kept_random_state(), scope:
        yield


def outputs_of(model, x, trainable, non_trainable, training):
    """The outputs of a call of a model with other values, as a flat list.

    Args:
        model: Functional or Sequential `keras.Model`.
        x: List of tensors, one per input of the model.
        trainable, non_trainable: Lists of tensors, as `stateless_call` takes them.
        training: bool.
    """
    outputs, _ = model.stateless_call(
        trainable, non_trainable, structured_inputs(model, x), training=training
    )
    return tree.flatten(outputs)


def structured_inputs(model, x):
    """A flat list of inputs in the structure that the model takes them in."""
    return tree.pack_sequence_as(_keras.input_structure(functional_of(model)), x)


def structured(model, outputs):
    """A flat list of outputs in the structure that the model gives them."""
    return tree.pack_sequence_as(_keras.output_structure(functional_of(model)), outputs)


def output_names(model):
    """The names of the layers that give the outputs, as Keras accepts them in `y`."""
    return functional_of(model).output_names

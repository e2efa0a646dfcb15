"""Stateless runs of a model: other values for its variables, no trace in it."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import tree

from fixinit import _keras, backend
from fixinit._typing import Tensor
from fixinit.graph.functional import functional_of


@contextlib.contextmanager
def stateless(
    variables: Sequence[keras.Variable], values: Sequence[Tensor]
) -> Iterator[None]:
    """Gives a model's variables other values inside a context; changes nothing.

    The random state of the backend stays as it is, too. Losses that layers add, such as
    those of activity regularizers, are in `model.losses`: of a layer that is called
    twice, the last one's, and none of those inside of a `Stack` that a hook looks into.

    Args:
        variables: List of `keras.Variable`s, all that the model has.
        values: List of tensors, one for each.
    """
    state = zip(variables, values, strict=True)
    scope = keras.StatelessScope(state_mapping=state, collect_losses=True)
    with backend.kept_random_state(), scope:
        yield


def outputs_of(
    model: keras.Model,
    x: Sequence[Tensor],
    trainable: Sequence[Tensor],
    non_trainable: Sequence[Tensor],
    training: bool,
) -> list[Tensor]:
    """Calls a model with other values; its outputs as a flat list.

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


def structured_inputs(model: keras.Model, x: Sequence[Tensor]) -> Any:
    """Packs a flat list of inputs into the structure that the model takes."""
    return tree.pack_sequence_as(_keras.input_structure(functional_of(model)), x)


def structured(model: keras.Model, outputs: Sequence[Any]) -> Any:
    """Packs a flat list of outputs into the structure that the model gives."""
    return tree.pack_sequence_as(_keras.output_structure(functional_of(model)), outputs)


def output_names(model: keras.Model) -> list[str]:
    """Names of the output layers, which are keys of `y` for Keras."""
    return functional_of(model).output_names

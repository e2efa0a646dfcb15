"""Stateless runs of a model: other values for its variables, no trace in it."""

import contextlib
from collections.abc import Iterator, Sequence

import keras
from keras import tree

from fixinit import backend
from fixinit._typing import Tensor
from fixinit.diagnostics._shared.subject import Subject


@contextlib.contextmanager
def stateless(
    variables: Sequence[keras.Variable], values: Sequence[Tensor]
) -> Iterator[None]:
    """Gives a model's variables other values inside a context; changes nothing.

    The random state of the backend stays as it is, too. Losses that layers add, such as
    those of activity regularizers, are in `model.losses`: of a layer that is called
    twice by itself, outside of `_keras.inside_call`, the last one's.

    Args:
        variables: List of `keras.Variable`s, all that the model has.
        values: List of tensors, one for each.
    """
    state = zip(variables, values, strict=True)
    scope = keras.StatelessScope(state_mapping=state, collect_losses=True)
    with backend.kept_random_state(), scope:
        yield


def outputs_of(
    subject: Subject,
    x: Sequence[Tensor],
    trainable: Sequence[Tensor],
    non_trainable: Sequence[Tensor],
    training: bool,
) -> list[Tensor]:
    """Calls a model with other values; its outputs as a flat list.

    Args:
        subject: `Subject`.
        x: List of tensors, one per input of the model.
        trainable, non_trainable: Lists of tensors, as `stateless_call` takes them.
        training: bool.
    """
    args, kwargs = subject.arguments(x)
    outputs, _ = subject.model.stateless_call(
        trainable, non_trainable, *args, **kwargs, training=training
    )
    return tree.flatten(outputs)

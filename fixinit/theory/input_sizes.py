"""The sizes of a model's inputs: its own, and those that are given for open ones."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import tree

from fixinit import _keras
from fixinit._validation import LARGEST_SIZE
from fixinit.graph.closed import closed, is_own_layer, opens
from fixinit.graph.functional import functional_of
from fixinit.graph.random_inputs import random_array

_MOST_NUMBERS = 2**26


def known(shape: Sequence[int | None]) -> tuple[int, ...]:
    """The sizes of a shape behind the batch, refused where one is open."""
    sizes = tuple(n for n in shape[1:] if n is not None)
    if len(sizes) < len(shape) - 1:
        raise ValueError(
            "The sizes of all axes of the inputs but the batch must be known. Received "
            f"an input of shape {tuple(shape)}. Give `predict` an `input_shape`, such "
            "as (224, 224, 3), or build the model on a fixed size, such as "
            "keras.Input((224, 224, 3))."
        )
    return sizes


def sizes_of(model: Any, input_shape: Any = None) -> list[tuple[int, ...]]:
    """The shapes of all inputs of a model, without the batch.

    Args:
        model: `keras.Model`.
        input_shape: As in `fixinit.theory.predict`.

    Raises:
        ValueError: If a size is not known, or the shapes do not fit the model.
    """
    functional = functional_of(model)
    if functional is None:
        return []  # which is refused where its graph is asked for
    own = {tensor.name: tuple(tensor.shape) for tensor in functional.inputs}
    if input_shape is None:
        return [known(shape) for shape in own.values()]
    given = _by_input(input_shape, list(own))
    return [_fitting(name, given[name], own[name]) for name in own]


def random_data(model: Any, sizes: list[tuple[int, ...]]) -> Any:
    """A batch of random inputs of these sizes, in the structure of the model.

    `None` where no layer needs it to be opened, or it is too large to be run.
    """
    rng, functional = np.random.default_rng(0), functional_of(model)
    if functional is None or sum(map(math.prod, sizes)) > _MOST_NUMBERS:
        return None
    if not any(True for _ in closed(functional, lambda x: is_own_layer(x) or opens(x))):
        return None
    structure = _keras.input_structure(functional)
    arrays = [
        random_array((tensor.shape[0] or 2, *shape), tensor.dtype, rng).astype(
            tensor.dtype
        )
        for tensor, shape in zip(tree.flatten(structure), sizes, strict=True)
    ]
    return tree.pack_sequence_as(structure, arrays)


def _by_input(input_shape: Any, names: list[str]) -> dict[str, Any]:
    """The given shapes by the names of the inputs."""
    if isinstance(input_shape, dict):
        given = dict(input_shape)
    elif len(names) == 1 and _is_shape(input_shape):
        given = {names[0]: input_shape}
    elif isinstance(input_shape, (list, tuple)) and len(input_shape) == len(names):
        given = dict(zip(names, input_shape, strict=True))
    else:
        given = {}
    if set(given) != set(names) or not all(map(_is_shape, given.values())):
        raise ValueError(
            "`input_shape` must be the shape of the input without the batch, such as "
            "(224, 224, 3), a list of one shape for every input, or a dict of them by "
            f"the names of the inputs: {names}. Received: {input_shape!r}"
        )
    return given


def _is_shape(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(n, (int, np.integer))
        and not isinstance(n, bool)
        and 0 < n <= LARGEST_SIZE
        for n in value
    )


def _fitting(name: str, given: Any, own: tuple[int | None, ...]) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in given)
    fits = len(sizes) == len(own) - 1 and all(
        n in (None, size) for n, size in zip(own[1:], sizes, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`input_shape` must fit the input `{name}` of the model, whose shape is "
            f"{own} with the batch in front. Received: {sizes}"
        )
    return sizes

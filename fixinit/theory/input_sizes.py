"""The sizes of a model's inputs: its own, and those that are given for open ones."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import tree

from fixinit import _keras
from fixinit._validation import LARGEST_SIZE, shown
from fixinit.graph.closed import closed, is_own_layer, opens
from fixinit.graph.functional import functional_of, is_subclassed
from fixinit.graph.random_inputs import random_array
from fixinit.graph.subclassed import signature_of

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
    own = _own_shapes(model)
    if not own or (input_shape is None and is_subclassed(model)):
        return []  # refused, or known, where its graph is asked for
    if input_shape is None:
        return [known(shape) for shape in own.values()]
    given = _by_input(input_shape, list(own))
    return [_fitting(name, given[name], own[name]) for name in own]


def random_data(model: Any, sizes: list[tuple[int, ...]]) -> Any:
    """A batch of random inputs of these sizes, in the structure of the model.

    `None` where no layer needs it to be opened, or it is too large to be run.
    """
    count = sum(map(math.prod, sizes))
    if count > _MOST_NUMBERS and is_subclassed(model):
        raise ValueError(
            f"`input_shape` must hold at most {_MOST_NUMBERS} numbers for a model with "
            "a `call` of its own, which is run on such inputs once to check its graph. "
            f"Received: {sizes}"
        )
    if count > _MOST_NUMBERS or not _is_opened(model):
        return None
    rng, structure = np.random.default_rng(0), _structure(model)
    arrays = [
        random_array((tensor.shape[0] or 2, *shape), tensor.dtype, rng)
        for tensor, shape in zip(tree.flatten(structure), sizes, strict=True)
    ]
    return tree.pack_sequence_as(structure, arrays)


def _is_opened(model: Any) -> bool:
    """Whether a model has layers that may be opened, or has to be opened itself."""
    functional = functional_of(model)
    if functional is None:
        return is_subclassed(model)
    return any(closed(functional, lambda x: is_own_layer(x) or opens(x)))


def _structure(model: Any) -> Any:
    """The symbolic inputs of a model; none of what is refused where it is traced."""
    functional = functional_of(model)
    if functional is not None:
        return _keras.input_structure(functional)
    return signature_of(model).structure if is_subclassed(model) else []


def _own_shapes(model: Any) -> dict[str, tuple[int | None, ...]]:
    """The shapes of a model's inputs by their names.

    A model with a `call` of its own leaves all sizes but the channels open.
    """
    functional = functional_of(model)
    if functional is not None:
        return {tensor.name: tuple(tensor.shape) for tensor in functional.inputs}
    specs = _structure(model)
    flat = tree.flatten(specs)
    is_dict = isinstance(specs, dict) and len(specs) == len(flat)
    names = sorted(specs) if is_dict else [f"input{i}" for i in range(len(flat))]
    return {
        name: (*(None,) * (len(spec.shape) - 1), spec.shape[-1])
        for name, spec in zip(names, flat, strict=True)
    }


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
            f"the names of the inputs: {names}. Received: {shown(input_shape, repr)}"
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

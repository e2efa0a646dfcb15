"""What importers of Transformers from PyTorch have in common."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

import fixinit
from third_party.shapes import mismatches

# The scalars of DyT and Derf, which PyTorch holds as one number in a row.
SCALARS = (".alpha", ".shift")


def number_of_heads(
    num_heads: int | None, width: int, published: Mapping[int, int]
) -> int:
    """The heads of a network, by its width where that is one of the published ones.

    Raises:
        ValueError: If they are not given, and the width is none of these.
    """
    if num_heads is None and width not in published:
        raise ValueError(
            "Argument `num_heads` is needed: names and shapes do not tell it, and the "
            f"width {width} is none of the published models: {sorted(published)}."
        )
    return published[width] if num_heads is None else num_heads


def normalization(
    arrays: Mapping[str, np.ndarray], name: str, epsilon: float
) -> tuple[fixinit.schemes.Scheme, str, dict[str, str]]:
    """The scheme of a network, by the parameters of one normalization.

    Args:
        arrays: Dict from names to arrays.
        name: Name of a normalization among them.
        epsilon: float. That of the origin's layer normalization.

    Returns:
        `(scheme, kind, parts)`: the name of the layers that take the place of
        normalization, and a dict from the names of their parameters to ours.
    """
    parts = {"weight": "gamma", "bias": "beta"}
    if f"{name}.alpha" not in arrays:
        scheme = fixinit.schemes.PreLayerNorm(epsilon=epsilon)
        return scheme, "layer_normalization", parts
    parts["alpha"] = "alpha"
    if f"{name}.shift" not in arrays:
        return fixinit.schemes.DyT(), "dynamic_tanh", parts
    return fixinit.schemes.Derf(), "dynamic_erf", parts | {"shift": "shift"}


def assign(
    model: keras.Model,
    arrays: Mapping[str, np.ndarray],
    names: Mapping[str, list[str]],
    pieces: Callable[[str, np.ndarray, int], list[np.ndarray]],
    shape: Callable[[str, list[Any]], tuple[int, ...]],
    origin: str,
) -> None:
    """Gives the weights of a model foreign values, or changes nothing.

    Args:
        model: `keras.Model`.
        arrays: Dict from foreign names to arrays.
        names: Dict from foreign names to the paths of our weights.
        pieces: Function `(name, array, number)`: the values of so many of our weights.
        shape: Function `(name, shapes)`: the shape of the array for ours of these.
        origin: What the arrays should be of.

    Raises:
        ValueError: If names are missing or unknown, or values have other shapes: one
            error that lists them all.
    """
    variables = {variable.path: variable for variable in model.weights}
    expected = {
        theirs: (1,)
        if theirs.endswith(SCALARS)
        else shape(theirs, [variables[path].shape for path in paths])
        for theirs, paths in names.items()
    }
    problems = mismatches(arrays, expected)
    if problems:
        raise ValueError(
            f"Argument `state_dict` is not one of {origin}:\n" + "\n".join(problems)
        )
    for theirs, paths in names.items():
        values = pieces(theirs, arrays[theirs], len(paths))
        for path, value in zip(paths, values, strict=True):
            variables[path].assign(value)

"""Weights of a model times one factor each, and for each block of a stack."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import _keras
from fixinit._typing import Tensor
from fixinit.layers import Stack


class Scales:
    """The factors of weights.

    Args:
        model: `keras.Model`.
        kernels_only: bool. Whether weights of fewer than two axes have none.

    Attributes:
        kept: List of the paths of weights that are zero, which have no factor either.
    """

    def __init__(self, model: keras.Model, kernels_only: bool) -> None:
        self._variables = model.trainable_variables
        stacked = {
            id(v)
            for layer in _keras.flatten_layers(model)
            if isinstance(layer, Stack)
            for v in layer.stacked_variables
        }
        self.kept: list[str] = []
        self._chosen: list[int] = []
        self._shapes: list[tuple[int, ...]] = []
        for index, variable in enumerate(self._variables):
            rank = len(variable.shape)
            depth = (variable.shape[0],) if id(variable) in stacked else ()
            if kernels_only and rank - len(depth) < 2:
                continue
            if not ops.convert_to_numpy(ops.cast(variable.value, "float32")).any():
                self.kept.append(variable.path)
                continue
            self._chosen.append(index)
            self._shapes.append((*depth, *(1,) * (rank - len(depth))))
        if not self._chosen:
            raise ValueError(
                f"Model `{model.name}` has no kernel that trains and is not zero: "
                "nothing can be scaled."
            )

    def ones(self) -> list[np.ndarray]:
        """Factors of 1."""
        return [np.ones(shape, "float32") for shape in self._shapes]

    def norms(self) -> list[np.ndarray]:
        """The norms of the weights that have a factor, in the shapes of these."""
        found = []
        for index, shape in zip(self._chosen, self._shapes, strict=True):
            value = ops.convert_to_numpy(
                ops.cast(self._variables[index].value, "float32")
            )
            axes = tuple(i for i, size in enumerate(shape) if size == 1)
            square = np.sum(value.astype("float64") ** 2, axis=axes, keepdims=True)
            found.append(np.sqrt(square).reshape(shape).astype("float32"))
        return found

    def scaled(
        self, weights: Sequence[Tensor], factors: Sequence[Tensor]
    ) -> list[Tensor]:
        """The weights of the model, those with a factor multiplied by it."""
        found = list(weights)
        for index, factor in zip(self._chosen, factors, strict=True):
            found[index] = weights[index] * ops.cast(factor, weights[index].dtype)
        return found

    def chosen(self, values: Sequence[Any]) -> list[Any]:
        """Those of a list like the weights that have a factor."""
        return [values[index] for index in self._chosen]

    def assign(self, factors: Sequence[np.ndarray]) -> None:
        """Multiplies the model's weights by their factors."""
        values = [v.value for v in self._variables]
        tensors = [ops.convert_to_tensor(f) for f in factors]
        for index, value in enumerate(self.scaled(values, tensors)):
            if index in self._chosen:
                self._variables[index].assign(value)

    def by_path(self, factors: Sequence[np.ndarray]) -> dict[str, Any]:
        """Dict from paths to factors."""
        return {
            self._variables[index].path: factor.reshape(-1).tolist()
            if factor.size > 1
            else float(factor.reshape(()))
            for index, factor in zip(self._chosen, factors, strict=True)
        }

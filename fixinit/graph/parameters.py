"""Weights and constants as values of a graph."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import tree

from fixinit.layers import Parameter


class Parameters:
    """Makes weights and constants the outputs of `Parameter` layers.

    Attributes:
        anchor: Symbolic tensor that gives these layers a place in the graph.
    """

    def __init__(self) -> None:
        self.anchor: Any = None
        self._layers: dict[int, Parameter] = {}

    @contextlib.contextmanager
    def of_weights(self, layer: Any, args: Any, kwargs: Any) -> Iterator[None]:
        """Lets `call` read a layer's own weights as outputs of `Parameter` layers."""
        self.anchor = next(
            x for x in tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)
        )
        attributes = vars(layer)
        own = {
            name: value
            for name, value in attributes.items()
            if isinstance(value, keras.Variable)
        }
        for name, variable in own.items():
            attributes[name] = self._of(variable, f"{layer.name}_{variable.name}")
        try:
            yield
        finally:
            attributes.update(own)

    def _of(self, variable: keras.Variable, name: str) -> keras.KerasTensor:
        """The value of a variable as the output of the one layer that holds it."""
        if id(variable) not in self._layers:
            self._layers[id(variable)] = Parameter.of(variable, name=name)
        return self._layers[id(variable)](self.anchor)

    def of_constant(self, x: Any) -> Any:
        """A constant tensor as a value of the graph."""
        if not (keras.ops.is_tensor(x) or isinstance(x, np.ndarray)):
            return x
        dtype = keras.backend.standardize_dtype(x.dtype)
        constant = keras.Variable(x, trainable=False, dtype=dtype)
        return self._of(constant, "constant")

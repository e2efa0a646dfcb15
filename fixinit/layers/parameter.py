"""A weight that a graph reads as a value."""

from typing import Any

import keras

from fixinit._checked import checked
from fixinit._typing import Identifier, Shape, Tensor
from fixinit._validation import (
    check_constraint,
    check_initializer,
    check_known_shape,
    check_regularizer,
)
from fixinit.layers.facts import Facts


@keras.saving.register_keras_serializable("fixinit")
class Parameter(keras.layers.Layer):
    """Layer whose output is its weight, whatever its input is.

    Graphs of layers that hold a weight of their own beside other layers, such as the
    class token of a Vision Transformer, read that weight as the output of this layer.

    Example:

    >>> token = fixinit.layers.Parameter((1, 1, 4), initializer="ones")
    >>> tuple(token(keras.ops.zeros((2, 3))).shape)
    (1, 1, 4)

    Args:
        shape: Tuple of ints, the shape of the weight.
        initializer: Initializer of the weight, `"zeros"` by default.
        regularizer: Regularizer of the weight, none by default.
        constraint: Constraint of the weight, none by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any. The input gives the weight a place in the graph.

    Output shape:
        `shape`, without a batch axis.
    """

    fixinit_facts = Facts(constant=True, elementwise=True)

    def __init__(
        self,
        shape: Shape,
        initializer: Identifier = "zeros",
        regularizer: Identifier = None,
        constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shape = check_known_shape("shape", shape, (1, 1, 64), 0)
        self.initializer = check_initializer("initializer", initializer)
        self.regularizer = check_regularizer("regularizer", regularizer)
        self.constraint = check_constraint("constraint", constraint)
        self.parameter: Any = None

    @classmethod
    @checked
    def of(cls, variable: keras.Variable, **kwargs: Any) -> "Parameter":
        """A layer whose weight is a variable of another layer.

        Args:
            variable: `keras.Variable`.
            **kwargs: The arguments of `keras.layers.Layer`.
        """
        dtype = keras.backend.standardize_dtype(variable.dtype)
        layer = cls(
            tuple(variable.shape),
            regularizer=variable.regularizer,
            constraint=variable.constraint,
            dtype=dtype,
            **kwargs,
        )
        layer.trainable = variable.trainable
        layer.parameter = variable
        layer.built = True
        return layer

    def build(self, input_shape: Any = None) -> None:
        if self.parameter is None:
            self.parameter = self.add_weight(
                name="parameter",
                shape=self.shape,
                initializer=self.initializer,
                regularizer=self.regularizer,
                constraint=self.constraint,
                trainable=self.trainable,
            )

    def call(self, inputs: Tensor) -> Tensor:
        return keras.ops.convert_to_tensor(self.parameter)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "shape": self.shape,
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "constraint": keras.constraints.serialize(self.constraint),
        }

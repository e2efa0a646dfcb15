"""Trainable scalars that act on all elements of a tensor."""

from typing import Any

import keras

from fixinit import backend
from fixinit._typing import Identifier, Shape, Tensor
from fixinit._validation import check_initializer
from fixinit.layers.facts import Facts


class _Scalar(keras.layers.Layer):
    """Layer with one trainable scalar."""

    weight_name: str

    def __init__(self, initializer: Identifier, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initializer = check_initializer("initializer", initializer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        self.scalar = self.add_weight(
            name=self.weight_name,
            shape=(),
            initializer=self.initializer,
            # Cast to half precision, its gradient would be, too.
            autocast=False,
        )
        self.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        initializer = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "initializer": initializer}


def check_float(name: str, inputs: Tensor) -> None:
    """Refuses integer inputs, such as images that were not scaled yet."""
    if not hasattr(inputs, "dtype"):
        raise ValueError(f"`{name}` takes one tensor. Received: {inputs!r}")
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if "float" not in dtype:
        raise ValueError(
            f"`{name}` takes floating-point inputs. Received: {dtype}. Convert and "
            "scale them first, for images `x = x.astype('float32') / 255`."
        )


@keras.saving.register_keras_serializable("fixinit")
class ScalarBias(_Scalar):
    """Adds one trainable scalar to every element of the input.

    `outputs = inputs + bias`, where `bias` has shape `()`. Fixup puts one in
    front of every weight layer and activation of a branch (rule 3).

    Example:

    >>> layer = fixinit.layers.ScalarBias(initializer="ones")
    >>> x = keras.ops.zeros((2, 3))
    >>> float(keras.ops.mean(layer(x)))
    1.0

    Args:
        initializer: Initializer of the scalar, `"zeros"` by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If the inputs are not floating-point.

    Reference:

    - [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321), section 3.
    """

    # The name tells `fixinit.optimizers` which variables are scalars.
    weight_name = "scalar_bias"
    fixinit_facts = Facts(scales_branch=True)

    def __init__(self, initializer: Identifier = "zeros", **kwargs: Any) -> None:
        super().__init__(initializer, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        check_float(self.name, inputs)
        return backend.add_scalar(inputs, self.scalar.value)


@keras.saving.register_keras_serializable("fixinit")
class ScalarMultiplier(_Scalar):
    """Multiplies every element of the input by one trainable scalar.

    `outputs = multiplier * inputs`, where `multiplier` has shape `()`: at the
    end of a branch it is Fixup's multiplier (started at 1), SkipInit's and
    ReZero's (started at 0).

    Example:

    >>> layer = fixinit.layers.ScalarMultiplier(initializer="zeros")
    >>> x = keras.ops.ones((2, 3))
    >>> float(keras.ops.mean(layer(x)))
    0.0

    Args:
        initializer: Initializer of the scalar, `"ones"` by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If the inputs are not floating-point.

    References:

    - [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321) (Fixup)
    - [De and Smith, 2020](https://arxiv.org/abs/2002.10444) (SkipInit)
    - [Bachlechner et al., 2021](https://arxiv.org/abs/2003.04887) (ReZero)
    """

    weight_name = "scalar_multiplier"
    fixinit_facts = Facts(scales_branch=True, linear=True, start="initializer")

    def __init__(self, initializer: Identifier = "ones", **kwargs: Any) -> None:
        super().__init__(initializer, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        check_float(self.name, inputs)
        return backend.multiply_by_scalar(inputs, self.scalar.value)

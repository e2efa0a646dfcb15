"""Activations times a constant that keeps variances."""

import dataclasses
from typing import Any

import keras
from keras import ops

from fixinit._typing import Identifier, Tensor
from fixinit._validation import check_activation, check_number
from fixinit.layers.facts import Facts, facts_of, register_facts


@keras.saving.register_keras_serializable("fixinit")
def gelu_tanh(x: Tensor) -> Tensor:
    """GELU in its tanh form: `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.

    As an activation without arguments. `"gelu"` is the exact form in Keras, and the
    tanh form in JAX, and so in the networks of the authors of NFNets and in GPT-2.

    Example:

    >>> round(float(fixinit.layers.gelu_tanh(keras.ops.ones(()))), 4)
    0.8412

    Args:
        x: Tensor of floating-point numbers. NaN stay NaN.

    Raises:
        TypeError: If `x` is no such tensor.

    Reference:

    - [Hendrycks and Gimpel, 2016](https://arxiv.org/abs/1606.08415)
    """
    dtype = getattr(x, "dtype", None)
    if dtype is None or "float" not in keras.backend.standardize_dtype(dtype):
        raise TypeError(
            "Argument `x` must be a tensor of floating-point numbers. Received: "
            f"x={x!r}"
        )
    return ops.gelu(x, approximate=True)


register_facts(gelu_tanh, lambda _: facts_of(keras.activations.gelu))


@keras.saving.register_keras_serializable("fixinit")
class ScaledActivation(keras.layers.Layer):
    """Activation times a constant: `outputs = gain * activation(inputs)`.

    With `gain = 1 / sqrt(Var[activation(z)])` for standard normal z the outputs have
    unit variance where the inputs are standard normal: see
    `fixinit.theory.variance_gain`. For a ReLU it is `sqrt(2 / (1 - 1 / pi))`.

    Example:

    >>> gain = fixinit.theory.variance_gain(keras.layers.ReLU())
    >>> layer = fixinit.layers.ScaledActivation("relu", gain)
    >>> round(float(layer(keras.ops.ones(()))), 4)
    1.7129

    Args:
        activation: Keras activation.
        gain: float, larger than 0. The constant.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any that the activation takes.

    Output shape:
        That of the activation.

    Raises:
        ValueError: If `gain` is not positive and finite.

    Reference:

    - [Brock et al., 2021](https://arxiv.org/abs/2101.08692), section 4.2.
    """

    def __init__(self, activation: Identifier, gain: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = check_activation("activation", activation)
        self.gain = check_number("gain", gain, "a positive number", lambda x: x > 0)
        self.supports_masking = True

    def fixinit_facts(self) -> Facts:
        facts = facts_of(self.activation)
        return dataclasses.replace(facts, activates=True, unit_variance=True)

    def fixinit_plain(self) -> keras.layers.Layer:
        return keras.layers.Activation(
            self.activation, name=self.name, dtype=self.dtype_policy
        )

    def call(self, inputs: Tensor) -> Tensor:
        return self.activation(inputs) * self.gain

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "gain": self.gain,
        }

"""Bounded functions in the place of normalization, channel by channel."""

from typing import Any

import keras
from keras import ops

from fixinit import backend
from fixinit._checked import checked
from fixinit._typing import Identifier, Shape, Tensor
from fixinit._validation import (
    check_axis,
    check_axis_of,
    check_choice,
    check_constraint,
    check_initializer,
    check_regularizer,
)
from fixinit.layers.channels import along_axis
from fixinit.layers.facts import Facts
from fixinit.layers.scalars import check_float

FUNCTIONS = {"tanh": ops.tanh, "erf": ops.erf}


@keras.saving.register_keras_serializable("fixinit")
class PointwiseNormalization(keras.layers.Layer):
    """Bounded function of every element, scaled and shifted by channel.

        outputs = gamma * f(alpha * inputs + shift) + beta

    alpha and shift are trained scalars, gamma and beta have one number for each
    channel. The layer squashes large values, as layer normalization does to tokens with
    outliers, without a statistic of the token: it stands in the place of one.

    Example:

    >>> layer = fixinit.layers.PointwiseNormalization("tanh")
    >>> round(float(layer(keras.ops.ones((1, 1)))[0, 0]), 4)
    0.4621

    Args:
        function: `"tanh"` or `"erf"`.
        axis: int. The axis of the channels, the last one by default.
        alpha_initializer: Initializer of alpha, by default the constant 0.5.
        shift_initializer: Initializer of the shift. `None` (default) leaves it out.
        center: bool. Whether there is a beta.
        scale: bool. Whether there is a gamma.
        beta_initializer: Initializer of beta, `"zeros"` by default.
        gamma_initializer: Initializer of gamma, `"ones"` by default.
        beta_regularizer, gamma_regularizer: Regularizers, none by default.
        beta_constraint, gamma_constraint: Constraints, none by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any, with floating-point numbers.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If `function` is unknown, `axis` is the batch axis, or the inputs
            are not floating-point or have no such axis.

    References:

    - [Zhu et al., 2025](https://arxiv.org/abs/2503.10622) (dynamic tanh)
    - [Chen et al., 2025](https://arxiv.org/abs/2512.10938) (Derf)
    """

    # A scheme takes its place, as that of any normalization.
    fixinit_facts = Facts(normalizes=True, pointwise=True)

    @checked
    def __init__(
        self,
        function: str,
        axis: int = -1,
        alpha_initializer: Identifier = None,
        shift_initializer: Identifier = None,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Identifier = "zeros",
        gamma_initializer: Identifier = "ones",
        beta_regularizer: Identifier = None,
        gamma_regularizer: Identifier = None,
        beta_constraint: Identifier = None,
        gamma_constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.function = check_choice("function", function, list(FUNCTIONS))
        self.axis = check_axis("axis", axis)
        if alpha_initializer is None:
            alpha_initializer = keras.initializers.Constant(0.5)
        self.alpha_initializer = check_initializer(
            "alpha_initializer", alpha_initializer
        )
        self.shift_initializer = None
        if shift_initializer is not None:
            self.shift_initializer = check_initializer(
                "shift_initializer", shift_initializer
            )
        self.center, self.scale = center, scale
        self.beta_initializer = check_initializer("beta_initializer", beta_initializer)
        self.gamma_initializer = check_initializer(
            "gamma_initializer", gamma_initializer
        )
        self.beta_regularizer = check_regularizer("beta_regularizer", beta_regularizer)
        self.gamma_regularizer = check_regularizer(
            "gamma_regularizer", gamma_regularizer
        )
        self.beta_constraint = check_constraint("beta_constraint", beta_constraint)
        self.gamma_constraint = check_constraint("gamma_constraint", gamma_constraint)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        check_axis_of("axis", self.axis, input_shape, self.name)
        self.alpha = self._scalar("alpha", self.alpha_initializer)
        self.shift = self._scalar("shift", self.shift_initializer)
        shape = (input_shape[self.axis],)
        self.gamma = self._vector("gamma", shape) if self.scale else None
        self.beta = self._vector("beta", shape) if self.center else None
        self.built = True

    def _scalar(self, name: str, initializer: Any) -> Any:
        if initializer is None:
            return None
        # Cast to half precision, its gradient would be, too.
        return self.add_weight(
            name=name, shape=(), initializer=initializer, autocast=False
        )

    def _vector(self, name: str, shape: Shape) -> Any:
        kinds = ("initializer", "regularizer", "constraint")
        options = {kind: getattr(self, f"{name}_{kind}") for kind in kinds}
        return self.add_weight(name=name, shape=shape, **options)

    def call(self, inputs: Tensor) -> Tensor:
        check_float(self.name, inputs)
        x = backend.multiply_by_scalar(inputs, self.alpha.value)
        if self.shift is not None:
            x = backend.add_scalar(x, self.shift.value)
        x = FUNCTIONS[self.function](x)
        if self.gamma is not None:
            x = x * self._of_channels(self.gamma, inputs)
        if self.beta is not None:
            x = x + self._of_channels(self.beta, inputs)
        return x

    def _of_channels(self, weight: Any, inputs: Tensor) -> Tensor:
        return ops.cast(along_axis(weight, inputs, self.axis), inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        serialize = keras.initializers.serialize
        config = {
            **super().get_config(),
            "function": self.function,
            "axis": self.axis,
            "center": self.center,
            "scale": self.scale,
        }
        for name in ("alpha", "shift", "beta", "gamma"):
            initializer = getattr(self, f"{name}_initializer")
            config[f"{name}_initializer"] = initializer and serialize(initializer)
        for kind in ("regularizer", "constraint"):
            module = getattr(keras, f"{kind}s")
            for name in ("beta", "gamma"):
                value = getattr(self, f"{name}_{kind}")
                config[f"{name}_{kind}"] = module.serialize(value)
        return config


@keras.saving.register_keras_serializable("fixinit")
class DynamicTanh(PointwiseNormalization):
    """Dynamic tanh (DyT): `gamma * tanh(alpha * inputs) + beta`.

    `PointwiseNormalization` with tanh and without a shift.

    Example:

    >>> layer = fixinit.layers.DynamicTanh()
    >>> round(float(layer(keras.ops.ones((1, 1)))[0, 0]), 4)
    0.4621

    Args:
        axis, alpha_initializer, center, scale, beta_initializer, gamma_initializer:
            See `PointwiseNormalization`.
        **kwargs: Its regularizers and constraints, and the arguments of
            `keras.layers.Layer`.

    Raises:
        ValueError: As `PointwiseNormalization` does.

    Reference:

    - [Zhu et al., 2025](https://arxiv.org/abs/2503.10622)
    """

    @checked
    def __init__(
        self,
        axis: int = -1,
        alpha_initializer: Identifier = None,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Identifier = "zeros",
        gamma_initializer: Identifier = "ones",
        **kwargs: Any,
    ) -> None:
        _check_own(self, kwargs, "function", "shift_initializer")
        super().__init__(
            "tanh",
            axis=axis,
            alpha_initializer=alpha_initializer,
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        return _without(super().get_config(), "function", "shift_initializer")


@keras.saving.register_keras_serializable("fixinit")
class DynamicErf(PointwiseNormalization):
    """Dynamic error function (Derf): `gamma * erf(alpha * inputs + shift) + beta`.

    `PointwiseNormalization` with the error function and a shift from 0.

    Example:

    >>> layer = fixinit.layers.DynamicErf()
    >>> round(float(layer(keras.ops.ones((1, 1)))[0, 0]), 4)
    0.5205

    Args:
        axis, alpha_initializer, center, scale, beta_initializer, gamma_initializer:
            See `PointwiseNormalization`.
        shift_initializer: Initializer of the shift, `"zeros"` by default.
        **kwargs: Its regularizers and constraints, and the arguments of
            `keras.layers.Layer`.

    Raises:
        ValueError: As `PointwiseNormalization` does.

    Reference:

    - [Chen et al., 2025](https://arxiv.org/abs/2512.10938)
    """

    @checked
    def __init__(
        self,
        axis: int = -1,
        alpha_initializer: Identifier = None,
        shift_initializer: Identifier = "zeros",
        center: bool = True,
        scale: bool = True,
        beta_initializer: Identifier = "zeros",
        gamma_initializer: Identifier = "ones",
        **kwargs: Any,
    ) -> None:
        _check_own(self, kwargs, "function")
        super().__init__(
            "erf",
            axis=axis,
            alpha_initializer=alpha_initializer,
            shift_initializer=shift_initializer,
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        return _without(super().get_config(), "function")


def _check_own(layer: Any, given: dict[str, Any], *fixed: str) -> None:
    """Refuses arguments that the class of a layer has chosen."""
    for name in fixed:
        if name in given:
            raise ValueError(
                f"Argument `{name}` is none of {type(layer).__name__}'s. Received: "
                f"{name}={given[name]!r}. Use fixinit.layers.PointwiseNormalization."
            )


def _without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}

"""Shake-Shake."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fixinit._typing import Shape, Tensor
from fixinit._validation import check_choice, check_seed
from fixinit.layers import noise
from fixinit.layers.scalars import check_float
from fixinit.layers.scaled_add import are_two

FORWARD_MODES = ("shake", "even")
BACKWARD_MODES = ("shake", "even", "keep")
LEVELS = ("batch", "sample")


@keras.saving.register_keras_serializable("fixinit")
class ShakeShake(keras.layers.Layer):
    """Mixes two residual branches with random weights.

    With independent alpha and beta, uniform in [0, 1),

        training, forward:    outputs = alpha * first + (1 - alpha) * second
        training, gradients:  beta * upstream and (1 - beta) * upstream
        test:                 outputs = (first + second) / 2

    The paper's modes say where numbers are drawn: `"shake"` draws them, `"even"`
    takes 1/2, and `"keep"`, for the gradient, takes those of the forward pass.

    Example:

    A branch with two branches is a functional model:

    >>> x = keras.Input((4,))
    >>> first = keras.layers.Dense(4, activation="relu")(x)
    >>> second = keras.layers.Dense(4, activation="relu")(x)
    >>> mixed = fixinit.layers.ShakeShake(seed=1)([first, second])
    >>> block = fixinit.layers.ResidualBlock([keras.Model(x, mixed)])
    >>> tuple(block(keras.ops.ones((2, 4)), training=True).shape)
    (2, 4)

    Args:
        forward_mode: `"shake"` (default) or `"even"`.
        backward_mode: `"shake"` (default), `"even"` or `"keep"`.
        level: What has weights of its own: `"batch"`, or `"sample"` (default; the
            paper's "image", its best).
        seed: int. Seed of the draws.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        List of two tensors of one shape.

    Output shape:
        The shape of the inputs.

    Raises:
        ValueError: If an argument is outside its range, or if the inputs are not
            two floating-point tensors of one shape.

    Reference:

    - [Gastaldi, 2017](https://arxiv.org/abs/1705.07485), section 2.
    """

    def __init__(
        self,
        forward_mode: str = "shake",
        backward_mode: str = "shake",
        level: str = "sample",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.forward_mode = check_choice("forward_mode", forward_mode, FORWARD_MODES)
        self.backward_mode = check_choice(
            "backward_mode", backward_mode, BACKWARD_MODES
        )
        self.level = check_choice("level", level, LEVELS)
        self.seed = check_seed("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    def build(self, input_shape: Sequence[Shape]) -> None:
        if not are_two(input_shape) or tuple(input_shape[0]) != tuple(input_shape[1]):
            raise ValueError(
                f"Layer `{self.name}` mixes two branches of one shape. Received "
                f"shapes: {input_shape}"
            )
        self.built = True

    def call(self, inputs: Sequence[Tensor], training: bool | None = False) -> Tensor:
        first, second = inputs
        check_float(self.name, first)
        check_float(self.name, second)

        def mixed(alpha: Any) -> Tensor:
            alpha = ops.cast(alpha, first.dtype)
            return alpha * first + (1 - alpha) * second

        def weights(mode: str) -> Any:
            if mode == "even":
                return 0.5
            return noise.uniform(first, self.level, self.seed_generator)

        alpha = weights(self.forward_mode if training else "even")
        if not training or self.backward_mode == "keep":
            return mixed(alpha)
        return noise.with_gradient_of(mixed(alpha), mixed(weights(self.backward_mode)))

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "forward_mode": self.forward_mode,
            "backward_mode": self.backward_mode,
            "level": self.level,
            "seed": self.seed,
        }

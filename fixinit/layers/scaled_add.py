"""The merge of a residual block."""

import functools
from collections.abc import Sequence
from typing import Any

import keras

from fixinit._typing import Shape, Tensor
from fixinit._validation import check_number
from fixinit.layers.facts import Facts


@keras.saving.register_keras_serializable("fixinit")
class ScaledAdd(keras.layers.Layer):
    """Adds a residual branch to its shortcut with fixed factors.

    `outputs = shortcut_scale * shortcut + branch_scale * branch`

    Example:

    >>> merge = fixinit.layers.ScaledAdd(branch_scale=0.5)
    >>> x = keras.ops.ones((1, 2))
    >>> float(keras.ops.mean(merge([x, x])))
    1.5

    Args:
        shortcut_scale: float, 1 by default.
        branch_scale: float, 1 by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        List `[shortcut, branch]` of two tensors of one shape. Axes of unknown size
        may have any.

    Output shape:
        The shape of the inputs.

    Raises:
        ValueError: If a factor is not finite, or the inputs are not two tensors of one
            shape.
    """

    def __init__(
        self, shortcut_scale: float = 1.0, branch_scale: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.shortcut_scale = check_number("shortcut_scale", shortcut_scale)
        self.branch_scale = check_number("branch_scale", branch_scale)
        self.supports_masking = True

    def build(self, input_shape: Sequence[Shape]) -> None:
        if not are_two(input_shape) or not _may_be_one(*input_shape):
            raise ValueError(
                f"Layer `{self.name}` adds a shortcut and a branch of one shape. "
                f"Received shapes: {input_shape}. Where a block changes the shape, "
                "its shortcut needs a ZeroPaddingShortcut or a ProjectionShortcut."
            )
        self.built = True

    def fixinit_facts(self) -> Facts:
        factors = (self.shortcut_scale, self.branch_scale)
        return Facts(adds=True, linear=True, factors=factors)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        shortcut, branch = inputs
        return _scaled(shortcut, self.shortcut_scale) + _scaled(
            branch, self.branch_scale
        )

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return tuple(m or n for m, n in zip(*input_shape, strict=True))

    def compute_mask(self, inputs: Sequence[Tensor], mask: Any = None) -> Any:
        # As `keras.layers.Add`: what counts in one of the inputs counts.
        if mask is None or any(m is None for m in mask):
            return None
        return functools.reduce(keras.ops.logical_or, mask)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "shortcut_scale": self.shortcut_scale,
            "branch_scale": self.branch_scale,
        }


def are_two(shapes: Any) -> bool:
    """Whether a layer is built on the shapes of two tensors, and not on one shape."""
    return len(shapes) == 2 and all(isinstance(s, (list, tuple)) for s in shapes)


def _may_be_one(first: Shape, second: Shape) -> bool:
    """Whether two shapes may be the same: what is not known may be all but 1."""
    pairs = zip(first, second, strict=False)
    return len(first) == len(second) and all(
        m == n or (None in (m, n) and 1 not in (m, n)) for m, n in pairs
    )


def _scaled(x: Tensor, factor: Any) -> Tensor:
    # A factor of 1 would cost a pass over the activations. In a `Stack` factors may
    # be tensors.
    return x if isinstance(factor, float) and factor == 1.0 else x * factor

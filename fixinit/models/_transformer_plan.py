"""The shape of the blocks of a Transformer."""

import dataclasses
from typing import Any

from fixinit._validation import check_activation, check_size


@dataclasses.dataclass(frozen=True)
class TransformerPlan:
    """The shape of all blocks of one Transformer.

    Attributes:
        num_blocks: Number of blocks (N), of two branches each.
        width: Channels of the stream.
        num_heads: Heads of the queries.
        num_key_value_heads: Heads of keys and values.
        mlp_width: Units of the MLP.
        activation: Keras activation of the MLP.
        gated: Whether the MLP is a gated linear unit.
        is_causal: Whether positions see only what is before them.
        rotary_base: Base of rotary positions, `None` for none.
        query_key_norm: Whether queries and keys are normalized head by head.
        soft_cap: The most that a score may be, `None` for any.
        use_bias: Whether weight layers have biases, where the scheme leaves it open.
        draw: Initializer of kernels, where the scheme leaves it open.
        last_draw: The same for the last kernel of every branch.
        stochastic_depth_rate: Rate at the last branch.
    """

    num_blocks: int
    width: int
    num_heads: int
    num_key_value_heads: int
    mlp_width: int
    activation: Any
    gated: bool = False
    is_causal: bool = False
    rotary_base: float | None = None
    query_key_norm: bool = False
    soft_cap: float | None = None
    use_bias: bool = True
    draw: Any = None
    last_draw: Any = None
    stochastic_depth_rate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "num_heads", "num_key_value_heads", "mlp_width"):
            check_size(name, getattr(self, name))
        check_activation("activation", self.activation)
        if self.width % self.num_heads:
            raise ValueError(
                "Argument `num_heads` must divide `width`. Received: num_heads="
                f"{self.num_heads}, width={self.width}. The nearest width is "
                f"{round(self.width / self.num_heads) * self.num_heads}."
            )
        if self.num_heads % self.num_key_value_heads:
            raise ValueError(
                "Argument `num_key_value_heads` must divide `num_heads`. Received: "
                f"num_key_value_heads={self.num_key_value_heads}, "
                f"num_heads={self.num_heads}"
            )
        head = self.width // self.num_heads
        if self.rotary_base is not None and head % 2:
            raise ValueError(
                "Rotary positions turn pairs of channels: heads need an even width. "
                f"Received: width={self.width}, num_heads={self.num_heads}"
            )

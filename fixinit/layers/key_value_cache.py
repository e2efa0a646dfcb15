"""What attention has seen so far, for one new position after the other."""

import dataclasses

from fixinit._typing import Tensor


@dataclasses.dataclass
class KeyValueCache:
    """Keys and values of a sequence that grows: `SelfAttention` fills it when called.

    Attributes:
        keys, values: Tensors `(batch, length, heads, d)`, with room for all positions.
        at: Integer tensor `()`, the index of the first new position.
        seen: Boolean tensor `(batch, 1, new, length)`, what each new position looks at.
    """

    keys: Tensor
    values: Tensor
    at: Tensor
    seen: Tensor

"""What an initialization from data has done."""

import dataclasses
from typing import Any

from fixinit._checked import check_fields


@dataclasses.dataclass(frozen=True)
class DataStart:
    """What `fixinit.initialize_from_data` has changed.

    Example:

    >>> start = fixinit.starts.DataStart("lsuv", {"dense/kernel": 0.5}, 2.0, 1.0)
    >>> start.factors["dense/kernel"]
    0.5

    Attributes:
        method: String.
        factors: Dict from the paths of weights to the factors that they are multiplied
            by; in a `fixinit.layers.Stack` a list with one for each block. Of LSUV,
            behind its orthonormal draw.
        before, after: floats, the method's criterion. LSUV: the largest deviation of an
            output's standard deviation from 1, before and after its own layer is
            scaled. MetaInit: the gradient quotient.
            GradInit: the loss after one step.
        kept: Tuple of the paths of weights that are zero, and stay so.
    """

    method: str
    factors: dict[str, Any]
    before: float
    after: float
    kept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)

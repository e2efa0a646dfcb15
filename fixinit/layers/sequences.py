"""Checks of sequences and their masks."""

from typing import Any

from keras import ops

from fixinit._typing import Shape, Tensor


def check_sequences(name: str, shape: Shape) -> None:
    """Refuses the shape of what is no sequences of vectors."""
    if len(shape) != 3:
        raise ValueError(
            f"`{name}` takes sequences (batch, length, channels). Received: inputs of "
            f"shape {tuple(shape)}"
        )


def checked_mask(name: str, inputs: Tensor, mask: Any) -> Tensor:
    """A mask of sequences as booleans.

    Args:
        name: Name of the layer that reads it.
        inputs: Tensor `(batch, length, ...)`.
        mask: Tensor `(batch, length)`.

    Raises:
        ValueError: If it has another shape, as far as that is known.
    """
    wanted, found = tuple(inputs.shape[:2]), tuple(mask.shape)
    pairs = zip(wanted, found, strict=False)
    if len(found) != 2 or any(None not in p and p[0] != p[1] for p in pairs):
        raise ValueError(
            f"`{name}` takes a mask of shape (batch, length), here {wanted}. Received: "
            f"mask.shape={found}"
        )
    return ops.cast(mask, "bool")

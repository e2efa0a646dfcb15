"""Equal blocks as one layer."""

from collections.abc import Callable
from typing import Any

import keras

from fixinit import layers
from fixinit._validation import check_choice
from fixinit.schemes.apply import Applicator
from fixinit.schemes.independence import check_independent, compared

# By default networks of so many blocks are stacked: from there on a loop takes less
# time to the first step and no more for the others (measured: docs/stack.md).
STACKED_FROM = 50
# PyTorch, which traces nothing, gains nothing: there, where Keras may fail to build.
STACKED_FROM_ON_TORCH = 500


def is_stacked(stacked: bool | str, num_blocks: int) -> bool:
    """Whether equal blocks become a stack, by the argument of the models."""
    if isinstance(stacked, bool):
        return stacked
    check_choice("stacked", stacked, (True, False, "auto"))
    on_torch = keras.backend.backend() == "torch"
    return num_blocks >= (STACKED_FROM_ON_TORCH if on_torch else STACKED_FROM)


def stack_of(
    applicator: Applicator,
    make: Callable[[int], keras.layers.Layer],
    num_blocks: int,
    differs: bool = False,
    **options: Any,
) -> keras.layers.Layer:
    """One layer for equal blocks.

    Args:
        applicator: `fixinit.schemes.apply.Applicator`, whose seeds the blocks take.
        make: Function from an index, from 0, to a block.
        num_blocks: int.
        differs: bool. Whether blocks differ in numbers beside those of the scheme.
        **options: Arguments of `fixinit.layers.Stack`.
    """
    start = applicator.next_seed
    first = make(0)
    seed_step = applicator.next_seed - start
    options = {"seed_step": seed_step, **options}
    scheme, is_shifted = applicator.scheme, applicator.knows_seeds(first, start)
    if scheme.depends_on_branch or differs or not is_shifted:
        rest = [make(index) for index in range(1, num_blocks)]
        return layers.Stack.from_blocks([first, *rest], **options)
    others = (make(index) for index in compared(num_blocks))
    check_independent(scheme, first, others)
    applicator.next_seed = start + num_blocks * seed_step
    return layers.Stack(first, num_blocks, **options)

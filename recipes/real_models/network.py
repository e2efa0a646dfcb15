"""What is known of a network before it is converted."""

import dataclasses
from collections.abc import Callable

import keras


@dataclasses.dataclass(frozen=True)
class Network:
    """A network and what its authors say of it.

    Attributes:
        build: Function that makes it, with random weights; Keras's global seed draws
            them.
        blocks: int, its residual additions, counted by hand in the publication or in
            the source, where an addition of several branches is one; `None` if that
            depends on what one calls a block.
        shapes: Dict from names of inputs to their shapes without the batch, for
            networks that do not take inputs of any size.
    """

    build: Callable[[], keras.Model]
    blocks: int | None = None
    shapes: dict | None = None


class Gallery(dict):
    """Networks by name."""

    def add(self, blocks: int | None = None) -> Callable:
        """A decorator that adds the function that builds a network, by its name."""

        def added(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
            self[build.__name__] = Network(build, blocks)
            return build

        return added

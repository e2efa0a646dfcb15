"""Seeds of initializers, of layers, and of what Keras seeds by itself."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from fixinit import _keras
from fixinit.layers import Stack

# One initializer of theirs draws several weights: with a seed, it would draw the
# same for all of them. The blocks of a stack have seeds of its own making.
_SHARING = (
    keras.layers.Bidirectional,
    keras.layers.GroupQueryAttention,
    keras.layers.MultiHeadAttention,
    Stack,
)


def first_seed(seed: int | None) -> int:
    """The first of consecutive seeds, from a user's `seed` or from Python's generator.

    The latter is what `keras.utils.set_random_seed` makes reproducible.
    """
    entropy = random.getrandbits(32) if seed is None else seed
    first = np.random.SeedSequence(entropy).generate_state(1)[0]
    # Room for consecutive seeds below 2^31, which every backend accepts.
    return int(first) % 2**30


def with_seed(
    initializer: keras.initializers.Initializer, seed: int | None
) -> keras.initializers.Initializer:
    """The same initializer with another seed, if it or one that it holds has one.

    Functions, which Keras takes as initializers too, stay as they are.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if "seed" in config:
        config = {**config, "seed": seed}
    elif list(seeds(config)):
        config = replaced(config, lambda _: seed)
    else:
        return initializer
    return type(initializer).from_config(config)


def seeds(config: Any) -> Iterator[Any]:
    """All seeds in a config, `None` where there is none."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from [value] if key == "seed" else seeds(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from seeds(value)


def replaced(config: Any, new: Callable[[Any], Any]) -> Any:
    """The config with `new(seed)` for every seed."""
    if isinstance(config, dict):
        return {
            key: new(value) if key == "seed" else replaced(value, new)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(replaced(value, new) for value in config)
    return config


def shares_seeds(layer: keras.layers.Layer) -> bool:
    """Whether one seed in a layer's config would be that of several draws."""
    return any(isinstance(part, _SHARING) for part in _keras.flatten_layers(layer))


@contextlib.contextmanager
def reproducible(seed: int | None) -> Iterator[None]:
    """A context in which the seeds that Keras chooses follow from `seed`.

    It takes them from Python's generator, whose state is put back. Without a seed
    nothing changes.
    """
    if seed is None:
        yield
        return
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)

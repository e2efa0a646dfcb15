"""What everyone does who asks a scheme: seeds for the draws, names for the layers."""

import random
import re

import numpy as np

from fixinit.schemes.scheme import Site


class WatchedSite(Site):
    """A site that remembers whether anyone asked which branch it is in.

    Blocks may be stacked where nobody did.
    """

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "asked", False)

    def __getattribute__(self, name):
        if name == "branch":
            object.__setattr__(self, "asked", True)
        return super().__getattribute__(name)


def first_seed(seed):
    """The first of consecutive seeds, from a user's `seed` or from Python's generator.

    The latter is what `keras.utils.set_random_seed` makes reproducible.
    """
    entropy = random.getrandbits(32) if seed is None else seed
    first = np.random.SeedSequence(entropy).generate_state(1)[0]
    # Room for consecutive seeds below 2^31, which every backend accepts.
    return int(first) % 2**30


def with_seed(initializer, seed):
    """The same initializer with another seed, if it has one."""
    config = initializer.get_config()
    if "seed" not in config:
        return initializer
    return type(initializer).from_config({**config, "seed": seed})


def named(built, prefix, **options):
    """The layers, named by their place in the network and by what they are."""
    layers = []
    for layer in built:
        # Without the counter that Keras appends to automatic names.
        kind = re.sub(r"_\d+$", "", layer.name)
        config = {**layer.get_config(), **options, "name": f"{prefix}_{kind}"}
        layers.append(type(layer).from_config(config))
    return layers

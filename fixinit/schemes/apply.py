"""The applicator: turns a scheme's answers into seeded, named Keras layers.

`fixinit.models` and `fixinit.conversion` both call it. Around one layer of a network
stand, in this order,

    before_weight, weight layer, after_projection
    before_activation, activation
    branch_start, branch, branch_end
    merge, after_merge, the block's last activation
    the last block, network_end
"""

import dataclasses
import random
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np

from fixinit._validation import check_positive_int
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site

Layers = list[keras.layers.Layer]
Place = Literal[
    "branch_start",
    "before_activation",
    "before_weight",
    "branch_end",
    "after_merge",
    "after_projection",
    "network_end",
]


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What a new layer has in common with the layers around it.

    Attributes:
        dtype: Dtype policy; Keras's default if `None`.
        axis: int, the channel axis: -1, or 1 where channels come first.
    """

    dtype: Any = None
    axis: int = -1

    def changes(self, layer: keras.layers.Layer) -> dict[str, Any]:
        """The arguments with which a layer fits in."""
        changes = {} if self.dtype is None else {"dtype": self.dtype}
        if self.axis != -1 and hasattr(layer, "axis"):
            changes["axis"] = self.axis
        return changes


class Applicator:
    """Applies one scheme to one network.

    Args:
        scheme: `fixinit.schemes.Scheme`.
        seed: int or `None`. The draws of weight layers are seeded with consecutive
            integers from a start that `seed` determines, or, if it is `None`,
            `keras.utils.set_random_seed`. So no two of them are alike. Without a seed
            the configs of the layers hold none: a clone draws anew, as Keras's do.

    Attributes:
        next_seed: int, that of the next draw.

    Raises:
        ValueError: If `seed` is negative.
    """

    def __init__(self, scheme: Scheme, seed: int | None = None) -> None:
        if seed is not None:
            check_positive_int("seed", seed, minimum=0)
        self.scheme = scheme
        self.next_seed = first_seed(seed)
        self._keeps_seeds = seed is not None

    def take_seed(self) -> int | None:
        """The next of the consecutive seeds; `None` in a network without a seed."""
        self.next_seed += 1
        return self.next_seed - 1 if self._keeps_seeds else None

    def seeded(
        self, initializer: keras.initializers.Initializer
    ) -> keras.initializers.Initializer:
        """The same initializer with the next seed."""
        seed = self.next_seed
        initializer = with_seed(initializer, self.take_seed())
        if not self._keeps_seeds and hasattr(initializer, "seed"):
            # For this draw alone: it is in no config.
            initializer.seed = seed
        return initializer

    def at(
        self,
        place: Place,
        site: Site,
        prefix: str,
        surroundings: Surroundings = Surroundings(),  # noqa: B008, it is frozen
    ) -> Layers:
        """The layers that the scheme puts at a place, named `prefix` and their kind."""
        return named(getattr(self.scheme, place)(site), prefix, surroundings)

    def merge(
        self,
        site: Site,
        name: str | None = None,
        surroundings: Surroundings = Surroundings(),  # noqa: B008, it is frozen
    ) -> keras.layers.Layer:
        """The layer that joins shortcut and branch."""
        merge = self.scheme.merge(site)
        changes = surroundings.changes(merge)
        if name is not None:
            changes["name"] = name
        return remade(merge, changes) if changes else merge

    def weight(
        self,
        site: Site,
        layer: keras.layers.Layer,
        kernels: Sequence[str] = ("kernel_initializer",),
        fit: Callable[[Any, str], Any] | None = None,
        has_bias: bool = False,
        changes: dict[str, Any] | None = None,
    ) -> keras.layers.Layer:
        """The weight layer at a site, drawn and replaced as the scheme says.

        Args:
            site: `Site` of the layer.
            layer: Keras layer with the configuration. It is not used itself.
            kernels: The arguments that draw its kernels, the main one last. The
                others, as of separable convolutions, are drawn by He initialization.
            fit: Function from a seeded initializer and its argument to the
                initializer for this layer's kernel.
            has_bias: bool. Whether the layer keeps its bias whatever the scheme says.
                The classification layer always does.
            changes: Dict of further arguments of the layer.
        """
        changes = dict(changes or {})
        for argument in kernels:
            initializer = keras.initializers.HeNormal()
            if argument == kernels[-1]:
                initializer = self.scheme.kernel_initializer(site)
            initializer = self.seeded(initializer)
            changes[argument] = fit(initializer, argument) if fit else initializer
        if not (has_bias or site.role == "head"):
            changes |= self._bias(layer)
        return self.scheme.weight_layer(site, remade(layer, changes))

    def _bias(self, layer: keras.layers.Layer) -> dict[str, Any]:
        """The argument that says whether a layer has a bias."""
        if hasattr(layer, "bias_axes"):
            # `EinsumDense` has no axes to give it where it had no bias.
            return {} if self.scheme.use_bias else {"bias_axes": None}
        if hasattr(layer, "use_bias"):
            return {"use_bias": self.scheme.use_bias}
        return {}

    def activation(
        self,
        site: Site,
        layer: keras.layers.Layer,
        surroundings: Surroundings = Surroundings(),  # noqa: B008, it is frozen
    ) -> keras.layers.Layer:
        """What stands for an activation: `layer` itself, or another of its name."""
        new = self.scheme.activation(site, layer)
        if new is layer:
            return layer
        return remade(new, {"name": layer.name, **surroundings.changes(new)})


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
    """The same initializer with another seed, if it has one."""
    config = initializer.get_config()
    if "seed" not in config:
        return initializer
    return type(initializer).from_config({**config, "seed": seed})


def named(
    layers: Sequence[keras.layers.Layer],
    prefix: str,
    surroundings: Surroundings = Surroundings(),  # noqa: B008, it is frozen
) -> Layers:
    """Layers named by their place in the network and by what they are."""
    made = []
    for layer in layers:
        # Without the counter that Keras appends to automatic names.
        kind = re.sub(r"_\d+$", "", layer.name)
        changes = {**surroundings.changes(layer), "name": f"{prefix}_{kind}"}
        made.append(remade(layer, changes))
    return made


def config_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """The config of a layer, from which Keras can make it again in this process.

    An activation that is not registered has only a name in Keras's config.
    """
    config = layer.get_config()
    if callable(getattr(layer, "activation", None)) and "activation" in config:
        config["activation"] = layer.activation
    return config


def remade(layer: keras.layers.Layer, changes: dict[str, Any]) -> keras.layers.Layer:
    """A new layer of the same configuration, but for some arguments."""
    return type(layer).from_config({**config_of(layer), **changes})


def check_independent(scheme: Scheme, first: Any, last: Any) -> None:
    """Refuses a scheme whose answers depend on the branch though it says they do not.

    Args:
        scheme: `Scheme` that does not declare `depends_on_branch`.
        first, last: Equal blocks of a network that are to be made from one answer.

    Raises:
        ValueError: If the blocks differ in more than names and seeds.
    """
    if _anonymous(keras.saving.serialize_keras_object(first)) != _anonymous(
        keras.saving.serialize_keras_object(last)
    ):
        raise ValueError(
            f"The answers of {scheme!r} differ from block to block of a stack, but its "
            "`depends_on_branch` is False, so that one answer would stand for all of "
            "them. Declare `depends_on_branch = True` in the class."
        )


def _anonymous(config: Any) -> Any:
    """A config without the names and seeds in it."""
    if isinstance(config, dict):
        return {
            key: _anonymous(value)
            for key, value in config.items()
            if key not in ("name", "seed")
        }
    if isinstance(config, (list, tuple)):
        return [_anonymous(value) for value in config]
    return config

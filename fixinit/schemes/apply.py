"""The applicator: turns a scheme's answers into seeded, named Keras layers.

`fixinit.models` and `fixinit.conversion` both call it. Around one layer of a network
stand, in this order,

    before_weight, weight layer, after_projection
    before_activation, activation
    branch_start, branch, branch_end
    merge, after_merge, the block's last activation
    the last block, network_end
"""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras

from fixinit._validation import check_seed
from fixinit.layers.configs import config_of
from fixinit.schemes import carried
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.seeds import (
    first_seed,
    replaced,
    reproducible,
    seeds,
    shares_seeds,
    with_seed,
)
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
        seed: int or `None`. All draws are seeded with consecutive integers from a
            start that `seed` determines, or, if it is `None`,
            `keras.utils.set_random_seed`. So no two of them are alike. In answers, a
            seed that is there already stays. Without a seed the configs of the layers
            hold none: a clone draws anew, as Keras's do.

    Attributes:
        next_seed: int, that of the next draw.

    Raises:
        ValueError: If `seed` is negative.
    """

    def __init__(self, scheme: Scheme, seed: int | None = None) -> None:
        seed = check_seed("seed", seed)
        self.scheme = scheme
        self.next_seed = self._seed_below = first_seed(seed)
        self._keeps_seeds = seed is not None

    def take_seed(self) -> int | None:
        """The next of the consecutive seeds; `None` in a network without a seed."""
        self.next_seed += 1
        return self.next_seed - 1 if self._keeps_seeds else None

    def building(self) -> contextlib.AbstractContextManager[None]:
        """A context in which to build the layers.

        What they draw by initializers of their own follows from the seed, too.
        """
        self._seed_below -= 1
        return reproducible(self._seed_below if self._keeps_seeds else None)

    def knows_seeds(self, layer: keras.layers.Layer, first: int) -> bool:
        """Whether all that `layer` draws has seeds taken here, from `first` on."""
        known = range(first, self.next_seed)
        found = seeds(keras.saving.serialize_keras_object(layer))
        return not self._keeps_seeds or all(seed in known for seed in found)

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
        answer = getattr(self.scheme, place)(site)
        if place == "branch_end":
            carried.check_branch_end(self.scheme, site, answer)
        return self.named(answer, prefix, surroundings)

    def named(
        self,
        layers: Sequence[keras.layers.Layer],
        prefix: str,
        surroundings: Surroundings = Surroundings(),  # noqa: B008, it is frozen
    ) -> Layers:
        """Layers named by their place in the network and by what they are."""
        made: dict[str, keras.layers.Layer] = {}
        for layer in layers:
            # Without the counter that Keras appends to automatic names.
            kind = re.sub(r"_\d+$", "", layer.name)
            name, number = f"{prefix}_{kind}", 1
            while name in made:
                number += 1
                name = f"{prefix}_{kind}_{number}"
            made[name] = self._own(layer, surroundings.changes(layer) | {"name": name})
        return list(made.values())

    def _own(
        self, layer: keras.layers.Layer, changes: dict[str, Any]
    ) -> keras.layers.Layer:
        """The same layer with some other arguments, and a seed where it has none."""
        config = {**config_of(layer), **changes}
        if self._keeps_seeds and None in seeds(config):
            if shares_seeds(layer):
                with reproducible(self.take_seed()):
                    return type(layer).from_config(config)
            config = replaced(config, lambda x: self.take_seed() if x is None else x)
        elif not changes:
            return layer
        return type(layer).from_config(config)

    def merge(
        self,
        site: Site,
        name: str | None = None,
        surroundings: Surroundings = Surroundings(),  # noqa: B008, it is frozen
    ) -> keras.layers.Layer:
        """The layer that joins shortcut and branch."""
        merge = self.scheme.merge(site)
        carried.check_merge(self.scheme, site, merge)
        changes = surroundings.changes(merge)
        if name is not None:
            changes["name"] = name
        return self._own(merge, changes)

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
        main = self.scheme.kernel_initializer(site)
        if main is None:
            changes |= {name: self.seeded(getattr(layer, name)) for name in kernels}
            kernels = ()
        for argument in kernels:
            initializer = keras.initializers.HeNormal()
            if argument == kernels[-1]:
                initializer = main
                carried.check_kernel(self.scheme, site, initializer)
            initializer = self.seeded(initializer)
            changes[argument] = fit(initializer, argument) if fit else initializer
        if not (has_bias or site.role == "head"):
            changes |= self._bias(layer)
        plain = self._own(layer, changes)
        new = self._own(self.scheme.weight_layer(site, plain), {})
        new.name = plain.name
        return new

    def _bias(self, layer: keras.layers.Layer) -> dict[str, Any]:
        """The argument that says whether a layer has a bias."""
        if self.scheme.use_bias is None:
            return {}
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
        return self._own(new, {"name": layer.name, **surroundings.changes(new)})

"""Puts the layers that a scheme answers at the calls of a graph."""

import collections
from collections.abc import Callable, Hashable
from typing import Any

import keras

from fixinit.conversion.edits import Edits, place_of
from fixinit.schemes.apply import Layers, Surroundings


class Placing:
    """Edits of one graph, in which every layer has a name and belongs to one site.

    What stands at a layer with weights goes with it wherever it is called. A layer
    without weights, as one `ReLU` that is called all over a network, is at another site
    in each call, unless what it reads comes from the same weights.

    Attributes:
        edits: `fixinit.conversion.rewrite.Edits`.
    """

    def __init__(self) -> None:
        self.edits = Edits()
        self._made: dict[Hashable, Any] = {}  # by where it stands and belongs to
        self._sites: collections.Counter = collections.Counter()  # of operations
        self._replaced: collections.Counter = collections.Counter()  # likewise

    def before(
        self, survey: Any, call: Any, make: Callable[[str], Layers], prefix: str
    ) -> None:
        """Puts layers in front of a call's first input, unless some are there.

        Args:
            survey: `Survey` of the graph.
            call: `fixinit.graph.Call`.
            make: Function from the prefix of their names to the layers.
            prefix: The prefix, if this is the first site of the layer.
        """
        place = place_of(call)
        if (place, 0) not in self.edits.before:
            made = self._shared(survey, call, make, prefix)
            if made:
                self.edits.before[place, 0] = made

    def first(self, call: Any, made: Layers, index: int = 0) -> None:
        """Puts layers in front of all that is in front of an input of a call."""
        if made:
            key = place_of(call), index
            self.edits.before[key] = [*made, *self.edits.before.get(key, [])]

    def after(self, call: Any, made: Layers, index: int = 0) -> None:
        """Puts layers, named already, behind an output of a layer with weights."""
        if not made:
            return
        if call.node is not None:
            made = self.once(("after", id(call.operation)), lambda: made)
        self.edits.after[place_of(call)] = made
        self.edits.outputs[place_of(call)] = index

    def instead(
        self, survey: Any, call: Any, make: Callable[[], keras.layers.Layer | None]
    ) -> None:
        """Puts a layer in the place of a call of one without weights.

        Args:
            survey, call: See `before`.
            make: Function to the layer; `None` if the call stays as it is.
        """
        key = "instead", id(call.operation), survey.origin(call)
        if key not in self._made:
            made = self._made[key] = make()
            self._replaced[id(call.operation)] += 1
            count = self._replaced[id(call.operation)]
            if made is not None and count > 1:
                made.name = f"{made.name}_call{count}"
        if self._made[key] is not None:
            self.edits.calls[place_of(call)] = self._made[key]

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` makes, made at the first time that a key is given."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _shared(
        self, survey: Any, call: Any, make: Callable[[str], Layers], prefix: str
    ) -> Layers:
        operation = call.operation
        if call.node is None:
            return make(prefix)
        is_layer = isinstance(operation, keras.layers.Layer)
        # Every call of an operation has an object of its own.
        key: Hashable = id(operation) if is_layer else type(operation).__name__
        if not (is_layer and operation.weights):
            key = key, survey.origin(call)
        if key not in self._made:
            count = self._sites[id(operation)] + 1
            made = make(prefix if count == 1 else f"{prefix}_call{count}")
            if not made:
                return made
            self._sites[id(operation)] = count
            self._made[key] = made
        return self._made[key]

    def merge_name(self, survey: Any, merge: Any) -> str:
        """That of an addition; one that is called again gives each call its own."""
        operation = merge.operation
        # A model that is called again has the same places.
        places = list(
            dict.fromkeys(
                place_of(call)
                for call in survey.graph.calls
                if call.operation is operation
            )
        )
        if len(places) == 1:
            return operation.name
        return f"{operation.name}_call{places.index(place_of(merge)) + 1}"

    def rename(self, taken: set[str]) -> None:
        """Gives other names to layers that have those of layers that stay."""
        self.edits.taken = taken
        added = [(place, made) for (place, _), made in self.edits.before.items()]
        added += self.edits.after.items()
        for place, (merge, *_) in self.edits.merges.items():
            operation = getattr(place, "operation", place)
            if merge.name != operation.name:
                added.append((place, [merge]))
        used = set(taken)
        for place, layer in {id(x): (p, x) for p, made in added for x in made}.values():
            # The parts of a block may be called as those of another.
            is_part = isinstance(place, keras.layers.Layer)
            while layer.name in (taken if is_part else used):
                layer.name += "_"
            used.add(layer.name)


def surroundings_of(graph: Any, call: Any) -> Surroundings:
    """The dtype and the channel axis of a call's input."""
    policy = getattr(call.operation, "dtype_policy", None)
    if policy is None:
        policy = call.node.outputs[0].dtype
        if policy in ("float16", "bfloat16"):
            policy = f"mixed_{policy}"
    elif type(policy) is keras.dtype_policies.DTypePolicy:
        # By name: layers without a `get_config` of their own hold no objects.
        policy = policy.name
    # 1 where channels come first; an input of the model does not say.
    axis = max(graph.channel_axes[value] for value in call.inputs)
    return Surroundings(policy, axis)

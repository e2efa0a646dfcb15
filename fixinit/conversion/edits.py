"""Changes at the calls of a model that is made again."""

import dataclasses
from typing import Any

from fixinit.layers import facts_of


@dataclasses.dataclass
class Edits:
    """What to change. A place is a `place_of` a call.

    Attributes:
        layers: Dict from ids of layers to layers in their stead; `None` takes one out,
            so that what it reads is what it gives.
        before: Dict from `(place, index)` to layers in front of an input of a call.
        after: Dict from places to layers behind a call.
        outputs: Dict from places to the index of the output that those stand behind;
            the first one elsewhere.
        calls: Dict from places to the layer that is called there instead.
        merges: Dict from places to `(layer, shortcut, branches)`: the layer that joins
            `[shortcut, branch]` and the indices of the call's inputs. Several branches
            are added up first.
        ends: Dict from ids of `ResidualBlock`s to the layer in the stead of their last
            activation.
        shared: Set of ids of `ResidualBlock`s whose shortcut reads its input through
            what is put in front of the branch.
        taken: Set of the names of layers that stay.
    """

    layers: dict = dataclasses.field(default_factory=dict)
    before: dict = dataclasses.field(default_factory=dict)
    after: dict = dataclasses.field(default_factory=dict)
    outputs: dict = dataclasses.field(default_factory=dict)
    calls: dict = dataclasses.field(default_factory=dict)
    merges: dict = dataclasses.field(default_factory=dict)
    ends: dict = dataclasses.field(default_factory=dict)
    shared: set = dataclasses.field(default_factory=set)
    taken: set = dataclasses.field(default_factory=set)

    def activation_at(self, call):
        """The activation that stands for that of a call, or that it holds."""
        place = place_of(call)
        if place in self.calls:
            return self.calls[place]
        if _ends_block(call):
            return self.ends.get(id(call.owner), call.operation)
        behind = [x for x in self.after.get(place, []) if facts_of(x).activates]
        return behind[-1] if behind else call.operation

    def answers(self):
        """The new layers, by where they stand."""
        merges = [merge for merge, *_ in self.merges.values()]
        places = (self.layers, self.before, self.after, self.calls, self.ends)
        return [merges, *(list(place.values()) for place in places)]


def place_of(call: Any) -> Any:
    """What tells a call from others: Keras's record of it, or its only layer."""
    return call.operation if call.node is None else call.node


def _ends_block(call: Any) -> bool:
    """Whether a call is that of the activation that a `ResidualBlock` ends in."""
    block = call.owner
    if block is None or not facts_of(call.operation).activates:
        return False
    parts = (*block.branch, *block.shortcut, *block.after_merge)
    return all(call.operation is not part for part in parts)

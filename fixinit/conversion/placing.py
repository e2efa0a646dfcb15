"""Puts what a scheme answers at the calls of a graph."""

import collections

import keras

from fixinit.conversion.rewrite import Edits, place_of
from fixinit.schemes.answers import named


class Placing:
    """Edits of one graph, in which every layer has a name and belongs to one site.

    What stands at a layer with weights goes with it wherever it is called. A layer
    without weights, as one `ReLU` that is called all over a network, is at another site
    in each call, unless what it reads comes from the same weights.

    Attributes:
        edits: `fixinit.conversion.rewrite.Edits`.
    """

    def __init__(self):
        self.edits = Edits()
        self._made = {}  # by where it stands and what it belongs to
        self._sites = collections.Counter()  # of operations

    def before(self, survey, call, answer, prefix):
        """Puts layers in front of a call's first input."""
        place = place_of(call)
        if answer and (place, 0) not in self.edits.before:
            self.edits.before[place, 0] = self._shared(survey, call, answer, prefix)

    def after(self, survey, call, made):
        """Puts layers, named already, behind the call of a weight layer."""
        if not made:
            return
        if call.node is not None:
            made = self._made.setdefault(("after", id(call.operation)), made)
        self.edits.after[place_of(call)] = made

    def once(self, key, make):
        """What `make` makes, made at the first time that a key is given."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _shared(self, survey, call, answer, prefix):
        operation = call.operation
        if call.node is None:
            return named_at(survey.graph, call, answer, prefix)
        is_layer = isinstance(operation, keras.layers.Layer)
        # Every call of an operation has an object of its own.
        key = id(operation) if is_layer else type(operation).__name__
        if not (is_layer and operation.weights):
            key = key, survey.origin(call)
        if key not in self._made:
            self._sites[id(operation)] += 1
            count = self._sites[id(operation)]
            prefix = prefix if count == 1 else f"{prefix}_call{count}"
            self._made[key] = named_at(survey.graph, call, answer, prefix)
        return self._made[key]

    def merge_name(self, survey, merge):
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

    def rename(self, taken):
        """Gives other names to layers that have those of layers that stay."""
        self.edits.taken = taken
        added = [*self.edits.before.values(), *self.edits.after.values()]
        for place, (merge, *_) in self.edits.merges.items():
            operation = getattr(place, "operation", place)
            if merge.name != operation.name:
                added.append([merge])
        for layer in (layer for made in added for layer in made):
            while layer.name in taken:
                layer.name += "_"


def named_at(graph, call, answer, prefix):
    """The layers of an answer, named, for the dtype and the axes of a call's input."""
    policy = getattr(call.operation, "dtype_policy", None)
    if policy is None:
        policy = call.node.outputs[0].dtype
        if policy in ("float16", "bfloat16"):
            policy = f"mixed_{policy}"
    made = named(answer, prefix, dtype=policy)
    # 1 where channels come first; an input of the model does not say.
    axis = max(graph.channel_axes[value] for value in call.inputs)
    return [_over(layer, axis) for layer in made]


def _over(layer, axis):
    """A layer that normalizes over channels, for those on another axis."""
    if axis == -1 or not hasattr(layer, "axis"):
        return layer
    return type(layer).from_config({**layer.get_config(), "axis": axis})

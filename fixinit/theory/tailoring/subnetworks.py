"""How the activations of a model follow one another, over all of its subnetworks."""

import functools
import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from fixinit import graph
from fixinit.graph.kinds import output_facts
from fixinit.layers import Stack, facts_of
from fixinit.theory.errors import NoRuleError
from fixinit.theory.propagation import with_constants

# From the call of an addition to the factors of its inputs; `None` for its own.
Factors = Callable[[graph.Call], Sequence[float] | None]
_INPUT: tuple[Any, ...] = ("input",)


def maximum_of(network: Any) -> Callable[[float, Callable[[float], float]], float]:
    """The callable `(x, local_map)` of a model; that of a callable is itself."""
    if isinstance(network, keras.Model):
        with graph.opened(network) as inside:
            found = SubnetworkMaximum(graph.trace(inside.model))
            found.program  # noqa: B018, read while the model is open
            return found
    if callable(network) and not isinstance(network, (type, keras.layers.Layer)):
        return network
    raise TypeError(
        "Argument `network` must be a keras.Model, or a callable `(x, local_map)` that "
        "returns the largest value over the network's subnetworks. Received: "
        f"network={network!r}"
    )


class SubnetworkMaximum:
    """The largest value over all subnetworks, `M(x, local_map)` of TAT, for a graph.

    A subnetwork is a part that one value enters and one leaves: the whole, a run of
    blocks, a branch or a part of one. It maps x as its layers do at a random
    initialization, by the correlation of two inputs:

    * an activation applies `local_map`; that of a gate, a softmax, and the last one
      behind the head, if it has the function of no other, counts as linear;
    * sums average, weighted by the squares of their factors; concatenations average,
      weighted by the number of their channels;
    * gates, and what does not depend on the inputs, are constants;
    * all else that reads one value passes it on: weight layers, pooling, dropout,
      normalization, which is to be taken out.

    For the maps of TAT and DKS, which grow and lie above the identity, a part is never
    above the whole it begins, so that the whole and the branches are enough.

    Example:

    >>> x = inputs = keras.Input((8,))
    >>> for _ in range(2):
    ...     branch = keras.layers.Dense(8)(keras.layers.ReLU()(x))
    ...     x = fixinit.layers.ScaledAdd(0.8, 0.6)([x, branch])
    >>> traced = fixinit.graph.trace(keras.Model(inputs, x))
    >>> maximum = fixinit.theory.tailoring.SubnetworkMaximum(traced)
    >>> round(maximum(1.0, lambda x: 2 * x), 9)  # (0.64 + 0.36 * 2)^2, a branch has 2
    2.0

    Args:
        traced: `fixinit.graph.Graph` of a model.
        factors: Callable from the `fixinit.graph.Call` of an addition to the factors of
            its inputs, or to `None`: those that its layer declares.

    Raises:
        NoRuleError: When called, if an operation has several inputs and no C map, such
            as a product of two signals.
    """

    def __init__(
        self, traced: graph.Graph, factors: Factors = lambda call: None
    ) -> None:
        self._traced, self._factors = traced, factors

    @functools.cached_property
    def program(self) -> "_Program":
        """The graph as the averages and maps that it comes down to."""
        return _Program(self._traced, self._factors)

    def __call__(self, x: float, local_map: Callable[[float], float]) -> float:
        values = [x]
        for kind, *read in self.program.steps:
            if kind == "map":
                values.append(local_map(values[read[0]]))
            else:
                weights, places = read
                pairs = zip(weights, places, strict=True)
                values.append(sum(w * values[i] for w, i in pairs))
        return max(values[i] for i in self.program.ends)


class _Program:
    """Steps that are made once for equal parts, and where subnetworks end.

    Attributes:
        steps: List of `("map", i)` and `("mean", weights, indices)`. Index 0 is x, and
            index i the result of step i - 1.
        ends: Sorted list of indices.
    """

    def __init__(self, traced: graph.Graph, factors: Factors) -> None:
        self.steps: list[tuple[Any, ...]] = []
        self._known: dict[tuple[Any, ...], int] = {_INPUT: 0}
        self._factors = factors
        self._replaced: dict[int, Any] = {}
        ends = {0, *self._whole(traced, [0] * len(traced.inputs), _links(traced))}
        ends.update(self._regions(traced))
        self.ends = sorted(ends)

    def _step(self, *step: Any) -> int:
        if step not in self._known:
            self.steps.append(step)
            self._known[step] = len(self.steps)
        return self._known[step]

    def _mean(self, weights: Sequence[float], places: Sequence[int]) -> int:
        total, shares = sum(weights), dict.fromkeys(places, 0.0)
        for weight, place in zip(weights, places, strict=True):
            shares[place] += weight / total if total else 1 / len(places)
        shares = {place: share for place, share in shares.items() if share}
        if len(shares) == 1:
            return next(iter(shares))
        return self._step("mean", tuple(shares.values()), tuple(shares))

    def _whole(
        self, traced: graph.Graph, inputs: Sequence[int], linear: set[graph.Call]
    ) -> list[int]:
        """The steps of the outputs of a graph, from those of its inputs."""
        reader = _Reader(traced)
        values = dict(zip(traced.inputs, inputs, strict=True))
        for call in reader.calls:
            if not call.is_input:
                self._add(call, values, traced, linear)
        return [values[value] for value in traced.outputs if value in values]

    def _add(
        self,
        call: graph.Call,
        values: dict[int, int],
        traced: graph.Graph,
        linear: set[graph.Call],
    ) -> None:
        """Adds what a call gives to the values, if it reads one of them."""
        read = [value for value in call.inputs if value in values]
        if not read:
            return
        place = self._through(call, read, values, traced)
        if _is_map(call) and call not in linear:
            place = self._step("map", place)
        values.update(dict.fromkeys(call.outputs, place))

    def _through(
        self,
        call: graph.Call,
        read: list[int],
        values: dict[int, int],
        traced: graph.Graph,
    ) -> int:
        """The step of a call before its activation."""
        places = [values[value] for value in read]
        if call.body is not None:
            return self._stack(call, places[0])
        if len(set(places)) == 1:
            return places[0]
        operation = self._replaced.get(id(call.operation), call.operation)
        facts = facts_of(operation)
        if graph.is_addition(call):
            factors = self._factors(call) or facts.factors or (1.0,) * len(call.inputs)
            of = dict(zip(call.inputs, factors, strict=True))
            return self._mean([float(of[value]) ** 2 for value in read], places)
        if _concatenates(operation):
            sizes = [traced.specs[value].shape[operation.axis] or 1 for value in read]
            return self._mean(sizes, places)
        if facts.joins or call.has_weights:
            return self._mean([1.0] * len(read), places)
        raise NoRuleError(
            f"No C map for {type(operation).__name__} `{call.name}`, which reads "
            f"{len(read)} values. The network may be a callable `(x, local_map)`."
        )

    def _stack(self, call: graph.Call, place: int) -> int:
        """The step behind the last block of a stack."""
        stack, body = call.operation, call.body
        assert isinstance(stack, Stack) and body is not None
        outside = self._replaced
        for index in range(stack.depth):
            self._replaced = {**outside, **(with_constants(stack, index) or {})}
            (place,) = self._whole(body, [place], set())
        self._replaced = outside
        return place

    def _regions(self, traced: graph.Graph) -> Iterator[int]:
        """The ends of the subnetworks that start where the graph parts."""
        for inner, _ in traced.graphs():
            reader = _Reader(inner)
            for value, readers in reader.consumers.items():
                if len(readers) + (value in inner.outputs) > 1:
                    for call in readers:
                        yield from self._region(inner, reader, value, call)

    def _region(
        self, traced: graph.Graph, reader: "_Reader", value: int, first: graph.Call
    ) -> Iterator[int]:
        """The ends of the subnetworks that one call of several starts."""
        values: dict[int, int] = {}
        pending, unread = [(first.outputs[0], first)], {value: 1}
        done: set[graph.Call] = set()
        while pending:
            _, call = heapq.heappop(pending)
            inside = {**values, value: 0} if call is first else values
            if call in done or not set(reader.read(call)) <= set(inside):
                continue
            done.add(call)
            self._add(call, inside, traced, set())
            for read in reader.read(call):
                unread[read] -= 1
            for made in call.outputs:
                values[made] = inside[made]
                behind = reader.consumers.get(made, [])
                unread[made] = len(behind) + (made in traced.outputs)
                for following in behind:
                    heapq.heappush(pending, (following.outputs[0], following))
            left = [read for read, count in unread.items() if count]
            if len(left) == 1 and left[0] in values:
                yield values[left[0]]


class _Reader:
    """A graph without its gates and constants."""

    def __init__(self, traced: graph.Graph) -> None:
        gates = graph.find_gates(traced)
        self.calls = [c for c in traced.calls if c not in gates | traced.constants]
        known = {value for call in self.calls for value in call.outputs}
        self._read = {c: [v for v in c.inputs if v in known] for c in self.calls}
        self.consumers: dict[int, list[graph.Call]] = {}
        for call in self.calls:
            for value in self._read[call]:
                self.consumers.setdefault(value, []).append(call)

    def read(self, call: graph.Call) -> list[int]:
        """The values that a call reads, gates and constants aside."""
        return self._read[call]


def _is_map(call: graph.Call) -> bool:
    """Whether a call is that of an activation, or of a weight layer that holds one."""
    facts = output_facts(call.operation)
    held = getattr(call.operation, "activation", None)
    if facts.compares_channels or held is keras.activations.linear:
        return False
    holds = held is not None and bool(facts_of(call.operation).kernels)
    return facts.activates and (graph.is_activation(call) or holds)


def _links(traced: graph.Graph) -> set[graph.Call]:
    """Link functions behind the head: other ones than those of hidden layers."""
    found: set[graph.Call] = set()
    hidden: set[graph.Call] = set()
    weights: set[int] = set()  # values that a weight layer reads further on
    for call in reversed(traced.calls):
        is_behind = not weights & set(call.outputs)
        if _is_map(call):
            last = is_behind and output_facts(call.operation).follows_head
            (found if last else hidden).add(call)
        if call.has_weights or not is_behind:
            weights |= set(call.inputs)
    functions = {_function(call) for call in hidden}
    return {call for call in found if _function(call) not in functions}


def _function(call: graph.Call) -> Any:
    held = getattr(call.operation, "activation", None)
    return type(call.operation).__name__ if held is None else held


def _concatenates(operation: Any) -> bool:
    is_layer = isinstance(operation, keras.layers.Concatenate)
    return is_layer or type(operation).__name__ == "Concatenate"

"""What a conversion will do, decided before anything is made."""

import collections
import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

from fixinit import theory
from fixinit.conversion import given, kinds
from fixinit.conversion.edits import Edits
from fixinit.conversion.graph_plan import GraphPlan
from fixinit.conversion.own_scales import own_scales
from fixinit.conversion.plain import plain_normalization
from fixinit.conversion.sites import Counter, count
from fixinit.conversion.subnetworks import subnetworks
from fixinit.conversion.survey import Survey
from fixinit.graph.copies import is_described
from fixinit.schemes import Scheme, Site, Start
from fixinit.schemes.apply import Applicator


class Plan:
    """What a conversion will do to a whole network.

    Args:
        graph: `fixinit.graph.Graph`.
        scheme: `fixinit.schemes.Scheme`, which is prepared for the network.
        keep: Function from a layer to whether it stays though it normalizes.
        seed: int or `None`.
        input_shape: That of data for a model which leaves sizes open: a list of
            shapes without the batch; or `None`.
        folds: bool. Whether statistics are folded, and the scheme is not asked.

    Attributes:
        applicator: `fixinit.schemes.apply.Applicator` of the scheme.
        root: `GraphPlan` of the model, stacks taken as one layer.
        num_branches, num_blocks: ints, L and N.
        times_called: Dict from ids of layers to the number of their calls. Models are
            taken apart, and each call of a model counts.
        left: List of the calls of weight layers that stay as they are.
        plain_activations: List of the calls of activations that stay though the scheme
            has a layer for them, as no Keras activation computes the same.
        left_out: List of the calls of weight layers without a layer that the scheme
            has for the place in front of them, as it changes the number of channels.
        redrawn: List of layers that are drawn anew by initializers of the model:
            gates, those of `kept_zeros`, all where the scheme draws none, and
            normalization that the scheme replaces.
        kept_zeros: List of the calls of weight layers whose kernels are zero on
            purpose.
        drawn_heads: List of the calls of heads that are drawn though the scheme or the
            model starts them at zero, as they read zeros: see `heads`.
        sized: List of the calls of layers that the converter does not know, behind
            which it puts a factor.
        taking_away: List of the branches without weights that take away what the
            shortcut carries, which start small.
        measured: Dict from their ids to the mean squares that they give.
        closed: Dict from branches to whether their last kernels can make them zero.
        surveys: List of the `Survey`s of the model and of the first blocks of stacks.
        replaces: bool. Whether the scheme puts something in the place of a
            normalization: its places are the model's own then.
    """

    def __init__(
        self,
        graph: Any,
        scheme: Scheme,
        keep: Callable[[Any], bool],
        seed: int | None = None,
        input_shape: Any = None,
        folds: bool = False,
    ) -> None:
        self.num_branches = count(graph, "branches")
        self.num_blocks = count(graph, "blocks")
        scheme = scheme.prepared(subnetworks(graph, scheme, self.num_branches))
        self.graph, self.scheme, self.keep = graph, scheme, keep
        self.input_shape = input_shape
        self.applicator = Applicator(scheme, seed)
        self._own_scales = own_scales(graph)
        self.times_called = collections.Counter(
            id(call.operation) for call, _ in graph.walk()
        )
        self.names = {
            call.operation.name
            for call, _ in graph.walk()
            if not self.removed(call.operation)
        }
        self.left: list[Any] = []
        self.redrawn: list[Any] = []
        self.kept_zeros: list[Any] = []
        self.drawn_heads: list[Any] = []
        self.sized: list[Any] = []
        self.taking_away: list[Any] = []
        self.measured: dict[int, float] = {}
        self.plain_activations: list[Any] = []
        self.left_out: list[Any] = []
        self.closed: dict[Any, bool] = {}
        self.surveys: list[Survey] = []
        self._described: dict[int, bool] = {}
        # Who folds statistics asks for nothing in the place of them.
        self.replaces = not folds and any(
            self._replaced(call) for call, _ in graph.walk()
        )
        with self.applicator.building():
            self.root = GraphPlan(self, graph, Counter())
        self.root.placing.rename(self.names)

    @contextlib.contextmanager
    def trying(self) -> Iterator[None]:
        """A context after which the plan is what it was before."""
        before = {
            name: copy.copy(value)
            for name, value in vars(self).items()
            if isinstance(value, (dict, list))
        }
        try:
            yield
        finally:
            vars(self).update(before)

    @property
    def edits(self) -> Edits:
        """The edits that carry the plan out."""
        return self.root.placing.edits

    @property
    def survey(self) -> Survey:
        """The survey of the model."""
        return self.root.survey

    @property
    def kernels(self) -> list[Any]:
        """The weight layers outside of stacks that have been given initializers."""
        return self.root.kernels

    def removed(self, operation: Any) -> bool:
        """Whether a layer is taken out."""
        if self.keep(operation):
            return False
        scales = kinds.is_branch_scale(operation) or self.is_own_scale(operation)
        # A scheme that leaves kernels to the model leaves it the start of branches.
        scales = scales and self.draws
        return kinds.is_normalization(operation) or scales

    def is_own_scale(self, operation: Any) -> bool:
        """Whether an undeclared layer scales a branch, to start it near zero."""
        return id(operation) in self._own_scales

    def normalizes(self, call: Any) -> bool:
        """Whether a call is that of a normalization which is taken out."""
        is_normalization = kinds.is_normalization(call.operation)
        return is_normalization and not self.keep(call.operation)

    def _replaced(self, call: Any) -> bool:
        site = Site(0, self.num_branches)
        return self.normalizes(call) and bool(
            self.scheme.normalization(site, plain_normalization(call.operation))
        )

    def knows(self, call: Any) -> bool:
        """Whether the converter draws the kernels of a weight layer."""
        known = kinds.kernel_arguments(call.operation)
        # The table of a frozen embedding is what it was frozen for.
        kept = kinds.is_frozen_embedding(call.operation) or self.keep(call.operation)
        return bool(known) and not kept and self._describes(call.operation)

    def _describes(self, layer: Any) -> bool:
        """Whether a layer's config is enough to make it again, kernels aside."""
        if id(layer) not in self._described:
            inner = kinds.unwrapped(layer)
            arguments = kinds.kernel_arguments(inner)
            self._described[id(layer)] = is_described(inner, arguments)
        return self._described[id(layer)]

    def may_be_zero(self, call: Any) -> bool:
        """Whether a weight layer can start at zero, here and wherever it is called."""
        operation = call.operation
        once = self.times_called[id(operation)] == 1 and not kinds.is_fused(call)
        free = self.knows(call) and not kinds.constraints(operation)
        # A bias vector that stays would be what the branch gives.
        return once and free and operation.trainable and not given.keeps_bias(operation)

    def start(self, branch: Any) -> Start:
        """How the scheme starts a branch, were it not for what the branch holds."""
        return self.scheme.start(branch.site(self.num_branches))

    def zeroes(self, branch: Any) -> bool:
        """Whether the scheme starts a branch's last kernels at zero."""
        start = self.start(branch)
        return start.by == "kernel" and start.is_zero

    @functools.cached_property
    def draws(self) -> bool:
        """Whether the scheme draws kernels, rather than leave them to the model."""
        return self.scheme.draw(Site(0, self.num_branches)) is not None

    @property
    def zeroes_heads(self) -> bool:
        """Whether the scheme draws zeros for heads."""
        site = Site(0, self.num_branches, role="head")
        initializer = self.scheme.kernel_initializer(site)
        if initializer is None:
            return False
        return theory.weight_moments(initializer, (1, 1)) == (0.0, 0.0)

    def starts_by_kernels(self, branch: Any) -> bool:
        """Whether a branch that holds others starts small by its own kernels.

        Where the scheme would have zeros in them, and it has some that are drawn.
        """
        drawn = branch.weights and all(map(self.knows, branch.weights))
        has_own_start = branch.holds_branches or branch.is_shut
        if not (drawn and has_own_start and self.zeroes(branch)):
            return False
        if branch.last & branch.feeds:
            return False  # a small start of theirs would make the inner stream small
        return not any(kinds.constraints(call.operation) for call in branch.last)

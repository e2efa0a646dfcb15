"""How the activations of a planned network follow one another."""

import dataclasses
import functools
from collections.abc import Callable

from fixinit.models._plan import BlockPlan
from fixinit.schemes import Scheme, Site

_Map = Callable[[float], float]


@dataclasses.dataclass(frozen=True)
class Subnetworks:
    """The largest value over the subnetworks of a planned network.

    A callable `(x, local_map)`: `fixinit.schemes.Scheme.prepared` is given it.

    Example:

    >>> from fixinit.models._subnetworks import Subnetworks
    >>> from fixinit.models._plan import BlockPlan
    >>> plan = BlockPlan("block", (8, 8), (1, 1), (1, 1))
    >>> scheme = fixinit.schemes.NormalizedSum()
    >>> network = Subnetworks(scheme, [plan] * 3, 8, True, "B", False)
    >>> network(0.0, lambda x: x + 1)  # each block the mean of 0 and 2, then the head
    4.0

    Attributes:
        scheme: `fixinit.schemes.Scheme`, whose `start` says how blocks add.
        plans: List of `BlockPlan`s.
        channels: int, those that the stem puts out.
        preactivation, shortcut, plain: See `Blocks`.
        stem_activations: int, those in a row in front of the first block; by default
            one in post-activation order.
    """

    scheme: Scheme
    plans: list[BlockPlan]
    channels: int
    preactivation: bool
    shortcut: str
    plain: bool
    stem_activations: int | None = None

    def __call__(self, x: float, local_map: _Map) -> float:
        lengths = {length for _, length, _ in self._blocks}
        alone = [_repeated(local_map, length, x) for length in lengths]
        in_stem = self.stem_activations
        if in_stem is None:
            in_stem = 0 if self.preactivation else 1
        value = _repeated(local_map, in_stem, x)
        for shared, length, (shortcut, branch) in self._blocks:
            value = local_map(value) if shared else value
            value = shortcut * value + branch * _repeated(local_map, length, value)
            if not self.preactivation:
                value = local_map(value)
        # In front of the head.
        value = local_map(value) if self.preactivation else value
        return max(x, value, *(() if self.plain else alone))

    @functools.cached_property
    def _blocks(self) -> list[tuple[bool, int, tuple[float, float]]]:
        """For every block what its branch and shortcut come down to.

        `(shared, length, weights)`: whether both read the first activation, how many
        more the branch has, and the weights of shortcut and branch, which sum to 1.
        """
        found, channels = [], self.channels
        for index, plan in enumerate(self.plans):
            projects = self._projects(plan, channels)
            channels = plan.filters[-1]
            # A projection in pre-activation order reads the first activation too.
            shared = self.preactivation and projects
            length = len(plan.filters) - (shared or not self.preactivation)
            found.append((shared, length, self._weights(index, plan)))
        return found

    def _projects(self, plan: BlockPlan, channels: int) -> bool:
        if self.plain or self.shortcut == "A":
            return False
        return self.shortcut == "C" or plan.changes_shape(channels)

    def _weights(self, index: int, plan: BlockPlan) -> tuple[float, float]:
        if self.plain:
            return 0.0, 1.0
        depth = len(plan.filters)
        site = Site(
            index,
            len(self.plans),
            depth - 1,
            depth,
            stage=plan.stage,
            stage_block=plan.stage_block,
        )
        start = self.scheme.start(site)
        squares = start.shortcut_scale**2, start.total_scale**2
        return squares[0] / sum(squares), squares[1] / sum(squares)


def _repeated(local_map: _Map, times: int, value: float) -> float:
    for _ in range(times):
        value = local_map(value)
    return value

"""Runs paths without weights on random numbers: whether they mix, and their sizes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit._typing import Tensor
from fixinit.graph.calls import Call
from fixinit.graph.paths import Path, Paths
from fixinit.graph.sizes import with_sizes
from fixinit.graph.trials import tried
from fixinit.layers import facts_of

_BATCH = 2
# What half of the elements is moved by, in standard deviations: enough to be a maximum.
_MOVE = 10.0
_TOLERANCE = 1e-3


def mix(paths: Paths, start: int, merge: Call) -> bool:
    """Whether paths without weights mix elements, beside one that is the identity.

    Pooling, shifts and Fourier transforms mix. Activations written with `keras.ops`,
    which add as well, do not: `0.5 * x * (1 + tanh(x + 0.04 * x**3))`.

    Args:
        paths: `Paths` of the graph.
        start: The value at which the paths part.
        merge: The call that adds what they give.

    Returns:
        bool. `False` where something else is read on a path, and for what does not run
        on random numbers.
    """
    to_merge = paths.from_value(start, merge)
    if start not in merge.inputs or not paths.are_closed(start, to_merge):
        return False
    spec = paths.graph.specs[start]
    return all(
        Trial(path, start, value, spec).mixes()
        for path, value in zip(to_merge, merge.inputs, strict=True)
        if value != start
    )


@dataclasses.dataclass(frozen=True)
class Trial:
    """A path that reads nothing but its start, to be run on random numbers.

    Attributes:
        path: The calls between two values.
        start, end: The values.
        spec: `keras.KerasTensor` of `start`.
    """

    path: Path
    start: int
    end: int
    spec: Any

    def mixes(self) -> bool:
        """Whether elements of the end depend on other elements of the start."""
        x = self._numbers()
        moved = np.random.default_rng(1).random(x.shape) < 0.5
        one, other = (
            self._given(y, _hides) for y in (x, np.where(moved, x + _MOVE, x))
        )
        if one is None or other is None or one.shape != x.shape:
            return False
        change = np.max(np.abs(other - one)[~moved], initial=0.0)
        return bool(change > _TOLERANCE * max(1.0, np.abs(one).max()))

    def moments(self, skips: Callable[[Any], bool]) -> tuple[float, float] | None:
        """The mean square that the path gives, and its correlation with what it reads.

        It reads signals as behind some layers: of mean square 1, one half of it common
        to all positions.

        Args:
            skips: Callable from an operation to whether it is left out.

        Returns:
            `(mean square, correlation)`; `None` for what does not run on random
            numbers, or gives zero.
        """
        x = self._numbers()
        if x.ndim > 2:
            common = x.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True)
            common /= np.sqrt(np.mean(np.square(common)))
            x = (x + common) / np.sqrt(np.mean(np.square(x + common)))
        y = self._given(x, skips)
        if y is None or y.shape != x.shape or not np.any(y):
            return None
        square = float(np.mean(np.square(y)))
        return square, float(np.mean(x * y)) / square**0.5

    def _numbers(self) -> np.ndarray:
        shape = [size or _BATCH for size in with_sizes(self.spec.shape)]
        return np.random.default_rng(0).standard_normal(shape)

    def _given(self, x: np.ndarray, skips: Callable[[Any], bool]) -> np.ndarray | None:
        """What the path gives for some numbers, `None` if it does not run on them."""
        if "float" not in str(self.spec.dtype):
            return None

        def run() -> Tensor:
            values: dict[int, Tensor] = {self.start: ops.cast(x, self.spec.dtype)}
            for call in self.path:
                read = [values[value] for value in call.inputs]
                outputs = read[:1] if skips(call.operation) else _called(call, read)
                values.update(zip(call.outputs, outputs, strict=True))
            return ops.cast(values[self.end], "float32")

        given = tried(run)
        return None if given is None else given[0]


def _hides(operation: Any) -> bool:
    """Whether a layer normalizes, or scales a branch, possibly by zero."""
    facts = facts_of(operation)
    return facts.normalizes or (facts.scales_branch and not facts.adds)


def _called(call: Call, read: list[Tensor]) -> list[Tensor]:
    args, kwargs = call.fill(read)
    if isinstance(call.operation, keras.layers.Layer):
        kwargs = {**kwargs, "training": False}
    return tree.flatten(call.operation(*args, **kwargs))

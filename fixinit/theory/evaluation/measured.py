"""Moments of what a call without a rule gives, measured on random inputs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from fixinit import backend
from fixinit._typing import Tensor
from fixinit.graph.watching import told
from fixinit.theory.calculus import positions
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.evaluation.random_outputs import RandomCalls, outputs
from fixinit.theory.evaluation.samples import moments_of
from fixinit.theory.registry import Setting


def measure(
    calls: RandomCalls, read: Sequence[Moments], setting: Setting, draws: bool
) -> list[Moments]:
    """The moments of the outputs of a call, and what takes gradients back.

    Gradients go back as the measured Jacobian takes independent ones.

    Args:
        calls: `RandomCalls`.
        read: List of `Moments` of what the call reads.
        setting: `fixinit.theory.Setting`.
        draws: bool. Whether the layer draws weights of its own, so that its outputs
            do not depend on what its inputs were drawn from.

    Returns:
        List of `Moments`, one per output.

    Raises:
        NoRuleError: If the call fails, or gives what is not finite.
    """
    before = frozenset().union(*(x.sources for x in read))
    try:
        arrays = outputs(calls)
    except NoRuleError as error:
        raise NoRuleError(
            f"`{setting.name}` has no variance rule, and cannot be measured: {error}"
        ) from error
    except Exception as error:  # whatever somebody else's layer raises
        raise NoRuleError(
            f"`{setting.name}` has no variance rule, and cannot be measured: on random "
            f"inputs it raises {type(error).__name__}: {told(error)}"
        ) from error
    if not all(np.all(np.isfinite(array)) for array in arrays):
        raise NoRuleError(
            f"`{setting.name}` has no variance rule, and cannot be measured: on random "
            "inputs it gives numbers that are not finite."
        )
    found = []
    for index, array in enumerate(arrays):
        sources = frozenset([object()]) if draws else before
        y = moments_of(array if array.ndim > 2 else array[..., None], sources)
        ratios = _ratios(calls, read, index)
        linked = [(x, r) for x, r in zip(read, ratios, strict=True) if r is not None]
        if linked:
            y.node.link([x for x, _ in linked], _pull(y, [r for _, r in linked]))
        found.append(y)
    return found


def _pull(
    y: Moments, ratios: Sequence[np.ndarray]
) -> Callable[[np.ndarray], list[np.ndarray]]:
    shares, average = y.shares, y.average

    def pull(g: np.ndarray) -> list[np.ndarray]:
        size = float(shares @ average(g))
        return [size * ratio for ratio in ratios]

    return pull


def _ratios(
    calls: RandomCalls, read: Sequence[Moments], index: int
) -> list[np.ndarray | None]:
    """The mean square of the gradient at every input, for one of 1 at an output.

    `None` for inputs that have no gradient, such as integers.
    """
    rng = np.random.default_rng(1)
    sums: list[Any] = [None] * len(read)
    count = 0
    for function, tensors in calls:
        places = [i for i, t in enumerate(tensors) if "float" in _dtype(t)]
        if not places:
            return sums
        try:
            gradients = _gradients(function, tensors, places, index, rng)
        except Exception:  # without derivatives, no gradient passes
            return [None if i not in places else _zeros(x) for i, x in enumerate(read)]
        count += 1
        for place, g in zip(places, gradients, strict=True):
            x = read[place]
            flat = g.reshape(-1, *x.shape, x.total_channels)
            square = np.mean(flat**2, axis=(0, -1)).ravel()
            own = positions.average(square, x.shape) + _zeros(x)
            sums[place] = own if sums[place] is None else sums[place] + own
    return [None if s is None else s / count for s in sums]


def _gradients(
    function: Callable[..., list[Tensor]],
    tensors: list[Tensor],
    places: list[int],
    index: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    direction: list[Any] = []

    def total(floats: Sequence[Tensor]) -> Tensor:
        filled = list(tensors)
        for place, tensor in zip(places, floats, strict=True):
            filled[place] = tensor
        y = ops.cast(function(filled)[index], "float32")
        if not direction:
            direction.append(rng.standard_normal(tuple(y.shape)).astype("float32"))
        zero = sum(0 * ops.sum(ops.cast(t, "float32")) for t in floats)
        return ops.sum(y * ops.convert_to_tensor(direction[0])) + zero

    differentiate = backend.value_and_gradients(total, compiles=False)
    _, found = differentiate([tensors[place] for place in places])
    return [np.asarray(ops.convert_to_numpy(g), "float64") for g in found]


def _zeros(x: Moments) -> np.ndarray:
    return np.zeros_like(np.asarray(x.mean, "float64"))


def _dtype(tensor: Tensor) -> str:
    return str(getattr(tensor, "dtype", ""))

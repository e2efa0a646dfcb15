"""Lesions: trained networks with blocks dropped or permuted."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import backend, graph
from fixinit._checked import checked
from fixinit._typing import ArrayLike, Identifier, Tensor
from fixinit._validation import MOST_SAMPLES, check_positive_int, check_seed
from fixinit.diagnostics._shared.stateless import stateless
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics.paths.chain import Chain, model_chain
from fixinit.diagnostics.paths.exchange import Exchange

# A callable `(y_true, y_pred)`; Keras metrics are such callables, too.
Measure = Callable[[Any, Any], Tensor]


@dataclasses.dataclass(frozen=True)
class LesionEffects:
    """Measures of a model under lesions, and of the model as it is.

    Attributes:
        drop: Array of shape `(lesions, drop)`: the blocks that were left out.
        order: Array of shape `(lesions, blocks)`: the block at every place.
        intact: Dict from names of measures to floats: those of the model as it is.
        measured: Dict from names of measures to arrays of shape `(lesions,)`.

    Example: see `lesion`.

    >>> effects = fixinit.diagnostics.LesionEffects(
    ...     drop=np.array([[0]]),
    ...     order=np.array([[0, 1]]),
    ...     intact={"loss": 2.0},
    ...     measured={"loss": np.array([3.0])},
    ... )
    >>> float(effects.measured["loss"][0] - effects.intact["loss"])
    1.0
    """

    drop: np.ndarray
    order: np.ndarray
    intact: dict[str, float]
    measured: dict[str, np.ndarray]


class Lesion:
    """Drops and permutes the residual blocks of a trained model.

    A dropped block passes its shortcut on and nothing else; a shortcut with weights or
    with a change of shape stays as it is (Veit et al.). Permuted blocks get each
    other's weights and statistics, and must therefore have the same shapes; fixed
    factors of a merge, such as 1/sqrt(L), stay in their place.

    Layers run in inference mode. The model itself stays as it is. Made and compiled
    once per model, it can be called again as weights change.

    Example:

    >>> model = fixinit.models.ResidualMLP(4, 16, scheme="scaled_residual", seed=0)
    >>> injure = fixinit.diagnostics.Lesion(model)
    >>> x = np.ones((8, 40), "float32")
    >>> injure(x, drop=[0, 2]).shape, injure(x, order=[0, 1, 3, 2]).shape
    ((8, 10), (8, 10))

    Args:
        model: As `PathGradients` takes it.
        batch_size: int. Samples that are run at once.
        data: As `PathGradients` takes it.

    Attributes:
        names: List of strings, the names of the blocks.
        groups: List of lists of ints: the blocks that may change places with each
            other.

    Raises:
        TypeError: If the model has no graph.
        ValueError: If it has no residual block, or if blocks stand side by side.

    Reference:

    - [Veit et al., 2016](https://arxiv.org/abs/1605.06431), section 4
    """

    @checked
    def __init__(
        self, model: keras.Model, batch_size: int = 256, data: Any = None
    ) -> None:
        self._model, self.subject = model, Subject(model, data)
        self._chain = model_chain(self.subject)
        self._batch_size = check_positive_int("batch_size", batch_size)
        self._exchange = Exchange(model, self.subject.graph, self._chain)
        self._compiled = backend.compiled(self._run)
        self.names, self.groups = self._chain.names, self._exchange.groups

    @checked
    def __call__(
        self, x: Any, drop: ArrayLike = (), order: ArrayLike | None = None
    ) -> Any:
        """Returns the outputs of the model with a lesion.

        Args:
            x: Batch of inputs: an array, or a list or dict of arrays.
            drop: Indices of the blocks that are left out.
            order: The index of a block for every place: the block whose weights are
                used there. By default all are in their own.

        Returns:
            NumPy array, or arrays in the structure of the model's outputs.

        Raises:
            ValueError: If there is no such block, or if blocks of different shapes
                would change places.
        """
        x, _ = check_batch(self.subject, x, None)
        keep = np.ones(len(self.names), "float32")
        keep[_check_blocks("drop", drop, self.names)] = 0
        controls = self._chain.controls(keep)
        controls = tree.map_structure(ops.convert_to_tensor, controls)
        values = self._exchange.values(self._check_order(order).tolist())
        batches = []
        for start in range(0, len(x[0]), self._batch_size):
            rows = [array[start : start + self._batch_size] for array in x]
            found = self._compiled(values, list(map(_tensor, rows)), controls)
            batches.append([ops.convert_to_numpy(h) for h in found])
        outputs = [np.concatenate(h) for h in zip(*batches, strict=True)]
        return self.subject.structured(outputs)

    def _check_order(self, order: ArrayLike | None) -> np.ndarray:
        places = np.arange(len(self.names))
        if order is None:
            return places
        given, order = order, _indices(order)
        if order is None or not np.array_equal(np.sort(order), places):
            raise ValueError(
                f"Argument `order` must hold every index from 0 to {len(places) - 1} "
                f"once. Received: order={given!r}"
            )
        for group in self.groups:
            if not np.isin(order[group], group).all():
                place = next(p for p in group if order[p] not in group)
                raise ValueError(
                    f"Blocks `{self.names[place]}` and `{self.names[order[place]]}` "
                    "have weights of different shapes and cannot change places. "
                    "Permute blocks within one of `groups`."
                )
        return order

    def _run(
        self,
        values: Sequence[Tensor],
        x: Sequence[Tensor],
        controls: dict[str, Tensor],
    ) -> list[Tensor]:
        with stateless(self._model.variables, values):
            hook = _Keep(self._chain)
            outputs, _ = graph.run(self.subject.graph, x, hook, controls)
        return outputs


@checked
def lesion(
    model: keras.Model,
    x: Any,
    y: Any,
    measures: Mapping[str, Identifier],
    drop: int = 1,
    swap: int = 0,
    num_samples: int = 16,
    seed: int = 0,
) -> LesionEffects:
    """Measures a trained model with blocks dropped or exchanged.

    Example:

    >>> model = fixinit.models.ResidualMLP(4, 16, scheme="scaled_residual", seed=0)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> found = fixinit.diagnostics.lesion(
    ...     model, np.ones((8, 40), "float32"), np.zeros(8, "int32"), {"loss": loss}
    ... )
    >>> found.drop.tolist(), found.measured["loss"].shape
    ([[0], [1], [2], [3]], (4,))

    Args:
        model: As `Lesion` takes it.
        x: Batch of inputs: an array, or a list or dict of arrays.
        y: Their targets.
        measures: Dict from names to callables `(y_true, y_pred)` whose mean is taken,
            such as a Keras loss, to Keras metrics, or to the name of either, such as
            `"sparse_categorical_accuracy"`. A metric stays as it is.
        drop: int. Number of blocks that are dropped together. With 1, every block is
            dropped once; with more, `num_samples` random sets of blocks are.
        swap: int. Number of times that two random blocks with the same shapes change
            places, one time after the other. With `drop=0` for these alone.
        num_samples: int. Number of random lesions.
        seed: int. Draws them.

    Returns:
        `LesionEffects`.

    Raises:
        TypeError, ValueError: If an argument is outside its range, if a metric cannot
            be copied from its `get_config()`, and as `Lesion` does.
    """
    check_seed("seed", seed)
    injure = Lesion(model, data=x)
    if y is not None:
        check_batch(injure.subject, x, y, loss="given by measures")
    checked = {name: _measure(name, given) for name, given in measures.items()}
    rng = np.random.default_rng(seed)
    dropped, orders = _drawn(injure, drop, swap, num_samples, rng)

    def measured(drop: ArrayLike = (), order: ArrayLike | None = None) -> dict:
        outputs = injure(x, drop, order)
        return {name: _mean(measure, y, outputs) for name, measure in checked.items()}

    found = [measured(*pair) for pair in zip(dropped, orders, strict=True)]
    return LesionEffects(
        drop=dropped,
        order=orders,
        intact=measured(),
        measured={name: np.array([row[name] for row in found]) for name in checked},
    )


def _drawn(
    injure: Lesion, drop: int, swap: int, num_samples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws lesions: the blocks to drop, and the orders of the blocks."""
    count = len(injure.names)
    drop = check_positive_int("drop", drop, minimum=0)
    swap = check_positive_int("swap", swap, minimum=0, maximum=MOST_SAMPLES)
    if drop > count:
        raise ValueError(
            f"Argument `drop` must be at most {count}, the number of blocks. "
            f"Received: drop={drop}"
        )
    if drop == 1 and not swap:
        dropped = np.arange(count)[:, None]
    else:
        check_positive_int("num_samples", num_samples, maximum=MOST_SAMPLES)
        dropped = rng.random((num_samples, count)).argsort(axis=1)[:, :drop]
    orders = [_swapped(injure.groups, count, swap, rng) for _ in dropped]
    return dropped, np.array(orders)


def _swapped(
    groups: list[list[int]], count: int, swap: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns the order of the blocks after some random swaps."""
    order = np.arange(count)
    # As likely as if all pairs of blocks that fit were written down.
    pairs = np.array([len(group) * (len(group) - 1) / 2 for group in groups])
    if swap and not pairs.sum():
        raise ValueError(
            "Argument `swap` needs two residual blocks whose weights have the same "
            f"shapes. Received: swap={swap} for a model that has none."
        )
    for _ in range(swap):
        group = groups[rng.choice(len(groups), p=pairs / pairs.sum())]
        one, other = rng.choice(group, size=2, replace=False)
        order[[one, other]] = order[[other, one]]
    return order


def _measure(name: str, given: Identifier) -> Measure:
    """Makes a callable of one of `measures`."""
    if given in ("accuracy", "acc", "crossentropy", "ce"):
        raise ValueError(
            "Argument `measures` must say which kind is meant, such as "
            f"'sparse_categorical_accuracy' for classes. Received: {name}={given!r}"
        )
    measure = keras.metrics.get(given)
    if not isinstance(measure, keras.metrics.Metric):
        return measure
    try:
        return type(measure).from_config(measure.get_config())
    except Exception as error:
        raise TypeError(
            "Argument `measures` must hold metrics that can be copied from their "
            f"`get_config()`. Received: {name}={given!r}, which gives "
            f"{type(error).__name__}: {error} Pass the function that it wraps."
        ) from error


def _mean(measure: Measure, y: Any, outputs: Any) -> float:
    if isinstance(measure, keras.metrics.Metric):
        # It would average over all lesions so far.
        measure.reset_state()
    y, outputs = (tree.map_structure(_tensor, h) for h in (y, outputs))
    return float(np.mean(ops.convert_to_numpy(measure(y, outputs))))


def _tensor(array: ArrayLike) -> Tensor:
    return ops.convert_to_tensor(array)


def _check_blocks(argument: str, given: ArrayLike, names: list[str]) -> np.ndarray:
    blocks = _indices(given)
    if blocks is None or not np.all((0 <= blocks) & (blocks < len(names))):
        raise ValueError(
            f"Argument `{argument}` must hold indices of blocks, from 0 to "
            f"{len(names) - 1}. Received: {argument}={given!r}"
        )
    return blocks


def _indices(given: ArrayLike) -> np.ndarray | None:
    """An array of integers along one axis, `None` if it is none."""
    try:
        array = np.asarray(given)
    except ValueError:
        return None  # ragged
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        return None
    return array.astype("int64")


class _Keep(graph.Hook):
    """Keeps branches where the control is 1, and drops them where it is 0."""

    def __init__(self, chain: Chain) -> None:
        self.shortcuts = {n: block.shortcut for n, (block, _) in chain.merges.items()}

    def enter(
        self, call: graph.Call, inputs: Sequence[Tensor], control: Tensor | None
    ) -> Sequence[Tensor]:
        if control is None:
            return inputs
        shortcut = self.shortcuts[call.name]
        return [
            # Not a product: what is dropped may be infinite.
            h if i == shortcut else ops.where(control > 0, h, ops.zeros_like(h))
            for i, h in enumerate(inputs)
        ]

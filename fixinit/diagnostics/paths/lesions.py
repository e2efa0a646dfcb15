"""What a trained network is worth without some blocks, or with them in disorder."""

import keras
import numpy as np
from keras import ops, tree

from fixinit import backend, graph
from fixinit._validation import check_positive_int
from fixinit.diagnostics._shared.stateless import stateless, structured
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics.paths.chain import model_chain
from fixinit.diagnostics.paths.exchange import Exchange


class Lesion:
    """Drops and permutes the residual blocks of a trained model.

    A block that is dropped passes its shortcut on and nothing else; where the shortcut
    has weights or changes the shape, it stays as it is (Veit et al.). Blocks that are
    permuted get each other's weights and statistics, for which they must have the same
    shapes; fixed factors of a merge, such as 1/sqrt(L), stay in their place.

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

    def __init__(self, model, batch_size=256):
        self._model = model
        self._graph, self._chain = model_chain(model)
        self._batch_size = check_positive_int("batch_size", batch_size)
        self._exchange = Exchange(model, self._graph, self._chain)
        self._compiled = backend.compiled(self._run)
        self.names, self.groups = self._chain.names, self._exchange.groups

    def __call__(self, x, drop=(), order=None):
        """The outputs of the injured model.

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
        x, _ = check_batch(self._model, x, None)
        keep = np.ones(len(self.names), "float32")
        keep[_check_blocks("drop", drop, self.names)] = 0
        controls = self._chain.controls(keep)
        controls = tree.map_structure(ops.convert_to_tensor, controls)
        values = self._exchange.values(self._check_order(order))
        outputs = []
        for start in range(0, len(x[0]), self._batch_size):
            rows = [array[start : start + self._batch_size] for array in x]
            found = self._compiled(values, list(map(_tensor, rows)), controls)
            outputs.append([ops.convert_to_numpy(h) for h in found])
        outputs = [np.concatenate(h) for h in zip(*outputs, strict=True)]
        return structured(self._model, outputs)

    def _check_order(self, order):
        places = np.arange(len(self.names))
        if order is None:
            return places
        order = np.asarray(order)
        if not np.array_equal(np.sort(order), places):
            raise ValueError(
                f"Argument `order` must hold every index from 0 to {len(places) - 1} "
                f"once. Received: order={order.tolist()}"
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

    def _run(self, values, x, controls):
        with stateless(self._model.variables, values):
            outputs, _ = graph.run(self._graph, x, _Keep(self._chain), controls)
        return outputs


def lesion(model, x, y, measures, drop=1, swap=0, num_samples=16, seed=0):
    """What dropping, or exchanging, trained blocks does to a model.

    Example:

    >>> model = fixinit.models.ResidualMLP(4, 16, scheme="scaled_residual", seed=0)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> found = fixinit.diagnostics.lesion(
    ...     model, np.ones((8, 40), "float32"), np.zeros(8, "int32"), {"loss": loss}
    ... )
    >>> found["drop"].tolist(), found["loss"].shape
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
        Dict: `"intact"`, a dict of what `measures` say of the model as it is; the
        arrays `"drop"`, of shape `(lesions, drop)`, and `"order"`, of shape
        `(lesions, blocks)`, as `Lesion` takes them; and for each of `measures` an
        array of shape `(lesions,)`.

    Raises:
        TypeError, ValueError: If an argument is outside its range, if a metric cannot
            be copied from its `get_config()`, and as `Lesion` does.
    """
    injure = Lesion(model)
    measures = {name: _measure(name, given) for name, given in measures.items()}
    count, rng = len(injure.names), np.random.default_rng(seed)
    drop, swap = (
        check_positive_int(name, value, minimum=0)
        for name, value in (("drop", drop), ("swap", swap))
    )
    if drop > count:
        raise ValueError(
            f"Argument `drop` must be at most {count}, the number of blocks. "
            f"Received: drop={drop}"
        )
    if drop == 1 and not swap:
        dropped = np.arange(count)[:, None]
    else:
        size = (check_positive_int("num_samples", num_samples), count)
        dropped = rng.random(size).argsort(axis=1)[:, :drop]
    orders = np.array([_swapped(injure.groups, count, swap, rng) for _ in dropped])

    def measured(drop=(), order=None):
        outputs = injure(x, drop, order)
        return {name: _mean(measure, y, outputs) for name, measure in measures.items()}

    found = [measured(*pair) for pair in zip(dropped, orders, strict=True)]
    return {
        "intact": measured(),
        "drop": dropped,
        "order": orders,
        **{name: np.array([row[name] for row in found]) for name in measures},
    }


def _swapped(groups, count, swap, rng):
    """The order of the blocks after some random swaps."""
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


def _measure(name, given):
    """One of `measures` as a callable."""
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


def _mean(measure, y, outputs):
    if isinstance(measure, keras.metrics.Metric):
        # It would average over all lesions so far.
        measure.reset_state()
    y, outputs = (tree.map_structure(_tensor, h) for h in (y, outputs))
    return float(np.mean(ops.convert_to_numpy(measure(y, outputs))))


def _tensor(array):
    return ops.convert_to_tensor(array)


def _check_blocks(argument, blocks, names):
    blocks = np.asarray(blocks, dtype="int64") if len(blocks) else np.array([], int)
    if blocks.size and not (0 <= blocks.min() and blocks.max() < len(names)):
        raise ValueError(
            f"Argument `{argument}` must hold indices of blocks, from 0 to "
            f"{len(names) - 1}. Received: {argument}={blocks.tolist()}"
        )
    return blocks


class _Keep(graph.Hook):
    """Keeps branches where the control is 1, and drops them where it is 0."""

    def __init__(self, chain):
        self.shortcuts = {n: block.shortcut for n, (block, _) in chain.merges.items()}

    def enter(self, call, inputs, control):
        if control is None:
            return inputs
        shortcut = self.shortcuts[call.name]
        return [
            # Not a product: what is dropped may be infinite.
            h if i == shortcut else ops.where(control > 0, h, ops.zeros_like(h))
            for i, h in enumerate(inputs)
        ]

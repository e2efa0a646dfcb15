"""Opens layers that hold other layers: their `call` becomes part of the graph."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import _keras
from fixinit._functional import deep_graphs
from fixinit.graph.functional import functional_of
from fixinit.layers import Parameter
from fixinit.layers.facts import Facts, facts_of, inherited_facts

# What open axes are tried with: sequences of this length, images of seven times that,
# which patches of 14 and 16 pixels divide.
_SIZES = (32, 8)
_BATCH = 2
# Of the largest output: the same operations in the same order.
_TOLERANCE = 1e-4


class CannotOpenError(ValueError):
    """A layer whose `call` gives no graph, or a graph that computes something else."""


@contextlib.contextmanager
def opened(
    model: keras.Model,
    stays: Callable[[Any], bool] = lambda layer: False,
    data: Any = None,
) -> Iterator[keras.Model]:
    """A context in which a model's layers are taken apart down to those of Keras.

    A layer of a class of one's own that holds normalization, weight layers or other
    such layers is replaced by what its `call` does with symbolic tensors. The layers
    inside are the same objects with the same weights. Inside of the context they have
    names that are unique in the model: that of the layer around them, then their own.
    The model itself stays as it is. The opened model is checked against it on a batch.

    Some layers ask for sizes that a model leaves open. Then the opened model has the
    sizes of `data`, or sizes that are tried out. It takes batches of any size unless a
    layer computes with that too.

    Example:

    >>> class Block(keras.layers.Layer):
    ...     def __init__(self):
    ...         super().__init__(name="block")
    ...         self.norm = keras.layers.LayerNormalization(name="norm")
    ...         self.dense = keras.layers.Dense(8, name="dense")
    ...     def call(self, x):
    ...         return x + self.dense(self.norm(x))
    >>> inputs = keras.Input((8,))
    >>> with fixinit.graph.opened(keras.Model(inputs, Block()(inputs))) as functional:
    ...     [layer.name for layer in functional.layers][1:3]
    ['block_norm', 'block_dense']

    Args:
        model: Functional or Sequential `keras.Model`.
        stays: Function from a layer to whether it stays closed.
        data: Inputs of the model, in its structure: a batch to check it on. Random
            numbers by default.

    Yields:
        A functional `keras.Model`; the given one if it holds no such layer.

    Raises:
        CannotOpenError: If the `call` of a layer fails on symbolic tensors, or if the
            opened model computes something else.
    """
    functional = functional_of(model)
    if functional is None or not any(True for _ in _closed(functional, stays)):
        yield model
        return
    with contextlib.ExitStack() as restore:
        yield _open(model, stays, data, restore)


def _open(
    model: keras.Model,
    stays: Callable[[Any], bool],
    data: Any,
    restore: contextlib.ExitStack,
) -> keras.Model:
    """The opened model, by the first choice of open sizes with which it opens."""
    failure: CannotOpenError | None = None
    for shapes in _shapes_to_try(functional_of(model), data):
        with contextlib.ExitStack() as attempt:
            opener = _Opener(stays, attempt)
            try:
                new = opener.model(model, shapes)
                while any(True for _ in _closed(functional_of(new), stays)):
                    opener.made.clear()
                    new = opener.model(new)
                check_equal(model, new, data)
            except CannotOpenError as error:
                failure = failure or error
                continue
            restore.push(attempt.pop_all())
            return new
    assert failure is not None
    raise failure


def _shapes_to_try(functional: Any, data: Any) -> Iterator[list[Any]]:
    """Shapes of the inputs: as they are, then with sizes, then with a batch."""
    shapes = [tuple(tensor.shape) for tensor in functional.inputs]
    yield shapes
    if data is not None:
        known = [tuple(keras.ops.shape(x)) for x in tree.flatten(data)]
        choices = [[(None, *shape[1:]) for shape in known], known]
    else:
        choices = [
            [(batch, *_filled(shape[1:], size)) for shape in shapes]
            for size in _SIZES
            for batch in (None, _BATCH)
        ]
    yield from (choice for choice in choices if choice != shapes)


def _filled(sizes: Any, size: int) -> tuple[int, ...]:
    """Sizes without those that are open: one axis short, two or more larger."""
    return tuple(n or (size if sizes.count(None) == 1 else 7 * size) for n in sizes)


def check_equal(first: keras.Model, second: keras.Model, data: Any = None) -> None:
    """Compares two models on a batch, in test mode.

    Args:
        first, second: Functional `keras.Model`s of the same inputs.
        data: Inputs in the structure of the models; random numbers by default.

    Raises:
        CannotOpenError: If the models give different values.
    """
    if data is None:
        data = _random_inputs(second)
    try:
        pairs = zip(
            tree.flatten(first(data, training=False)),
            tree.flatten(second(data, training=False)),
            strict=True,
        )
        gaps = [_gap(*pair) for pair in pairs]
    except Exception as error:
        raise CannotOpenError(
            f"The opened model `{first.name}` could not be compared with the model on "
            f"a batch: {type(error).__name__}: {_first_line(error)}"
        ) from error
    if not max(gaps, default=0.0) <= _TOLERANCE:
        raise CannotOpenError(
            f"The graph of the layers inside of `{first.name}` computes something else "
            f"than the model: outputs differ by {max(gaps):.2g} of the largest. A "
            "layer may read what is no tensor, or draw random numbers."
        )


def _gap(first: Any, second: Any) -> float:
    """The largest difference of two arrays, relative to the largest number."""
    a, b = (
        np.asarray(ops.convert_to_numpy(x)).astype("float64") for x in (first, second)
    )
    return float(np.max(np.abs(a - b)) / max(np.max(np.abs(a)), 1e-12))


def _random_inputs(functional: Any) -> Any:
    """Standard normal numbers, and the integers 0 and 1, as inputs of a model."""
    rng = np.random.default_rng(0)

    def draw(tensor: Any) -> np.ndarray:
        batch, *sizes = tensor.shape
        shape = (batch or 2, *(n or 8 for n in sizes))
        if keras.backend.is_float_dtype(tensor.dtype):
            return rng.normal(size=shape).astype(tensor.dtype)
        return rng.integers(0, 2, shape).astype(tensor.dtype)

    return tree.map_structure(draw, _keras.input_structure(functional))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    # Keras says on top where an error was, and below what it was.
    told = [line.strip() for line in lines if line.strip()]
    return next((x for x in told if not x.startswith("Exception enc")), "")[:300]


def opens(layer: Any) -> bool:
    """Whether a layer is one to open: of one's own, and around layers that matter."""
    if not isinstance(layer, keras.layers.Layer) or functional_of(layer) is not None:
        return False
    if isinstance(layer, keras.layers.TimeDistributed):
        return functional_of(layer.layer) is not None and _matters(layer.layer)
    own = type(layer).__module__.partition(".")[0] not in ("keras", "fixinit")
    declared = facts_of(layer) != Facts() or inherited_facts(layer) != Facts()
    return own and not declared and _matters(layer)


def _matters(layer: Any) -> bool:
    """Whether a layer holds one that normalizes or multiplies by a kernel."""
    inside = _keras.flatten_layers(layer, include_self=False)
    return any(facts_of(x).normalizes or facts_of(x).kernels for x in inside)


def _closed(functional: Any, stays: Callable[[Any], bool]) -> Iterator[Any]:
    """The layers of a functional model, and of those in it, that are to be opened."""
    for node in _keras.calls(functional):
        inner = functional_of(node.operation)
        if inner is not None:
            yield from _closed(inner, stays)
        elif opens(node.operation) and not stays(node.operation):
            yield node.operation


class _Opener:
    """Makes functional models again with the layers of one level opened.

    Args:
        stays: Function from a layer to whether it stays closed.
        restore: `contextlib.ExitStack` that undoes changes of the original layers.

    Attributes:
        made: Dict from ids of models to those made of them in this pass.
    """

    def __init__(
        self, stays: Callable[[Any], bool], restore: contextlib.ExitStack
    ) -> None:
        self.stays, self.restore = stays, restore
        self.made: dict[int, keras.Model] = {}
        self._kept: set[int] = set()

    def model(self, model: Any, shapes: list[Any] | None = None) -> keras.Model:
        """A functional model like the given one, with its layers opened once.

        Args:
            model: Functional `keras.Model`.
            shapes: List of tuples, the shapes of its inputs; by default its own.
        """
        functional = functional_of(model)
        if id(model) in self.made:
            return self.made[id(model)]
        tensors: dict[int, Any] = {}
        shapes = shapes or [tensor.shape for tensor in functional.inputs]
        for old, shape in zip(functional.inputs, shapes, strict=True):
            layer, _, _ = _keras.origin(old)
            config = layer.get_config() | {"batch_shape": tuple(shape)}
            tensors[id(old)] = type(layer).from_config(config).output
        for node in _keras.calls(functional):
            if node.is_input:
                continue
            args, kwargs = node.arguments.fill_in(tensors)
            outputs = [
                x
                for x in tree.flatten(self._call(node.operation, args, kwargs))
                if isinstance(x, keras.KerasTensor)
            ]
            tensors.update(zip(map(id, node.outputs), outputs, strict=True))
        inputs, outputs = (
            tree.map_structure(lambda tensor: tensors[id(tensor)], structure)
            for structure in (
                _keras.input_structure(functional),
                _keras.output_structure(functional),
            )
        )
        self._make_unique(tree.flatten(outputs))
        with deep_graphs():
            new = keras.Model(inputs, outputs, name=model.name)
        new.trainable = model.trainable
        self.made[id(model)] = new
        return new

    def _call(self, operation: Any, args: Any, kwargs: Any) -> Any:
        """What an operation gives, opened if it is to be."""
        inner = functional_of(operation)
        if inner is not None:
            if any(True for _ in _closed(inner, self.stays)):
                operation = self.model(operation)
        elif opens(operation) and not self.stays(operation):
            return self._open(operation, args, kwargs)
        self._keep(operation)
        return operation(*args, **kwargs)

    def _open(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """What the `call` of a layer gives for symbolic tensors."""
        for inner in _keras.flatten_layers(layer, include_self=False):
            self._keep(inner)
        for inner in _keras.sublayers(layer):
            self._rename(inner, f"{layer.name}_{inner.name}")
        args, kwargs = tree.map_structure(lambda x: _cast(x, layer), (args, kwargs))
        try:
            if isinstance(layer, keras.layers.TimeDistributed):
                return _for_every_step(layer, *args)
            with self._weights_as_values(layer, args, kwargs):
                return layer.call(*args, **kwargs)
        except Exception as error:
            raise CannotOpenError(
                f"Layer `{layer.name}` of type {type(layer).__name__} holds layers "
                "that its graph would show, and its `call` fails on symbolic tensors: "
                f"{type(error).__name__}: {_first_line(error)}"
            ) from error

    @contextlib.contextmanager
    def _weights_as_values(self, layer: Any, args: Any, kwargs: Any) -> Iterator[None]:
        """Lets `call` read a layer's own weights as outputs of `Parameter` layers."""
        first = next(
            x for x in tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)
        )
        attributes = vars(layer)
        own = {
            name: value
            for name, value in attributes.items()
            if isinstance(value, keras.Variable)
        }
        for name, variable in own.items():
            parameter = Parameter.of(variable, name=f"{layer.name}_{variable.name}")
            attributes[name] = parameter(first)
        try:
            yield
        finally:
            attributes.update(own)

    def _keep(self, operation: Any) -> None:
        """Has Keras's records of calls taken off an operation again in the end."""
        if id(operation) in self._kept:
            return
        self._kept.add(id(operation))
        self.restore.callback(_keras.restored_calls(operation))

    def _rename(self, layer: Any, name: str) -> None:
        """Gives a layer another name until the end."""
        self.restore.callback(setattr, layer, "name", layer.name)
        layer.name = name

    def _make_unique(self, outputs: list[Any]) -> None:
        """Gives operations with the same name different ones."""
        taken: dict[str, int] = {}
        for operation in _operations(outputs):
            name = operation.name
            count = taken[name] = taken.get(name, 0) + 1
            if count > 1:
                while f"{name}_{count}" in taken:
                    count += 1
                self._rename(operation, f"{name}_{count}")
                taken[operation.name] = 1


def _operations(outputs: list[Any]) -> list[Any]:
    """The operations in front of some symbolic tensors, each once."""
    found: dict[int, Any] = {}
    pending, seen = list(outputs), set()
    while pending:
        tensor = pending.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, call, _ = _keras.origin(tensor)
        found.setdefault(id(operation), operation)
        pending += _keras.calls_of(operation)[call].input_tensors
    return list(found.values())[::-1]


def _cast(x: Any, layer: Any) -> Any:
    """A floating-point tensor in the dtype that a layer computes in."""
    if not isinstance(x, keras.KerasTensor) or not layer.autocast:
        return x
    is_float = keras.backend.is_float_dtype(x.dtype)
    return (
        ops.cast(x, layer.compute_dtype)
        if is_float and (x.dtype != layer.compute_dtype)
        else x
    )


def _for_every_step(layer: Any, x: Any, *rest: Any) -> Any:
    """What `TimeDistributed` makes of a sequence, as one larger batch."""
    _, steps, *shape = x.shape
    if steps is None or rest:
        raise ValueError("The number of time steps must be known.")
    y = layer.layer(ops.reshape(x, (-1, *shape)))
    return ops.reshape(y, (-1, steps, *y.shape[1:]))

"""Opens layers that hold other layers: their `call` becomes part of the graph."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import _keras
from fixinit._checked import checked
from fixinit.graph.closed import closed, holds_normalization, is_own_layer, opens
from fixinit.graph.freeing import MARK
from fixinit.graph.functional import functional_of, is_subclassed
from fixinit.graph.opener import CannotOpenError, Opener
from fixinit.graph.random_inputs import drawing_alike, random_array
from fixinit.graph.sizes import with_sizes
from fixinit.graph.subclassed import (
    Signature,
    cannot_open,
    has_modes,
    losses_of,
    signature_of,
)
from fixinit.graph.watching import told

# What open axes are tried with: sequences of this length, images of seven times that,
# which patches of 14 and 16 pixels divide. Then what `with_sizes` has, as for sounds.
_SIZES = (32, 8)
_BATCH = 2
# Of the largest output: the same operations in the same order.
_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Opened:
    """A model whose layers are taken apart down to those of Keras.

    Example:

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> with fixinit.graph.opened(model) as found:
    ...     found.model is model, found.shut, found.shapes
    (True, {}, None)

    Attributes:
        model: Functional `keras.Model`, the given one if there was nothing to open.
        shut: Dict from the names of layers that could not be opened to the reasons.
        shapes: List of tuples, the shapes of its inputs where these are assumed;
            otherwise `None`.
        lost: List of strings, what the graph has not of the model, such as losses that
            `call` adds.
        hides_losses: bool. Whether losses of the model are not in the graph.
    """

    model: keras.Model
    shut: dict[str, str] = dataclasses.field(default_factory=dict)
    shapes: list[Any] | None = None
    lost: list[str] = dataclasses.field(default_factory=list)
    hides_losses: bool = False


@checked
@contextlib.contextmanager
def opened(
    model: keras.Model,
    stays: Callable[[Any], bool] = lambda layer: False,
    data: Any = None,
    all_own: bool = False,
) -> Iterator[Opened]:
    """A context in which a model's layers are taken apart down to those of Keras.

    A layer of a class of one's own that holds normalization, weight layers or other
    such layers is replaced by what its `call` does with symbolic tensors. The layers
    inside are the same objects with the same weights. Inside of the context they have
    names that are unique in the model: that of the layer around them, then their own.
    The model itself stays as it is. The opened model is checked against it on a batch.
    The functions of Lambda layers become operations, or the layer of Keras that
    computes the same.

    Some layers ask for sizes that a model leaves open. Then the opened model has the
    sizes of `data`, or sizes that are tried out. It takes batches of any size unless a
    layer computes with that too.

    A model with a `call` of its own, of which Keras records no graph, is opened like
    such a layer, whose names stay. Its inputs have the shapes of `data`, or those that
    it was built with.

    Example:

    >>> class Block(keras.layers.Layer):
    ...     def __init__(self):
    ...         super().__init__(name="block")
    ...         self.norm = keras.layers.LayerNormalization(name="norm")
    ...         self.dense = keras.layers.Dense(8, name="dense")
    ...     def call(self, x):
    ...         return x + self.dense(self.norm(x))
    >>> Block.__module__ = "example"  # a module of one's own
    >>> inputs = keras.Input((8,))
    >>> with fixinit.graph.opened(keras.Model(inputs, Block()(inputs))) as found:
    ...     [layer.name for layer in found.model.layers][1:3]
    ['block_norm', 'block_dense']

    Args:
        model: `keras.Model`.
        stays: Function from a layer to whether it stays closed.
        data: Inputs of the model, in its structure: a batch to check it on. Random
            numbers by default. A model with a `call` of its own that is not built is
            called on it first, which builds it.
        all_own: bool. Whether all layers of classes of one's own are opened, whatever
            they hold; `False` by default.

    Yields:
        `Opened`. A layer whose `call` fails on symbolic tensors stays shut; so do all
        if the opened model computes something else.

    Raises:
        TypeError: If a model with a `call` of its own has no graph, as where `call`
            decides by the values of tensors.
        ValueError: If such a model is not built, and there are no data.
    """
    functional = functional_of(model)
    matters = is_own_layer if all_own else opens

    def to_open(layer: Any) -> bool:
        return matters(layer) and not stays(layer)

    shut = functional is not None and not any(closed(functional, to_open))
    if shut or (functional is None and not is_subclassed(model)):
        yield Opened(model)
        return
    with contextlib.ExitStack() as restore:
        yield _open(model, to_open, data, restore)


def _open(
    model: keras.Model,
    to_open: Callable[[Any], bool],
    data: Any,
    restore: contextlib.ExitStack,
) -> Opened:
    """The opened model, by the first choice of open sizes with which it opens.

    First all layers must open, then those that hold normalization, and in the end none.
    Each is tried in training mode first: the graph then has what `call` does in that
    mode alone, and may be right in both.
    """
    signature = signature_of(model, data) if is_subclassed(model) else None
    read = functional_of(model).inputs if signature is None else signature.inputs
    own = [tuple(tensor.shape) for tensor in read]
    modes = (True, False) if has_modes(model) else (True,)
    attempts = itertools.product(_attempts(model, to_open, own, data), modes)
    failures: list[CannotOpenError] = []
    for (shapes, must_open), training in attempts:
        with contextlib.ExitStack() as attempt:
            opener = Opener(to_open, attempt, must_open, training)
            try:
                new = _made(opener, model, signature, shapes)
                with opener.own_names():
                    check_equal(model, new, data, signature)
            except CannotOpenError as error:
                failures.append(error)
                continue
            shapes = [tuple(tensor.shape) for tensor in new.inputs]
            restore.push(attempt.pop_all())
            refused = failures[-1] if training != modes[0] else None
            lost = list(losses_of(model, new, opener, refused))
            assumed = None if shapes == own and not _holds_sizes(signature) else shapes
            return Opened(new, opener.shut, assumed, lost, bool(opener.losses))
    if signature is not None:
        raise cannot_open(model, failures[0])
    names = [layer.name for layer in closed(functional_of(model), to_open)]
    return Opened(model, dict.fromkeys(names, str(failures[0])))


def _attempts(
    model: keras.Model, to_open: Callable[[Any], bool], own: list[Any], data: Any
) -> Iterator[tuple[list[Any], Callable[[Any], bool]]]:
    """Yields `(shapes, must_open)`: shapes of inputs, and which layers must open."""
    choices = list(_shapes_to_try(own, data))
    for shapes in choices:
        yield shapes, lambda layer: True
    layers = [layer for layer in _keras.flatten_layers(model) if to_open(layer)]
    if not all(map(holds_normalization, layers)):
        for shapes in choices:
            yield shapes, holds_normalization
    yield own, lambda layer: False


def _made(
    opener: Opener, model: keras.Model, signature: Signature | None, shapes: list[Any]
) -> keras.Model:
    """What an opener makes of a model for inputs of some shapes."""
    if signature is None:
        new = opener.model(model, shapes)
    else:
        new = opener.called(model, signature, shapes)
    is_marked = any(shape[:1] == (MARK,) for shape in shapes)
    return opener.freed(new) if is_marked else new


def _holds_sizes(signature: Signature | None) -> bool:
    """Whether a model that was not functional has inputs with axes of space or time."""
    return signature is not None and any(len(x.shape) > 2 for x in signature.inputs)


def _shapes_to_try(shapes: list[Any], data: Any) -> Iterator[list[Any]]:
    """Shapes of the inputs: as they are, then with sizes, then with a batch.

    The first batch is one that the model is freed from again.
    """
    yield shapes
    if data is not None:
        known = [tuple(keras.ops.shape(x)) for x in tree.flatten(data)]
        choices = [
            [(batch, *shape[1:]) for shape in known]
            for batch in (None, MARK, known[0][0])
        ]
    else:
        filled = [[_filled(shape[1:], size) for shape in shapes] for size in _SIZES]
        filled.append([with_sizes(shape)[1:] for shape in shapes])
        choices = [
            [(batch, *sizes) for sizes in known]
            for known in filled
            for batch in (None, MARK, _BATCH)
        ]
    tried = [shapes]
    for choice in choices:
        if choice not in tried:
            tried.append(choice)
            yield choice


def _filled(sizes: Any, size: int) -> tuple[int | None, ...]:
    """Sizes without those that are open: one axis short, two or more larger."""
    return tuple(n or (size if sizes.count(None) == 1 else 7 * size) for n in sizes)


def check_equal(
    first: keras.Model,
    second: keras.Model,
    data: Any = None,
    signature: Signature | None = None,
) -> None:
    """Compares two models on a batch, in test mode.

    Both draw the same random numbers, and others draw next what they would have.

    Args:
        first, second: `keras.Model`s of the same inputs, the second one functional.
        data: Inputs in the structure of the models; random numbers by default.
        signature: `Signature` of the first model, if that is not functional.

    Raises:
        CannotOpenError: If the models give different values.
    """
    if data is None:
        data = _random_inputs(second)
    args, kwargs = (
        ((data,), {}) if signature is None else ((), signature.arguments(data))
    )
    try:
        with drawing_alike(first, second) as again:
            # Layers may count their calls.
            with keras.StatelessScope():
                expected = first(*args, **kwargs, training=False)
            again()
            with keras.StatelessScope():
                got = second(data, training=False)
        pairs = zip(tree.flatten(expected), tree.flatten(got), strict=True)
        gaps = [_gap(*pair) for pair in pairs]
    except Exception as error:
        raise CannotOpenError(
            f"The opened model `{first.name}` could not be compared with the model on "
            f"a batch: {type(error).__name__}: {told(error)}"
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
        return random_array(shape, tensor.dtype, rng)

    return tree.map_structure(draw, _keras.input_structure(functional))

"""Makes a functional model again with layers replaced by the graph of their call."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops, tree

from fixinit import _keras
from fixinit._functional import deep_graphs
from fixinit.graph.closed import closed
from fixinit.graph.freeing import freed
from fixinit.graph.functional import ends_again, functional_of, input_again
from fixinit.graph.lambdas import is_lambda, name_operations, state_of, why_shut
from fixinit.graph.mode import Mode
from fixinit.graph.originals import Originals, operations_before
from fixinit.graph.parameters import Parameters
from fixinit.graph.plain_layers import plain_layer
from fixinit.graph.recording import (
    as_passed,
    is_value,
    may_open,
    says_its_shape,
    shapes_of,
)
from fixinit.graph.subclassed import Signature, inputs_like, integers_among
from fixinit.graph.watching import told, unwatched, watched


class CannotOpenError(ValueError):
    """A layer whose `call` gives no graph, or a graph that computes something else."""


class Opener:
    """Makes functional models again with layers replaced by the graph of their call.

    While the `call` of a layer runs, the layers in it are watched: those to open run
    their own `call` instead of being recorded as one, and so do those of one's own that
    Keras cannot record, as they return `None` or take caches.

    Args:
        opens: Function from a layer to whether it is to be opened.
        restore: `contextlib.ExitStack` that undoes changes of the original layers.
        must_open: Function from a layer to whether it is an error that it does not
            open.
        training: bool. Whether `call` does what it does in training mode. The graph
            may be right in both modes then, as layers such as dropout know the mode.

    Attributes:
        made: Dict from ids of models and the shapes of their inputs to those made of
            them.
        shut: Dict from the names of layers that did not open to the reasons.
        losses: Dict of the names of layers whose `call` adds losses, which the graph
            has not.
        fixed: Dict of the names of layers that are called in test mode in any mode.
    """

    def __init__(
        self,
        opens: Callable[[Any], bool],
        restore: contextlib.ExitStack,
        must_open: Callable[[Any], bool],
        training: bool = False,
    ) -> None:
        self.must_open = must_open
        self.shut: dict[str, str] = {}
        self.losses: dict[str, None] = {}
        self.fixed: dict[str, None] = {}
        self._mode = Mode(training)
        self._shut: set[int] = set()
        self.opens = lambda layer: id(layer) not in self._shut and opens(layer)
        self.made: dict[Any, keras.Model] = {}
        self._ends: dict[int, keras.layers.Layer] = {}  # of layers that are opened
        # By the ids of Lambda layers and the shapes of what they read.
        self._plain: dict[Any, Any] = {}
        self._originals = Originals(restore)
        self._parameters = Parameters()

    def model(self, model: Any, shapes: list[Any] | None = None) -> keras.Model:
        """A functional model like the given one, with its layers opened.

        Args:
            model: Functional `keras.Model`.
            shapes: List of tuples, the shapes of its inputs; by default its own.
        """
        functional = functional_of(model)
        tensors: dict[int, Any] = {}
        shapes = shapes or [tensor.shape for tensor in functional.inputs]
        key = id(model), str(shapes)
        if key in self.made:
            return self.made[key]
        for old, shape in zip(functional.inputs, shapes, strict=True):
            tensors[id(old)] = input_again(old, shape)
        for node in _keras.calls(functional):
            if node.is_input:
                continue
            _check_given(node.operation, node.input_tensors, tensors)
            args, kwargs = node.arguments.fill_in(tensors)
            given = tree.flatten(self._call(node.operation, args, kwargs))
            if len(given) == 1:
                given = [self._traced(node.operation, given[0])]
            if len(given) != len(node.outputs):
                given = [x for x in given if is_value(x)]
            # What nothing reads may be missing, as the scores of attention.
            for old, new in zip(node.outputs, given, strict=False):
                if is_value(new):
                    tensors[id(old)] = new
        _check_given(functional, functional.outputs, tensors)
        for old in functional.outputs:
            self._parameters.anchor = tensors[id(functional.inputs[0])]
            tensors[id(old)] = self._parameters.of_constant(tensors[id(old)])
        inputs, outputs = ends_again(functional, tensors)
        self._originals.make_unique(tree.flatten(outputs))
        with deep_graphs():
            new = keras.Model(inputs, outputs, name=model.name)
        self.made[key] = new
        return new

    def called(self, model: Any, signature: Signature, shapes: Any) -> keras.Model:
        """A functional model of what the `call` of a model of one's own does.

        Args:
            model: `keras.Model`.
            signature: Its `Signature`.
            shapes: List of tuples, the shapes of its inputs.
        """
        new = self._called(model, signature, shapes, set())
        integers = set() if signature.has_data else integers_among(new)
        return self._called(model, signature, shapes, integers) if integers else new

    def _called(
        self, model: Any, signature: Signature, shapes: Any, integers: set[int]
    ) -> keras.Model:
        inputs = inputs_like(signature.structure, shapes, integers)
        for inner in _keras.flatten_layers(model, include_self=False):
            self._originals.keep(inner)
        kwargs = signature.arguments(inputs)
        kwargs = tree.map_structure(lambda x: _cast(x, model), kwargs)
        try:
            outputs = self._run(model, (), kwargs)
        except Exception as error:
            raise CannotOpenError(
                f"The `call` of model `{model.name}` of class {type(model).__name__} "
                f"fails on symbolic tensors: {type(error).__name__}: {told(error)}"
            ) from error
        flat = tree.flatten(outputs)
        others = [x for x in flat if not isinstance(x, keras.KerasTensor)]
        if others or not flat:
            raise CannotOpenError(
                f"The `call` of model `{model.name}` of class {type(model).__name__} "
                f"returns what is no tensor of a graph: {(others or [None])[0]!r}"
            )
        self._originals.make_unique(flat)
        with deep_graphs():
            return keras.Model(inputs, outputs, name=model.name)

    def freed(self, model: keras.Model) -> keras.Model:
        """A model of batches of `MARK` inputs for batches of any size."""
        for operation in operations_before(tree.flatten(model.outputs)):
            self._originals.keep(operation)
        try:
            return freed(model)
        except Exception as error:
            raise CannotOpenError(
                f"The graph of the layers inside of `{model.name}` holds the size of a "
                f"batch: {told(error)}"
            ) from error

    def _traced(self, operation: Any, given: Any) -> Any:
        """What an opened layer gives, under the name of the layer.

        Only what an operation makes: its name says nothing of where it stood.
        """
        if not (isinstance(given, keras.KerasTensor) and self.opens(operation)):
            return given
        made_by, _, _ = _keras.origin(given)
        if made_by is operation or isinstance(made_by, keras.layers.Layer):
            return given
        if made_by.name == operation.name:
            return given
        if id(operation) not in self._ends:
            end = keras.layers.Identity(name=operation.name, dtype=given.dtype)
            self._ends[id(operation)] = end
        return self._ends[id(operation)](given)

    def own_names(self) -> contextlib.AbstractContextManager[None]:
        """Gives all layers the names that they have in the model."""
        return self._originals.own_names()

    def _call(self, operation: Any, args: Any, kwargs: Any) -> Any:
        """What an operation gives, opened if it is to be."""
        inner = functional_of(operation)
        if inner is not None:
            if isinstance(operation, keras.Sequential) and not _fits(inner, args):
                return self._in_a_row(operation, *args)
            if any(True for _ in closed(inner, self.opens)):
                operation = self.model(operation, shapes_of(inner, args))
        elif self.opens(operation):
            try:
                given, reason = self._opened(operation, args, kwargs)
            except CannotOpenError as error:
                if self.must_open(operation):
                    raise
                given, reason = None, str(error)
            if given is not None:
                return given
            self._shut.add(id(operation))
            self.shut[operation.name] = reason
            for inner in _keras.flatten_layers(operation, include_self=False):
                self._originals.name_back(inner)
        self._originals.keep(operation)
        try:
            given = operation(*args, **kwargs)
        except Exception as error:
            raise CannotOpenError(
                f"`{operation.name}` does not take what it is given: "
                f"{type(error).__name__}: {told(error)}"
            ) from error
        if may_open(operation) and id(operation) not in self._shut:
            if not says_its_shape(operation, given, args, kwargs):
                return self._open(operation, args, kwargs)
        return given

    def _opened(self, layer: Any, args: Any, kwargs: Any) -> tuple[Any, str]:
        """`(given, reason)`: what an opened layer gives, `None` if it stays, and why.

        No sizes are chosen for a Lambda, which may stay.
        """
        if isinstance(layer, keras.layers.TimeDistributed) and is_lambda(layer.layer):
            if args[0].shape[1] is None:
                return None, "The number of time steps must be known."
        if not is_lambda(layer):
            return self._open(layer, args, kwargs), ""
        state = state_of(layer)
        reason = why_shut(layer, state, args, kwargs)
        if reason is None:
            for inner in state.layers:
                self._originals.keep(inner)
            given = self._open(layer, args, kwargs)
            name_operations(layer, (args, kwargs), given)
            return given, ""
        if state.variables or state.seeds or state.others:
            return None, reason  # a layer of Keras would not read them
        key = id(layer), str([x.shape for x in tree.flatten(args)])
        if key not in self._plain:
            self._plain[key] = plain_layer(layer, args)
        plain = self._plain[key]
        return (None if plain is None else plain(*args)), reason

    def _in_a_row(self, model: keras.Sequential, x: Any) -> Any:
        """What the layers of a model give that was built on inputs of other sizes."""
        for layer in model.layers:
            self._originals.prefix(layer, model.name)
            x = self._call(layer, (x,), {})
        return x

    def _open(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """What the `call` of a layer gives for symbolic tensors."""
        for inner in _keras.flatten_layers(layer, include_self=False):
            self._originals.keep(inner)
        for inner in _keras.sublayers(layer):
            self._originals.prefix(inner, layer.name)
        args, kwargs = tree.map_structure(lambda x: _cast(x, layer), (args, kwargs))
        try:
            if isinstance(layer, keras.layers.TimeDistributed):
                return _for_every_step(layer, self._call, *args)
            return self._run(layer, args, kwargs)
        except Exception as error:
            raise CannotOpenError(
                f"Layer `{layer.name}` of type {type(layer).__name__} holds layers "
                "that its graph would show, and its `call` fails on symbolic tensors: "
                f"{type(error).__name__}: {told(error)}"
            ) from error

    def _run(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """Runs the `call` of a layer, with the layers in it watched."""
        with contextlib.ExitStack() as watch:
            watch.enter_context(_keras.lower_case_einsum())
            watch.enter_context(self._parameters.of_weights(layer, args, kwargs))
            watch.enter_context(self._losses_left_out(layer))
            for inner in _keras.sublayers(layer):
                watch.enter_context(watched(inner, self._call_inside))
            kwargs = self._mode.given(layer, args, kwargs)
            kwargs = as_passed(layer, args, kwargs)
            watch.enter_context(self._originals.own_names([layer]))
            return layer.call(*args, **kwargs)

    @contextlib.contextmanager
    def _losses_left_out(self, layer: Any) -> Iterator[None]:
        """Takes note of the losses that a call adds, which Keras cannot record."""
        if layer.activity_regularizer is not None:
            self.losses[layer.name] = None

        def note(loss: Any) -> None:
            self.losses[layer.name] = None

        vars(layer)["add_loss"] = note
        try:
            yield
        finally:
            del vars(layer)["add_loss"]

    def _call_inside(self, layer: Any, record: Callable, args: Any, kwargs: Any) -> Any:
        """What a call gives of a layer inside of one that is being opened.

        Args:
            layer: The layer.
            record: Function that calls it as Keras does, and has it recorded.
            args, kwargs: What it is called with.
        """
        if self._mode.is_fixed(kwargs):
            self.fixed[layer.name] = None
        args, kwargs = self._mode.taken_out(args, kwargs)
        read = tree.flatten((args, kwargs))
        if not any(isinstance(x, keras.KerasTensor) for x in read):
            if not layer.weights:
                return record(*args, **kwargs)
            # Its weights would become constants of the graph.
            args, kwargs = tree.map_structure(
                self._parameters.of_constant, (args, kwargs)
            )
        for x in read:
            if isinstance(x, keras.KerasTensor):
                _keras.dense(x)
        if functional_of(layer) is not None or self.opens(layer):
            with unwatched(layer):
                return self._call(layer, args, kwargs)
        with unwatched(layer):
            opens_else = may_open(layer)
        try:
            given = record(*args, **kwargs)
            if not opens_else or says_its_shape(layer, given, args, kwargs):
                return given
        except Exception:
            if not opens_else:
                raise
        with unwatched(layer):
            return self._open(layer, args, kwargs)


def _fits(functional: Any, args: Any) -> bool:
    """Whether a model has an input of the sizes that it is called on."""
    if len(args) != 1 or len(functional.inputs) != 1:
        return True
    pairs = zip(functional.inputs[0].shape[1:], args[0].shape[1:], strict=False)
    return all(size is None or size == other for size, other in pairs)


def _check_given(reader: Any, read: Any, given: Any) -> None:
    """Refuses a graph in which a tensor that is read does not exist."""
    if not all(id(tensor) in given for tensor in read):
        raise CannotOpenError(
            f"`{reader.name}` reads what a layer gives as a tensor, and what the graph "
            "of the layers inside of it has not."
        )


def _cast(x: Any, layer: Any) -> Any:
    """A floating-point tensor in the dtype that a layer computes in."""
    if not isinstance(x, keras.KerasTensor):
        return x
    x = _keras.dense(x)
    if not layer.autocast:
        return x
    is_float = keras.backend.is_float_dtype(x.dtype)
    return (
        ops.cast(x, layer.compute_dtype)
        if is_float and (x.dtype != layer.compute_dtype)
        else x
    )


def _for_every_step(layer: Any, call: Callable, x: Any, *rest: Any) -> Any:
    """What `TimeDistributed` makes of a sequence, as one larger batch."""
    _, steps, *shape = x.shape
    if steps is None or rest:
        raise ValueError("The number of time steps must be known.")
    y = call(layer.layer, (ops.reshape(x, (-1, *shape)),), {})
    return ops.reshape(y, (-1, steps, *y.shape[1:]))

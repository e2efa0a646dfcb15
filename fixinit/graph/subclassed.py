"""Inputs of models with a `call` of their own, of which Keras records no graph."""

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import _keras
from fixinit.graph.functional import functional_of, has_call, is_own, is_subclassed
from fixinit.layers import Parameter

# What reads integers, also where an input is said to be floating-point.
_READS_INTEGERS = (keras.layers.Embedding, keras.layers.CategoryEncoding)


@dataclasses.dataclass(frozen=True)
class Signature:
    """What the `call` of a model is given.

    Attributes:
        names: Tuple of strings, its arguments that are tensors or structures of them.
        specs: Tuple of such structures of `keras.KerasTensor`s, one for each.
        has_data: bool. Whether they are those of a batch, whose dtypes are known.
    """

    names: tuple[str, ...]
    specs: tuple[Any, ...]
    has_data: bool

    @property
    def structure(self) -> Any:
        """The specs as a functional model takes them: a list of several arguments."""
        return self.specs[0] if len(self.specs) == 1 else list(self.specs)

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """The specs one by one."""
        return tree.flatten(self.structure)

    def arguments(self, given: Any) -> dict[str, Any]:
        """Keyword arguments of `call`, of tensors in the `structure`."""
        values = [given] if len(self.names) == 1 else given
        return dict(zip(self.names, values, strict=True))


def signature_of(model: keras.Model, data: Any = None) -> Signature:
    """The `Signature` of a model with a `call` of its own.

    Args:
        model: `keras.Model`. One that is not built yet is called on `data`, as Keras
            builds such models.
        data: A batch of its inputs, or `None`: then the shapes that the model was
            built with, in single precision.

    Raises:
        TypeError: If the model has no `call`.
        ValueError: If it is not built, and there are no data.
    """
    if not has_call(model):
        raise _no_call(model)
    if data is not None:
        return _of_data(model, data)
    if _keras.is_functional(model):
        structure = _keras.input_structure(model)
        return Signature(_tensor_arguments(model), (structure,), has_data=True)
    config = model.get_build_config() if model.built else None
    if not config:
        raise ValueError(
            f"Model `{model.name}` of class {type(model).__name__} is not built: the "
            "shapes of its inputs are not known. Call it on a batch, or give the "
            "shapes, the batch among them, as in `model.build((None, 32, 32, 3))`. "
            "`convert`, `explain` and the classes of fixinit.diagnostics also take a "
            "batch as data=x."
        )
    shapes = config.get("shapes_dict") or {"": config["input_shape"]}
    names = tuple(name.removesuffix("_shape") for name in shapes)
    if not set(names) <= set(model.call_signature_parameters):
        names = _tensor_arguments(model)[: len(shapes)]
    if len(names) < len(_tensor_arguments(model)):
        raise ValueError(
            f"The `call` of model `{model.name}` takes several arguments, "
            f"{_tensor_arguments(model)}, and Keras knows the shape of the first. Pass "
            "a list of arrays, one for each, as data=[...]."
        )
    specs = tuple(_specs(shape) for shape in shapes.values())
    return Signature(names, specs, has_data=False)


def _of_data(model: keras.Model, data: Any) -> Signature:
    data = tree.map_structure(_array, _one_array(data))
    names = _tensor_arguments(model)
    if len(names) > 1 and not (isinstance(data, (list, tuple)) and len(data) > 1):
        raise ValueError(
            f"Argument `data` must be a list of {len(names)}, one for each argument of "
            f"the `call` of model `{model.name}`: {names}. Received: {type(data)}"
        )
    signature = Signature(names, (data,) if len(names) == 1 else tuple(data), True)
    if not model.built:
        model(**signature.arguments(data), training=False)
    specs = tuple(tree.map_structure(_spec, value) for value in signature.specs)
    return Signature(names, specs, has_data=True)


def _tensor_arguments(model: keras.Model) -> tuple[str, ...]:
    """The arguments of a model's `call` that must be given, the first in any case."""
    parameters = inspect.signature(model.call).parameters
    own = [name for name in parameters if name not in ("training", "mask")]
    empty = inspect.Parameter.empty
    required = [name for name in own if parameters[name].default is empty]
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [name for name in required if parameters[name].kind not in kinds]
    return tuple(required or own[:1])


def _one_array(data: Any) -> Any:
    """Numbers in lists as one array, arrays as they are."""
    leaves = tree.flatten(data)
    return data if all(hasattr(x, "shape") for x in leaves) else np.asarray(data)


def _array(x: Any) -> Any:
    dtype = keras.backend.standardize_dtype(x.dtype)
    is_float = keras.backend.is_float_dtype(dtype)
    return ops.convert_to_tensor(x, keras.config.floatx() if is_float else dtype)


def _spec(x: Any) -> keras.KerasTensor:
    dtype = keras.backend.standardize_dtype(x.dtype)
    return keras.KerasTensor((None, *x.shape[1:]), dtype)


def _specs(shapes: Any) -> Any:
    """The specs of shapes in lists and dicts."""
    if isinstance(shapes, dict):
        return {key: _specs(shape) for key, shape in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return keras.KerasTensor((None, *shapes[1:]), keras.config.floatx())
    return [_specs(shape) for shape in shapes]


def inputs_like(specs: Any, shapes: list[Any], integers: set[int]) -> Any:
    """New symbolic inputs in a structure.

    Args:
        specs: Structure of `keras.KerasTensor`s.
        shapes: List of their shapes, with the batch.
        integers: The indices of those that are to be integers.
    """
    names = _names(specs)
    flat = [
        keras.Input(
            batch_shape=shape,
            dtype="int32" if index in integers else spec.dtype,
            name=names[index],
        )
        for index, (spec, shape) in enumerate(
            zip(tree.flatten(specs), shapes, strict=True)
        )
    ]
    return tree.pack_sequence_as(specs, flat)


def _names(specs: Any) -> list[str | None]:
    """The keys of a dict of inputs, by which Keras feeds them."""
    if isinstance(specs, dict) and len(tree.flatten(specs)) == len(specs):
        return list(tree.flatten({key: key for key in specs}))
    return [None] * len(tree.flatten(specs))


def integers_among(model: keras.Model) -> set[int]:
    """The indices of a functional model's inputs that embeddings read."""
    reads = {
        id(tensor)
        for node in _keras.calls(model)
        if isinstance(node.operation, _READS_INTEGERS)
        for tensor in node.input_tensors
    }
    return {i for i, tensor in enumerate(model.inputs) if id(tensor) in reads}


def has_modes(model: keras.Model) -> bool:
    """Whether a layer of one's own may do something else in training mode."""
    return any(
        is_own(type(layer)) and "training" in layer.call_signature_parameters
        for layer in _keras.flatten_layers(model)
    )


def losses_of(
    model: keras.Model, graph: keras.Model, opener: Any, refused: Exception | None
) -> Iterator[str]:
    """Yields what the graph of a model has not.

    Args:
        model: `keras.Model`.
        graph: Functional `keras.Model` that it was opened to.
        opener: The `Opener` that did it.
        refused: Why training mode gave no graph; `None` if it gave this one.
    """
    if refused is not None:
        yield (
            "What `call` does in training mode alone is not in the graph, which is "
            f"that of test mode. {refused}"
        )
    if opener.losses:
        yield f"Losses of `add_loss` are not in the graph: {', '.join(opener.losses)}."
    if opener.fixed:
        yield (
            "Calls with training=False run in the mode of the whole model, as Keras "
            f"has it in functional models: {', '.join(opener.fixed)}."
        )
    if names := _not_held(model, graph):
        yield (
            "Layers with weights that the model calls and does not hold, as in a "
            f"Lambda, are part of the graph, and train: {', '.join(names)}."
        )
    if is_subclassed(model) and (names := _left_out(model, graph)):
        yield (
            "Layers with weights that the `call` of the model does not reach are not "
            f"in the graph: {', '.join(names)}."
        )


def _not_held(model: keras.Model, graph: keras.Model) -> list[str]:
    """The names of layers that train in a graph and that its model does not track."""
    held = {id(layer) for layer in _keras.flatten_layers(model)}
    return [
        layer.name
        for layer in graph.layers
        if id(layer) not in held
        and not isinstance(layer, Parameter)
        and functional_of(layer) is None
        and layer.trainable_weights
    ]


def _left_out(model: keras.Model, graph: keras.Model) -> list[str]:
    """The names of the layers whose weights a graph of a model's `call` has not."""
    known = {id(variable) for variable in graph.weights}
    names = []
    for layer in _keras.flatten_layers(model):
        inside = _keras.flatten_layers(layer, include_self=False)
        inner = {id(variable) for part in inside for variable in part.weights}
        own = [v for v in layer.weights if id(v) not in inner]
        if any(id(variable) not in known for variable in own):
            names.append(layer.name)
    return names


def cannot_open(model: keras.Model, reason: Exception) -> TypeError:
    """The error for a model whose `call` gives no graph."""
    return TypeError(
        f"Model `{model.name}` of class {type(model).__name__} has a `call` of its "
        f"own, of which there is no graph. {reason} A `call` has one if it is made of "
        "layers and `keras.ops` alone, and neither reads the numbers in tensors, nor "
        "decides by them, nor assigns weights of the model itself."
    )


def _no_call(model: keras.Model) -> TypeError:
    """The error for a model that only its own `train_step` and the like can run."""
    parts = [f"`{layer.name}`" for layer in _keras.sublayers(model)]
    return TypeError(
        f"Model `{model.name}` of class {type(model).__name__} has no `call`, so that "
        "it computes nothing by itself. Convert or measure its parts: "
        f"{', '.join(parts)}."
    )

"""Every private part of Keras that fixinit uses, each with the reason.

No other file reads an attribute of Keras that starts with an underscore or imports
`keras.src`. `tests/test_keras_private.py` has one test for each function, which fails
first when Keras moves what it reads; setup.py allows the versions that pass.
"""

import contextlib
import copy
import dataclasses
import functools
import string
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src import applications, ops
from keras.src.activations import activations
from keras.src.backend.common import global_state, masking, stateless_scope
from keras.src.layers.rnn import conv_lstm
from keras.src.random import seed_generator
from keras.src.trainers import compile_utils
from keras.src.utils import tracking

# Keras records the call of an operation as an object of one of its classes, which
# tells what the call computes. It exports the functions and none of the classes.
_OPERATION_MODULES = (
    ops.numpy,
    ops.nn,
    ops.core,
    ops.math,
    ops.linalg,
    ops.image,
    activations,
)

# What `keras.ops.einsum` makes of its subscripts, by this name.
_EINSUM = ops.numpy.Einsum

# `keras.applications` scales residual branches with these two, and exports neither.
LayerScale = applications.convnext.LayerScale
CustomScaleLayer = applications.inception_resnet_v2.CustomScaleLayer
# The cell of `keras.layers.ConvLSTM2D`, which Keras does not export.
ConvLSTMCell = conv_lstm.ConvLSTMCell


def operation(name: str) -> type:
    """The class whose objects Keras records for calls of an operation.

    Args:
        name: String, the name of the class, such as `"Add"`.

    Raises:
        ImportError: If the installed Keras has no such class.
    """
    for module in _OPERATION_MODULES:
        kind = vars(module).get(name)
        if isinstance(kind, type) and issubclass(kind, keras.Operation):
            return kind
    raise ImportError(
        f"Keras {keras.__version__} has no operation class `{name}` where fixinit "
        "looks for it. Install a version of Keras that setup.py of fixinit allows."
    )


def copied_operation(operation: keras.Operation) -> keras.Operation:
    """A copy of an operation without weights, not called yet.

    Its config does not describe one that was given NumPy integers, such as sizes.
    """
    new = object.__new__(type(operation))
    vars(new).update(vars(operation), _inbound_nodes=[], _outbound_nodes=[])
    return new


def dense(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """A symbolic tensor that is sparse only if what it was made of is.

    Keras takes every product with a number for sparse (`Multiply.compute_output_spec`),
    and traces layers that read one with sparse tensors.
    """
    if tensor.sparse:
        made_by, call, _ = origin(tensor)
        read = calls_of(made_by)[call].input_tensors
        # Layers say what they give.
        if not isinstance(made_by, keras.layers.Layer):
            tensor._sparse = any(dense(x).sparse for x in read)
    return tensor


@contextlib.contextmanager
def lower_case_einsum() -> Iterator[None]:
    """A context in which calls of `keras.ops.einsum` are recorded in lower case.

    Keras computes with capital letters, and cannot give the shape of what comes out.
    """
    before, kind = ops.numpy.Einsum, _EINSUM

    def made(subscripts: str, **kwargs: Any) -> Any:
        letters = [x for x in string.ascii_lowercase if x not in subscripts]
        capitals = sorted({x for x in subscripts if x.isupper()})
        table = str.maketrans(dict(zip(capitals, letters, strict=False)))
        return kind(subscripts.translate(table), **kwargs)

    ops.numpy.Einsum = made
    try:
        yield
    finally:
        ops.numpy.Einsum = before


def deep_copied(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy of a layer with its weights, not called yet.

    Python's own goes by the config, which may lack something, and would copy the models
    that call the layer too, by the records of its calls.
    """
    parts = layer._flatten_layers()
    # Modules have no copies. A seed generator holds that of the backend.
    memo: dict[int, Any] = {id(module): module for module in sys.modules.values()}
    memo.update({id(part): object.__new__(type(part)) for part in parts})
    for part in parts:
        # Losses are those of the last call, on PyTorch with its graph.
        fresh: dict[str, Any] = {"_inbound_nodes": [], "_outbound_nodes": []}
        state = {**vars(part), **fresh, "_losses": []}
        # The lists of a built layer take nothing that it does not know yet.
        with tracking.DotNotTrackScope():
            vars(memo[id(part)]).update(copy.deepcopy(state, memo))
        tracker = memo[id(part)]._tracker
        for name, (_, store) in tracker.config.items():
            tracker.stored_ids[name] = {id(item) for item in store}
    return memo[id(layer)]


# Masks


def get_mask(tensor: Any) -> Any:
    """The mask that Keras has attached to a tensor, `None` where there is none.

    A layer without an argument `mask` has no other way to read it.
    """
    return masking.get_keras_mask(tensor)


def set_mask(tensor: Any, mask: Any) -> None:
    """Attaches a mask to a tensor, as calls of layers that support masking do."""
    masking.set_keras_mask(tensor, mask)


def logits(tensor: Any) -> Any:
    """The logits that cross-entropies read instead of a tensor, or `None`.

    On TensorFlow, Keras attaches them to what a softmax or a sigmoid gives, and its
    losses take them: probabilities round to 0 and 1.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    return getattr(tensor, "_keras_logits", None)


def set_logits(tensor: Any, value: Any) -> None:
    """Attaches logits to a tensor, as Keras's activations do."""
    tensor._keras_logits = value


def hand_on(source: Any, target: Any, change: Callable = lambda x: x) -> None:
    """Attaches to a tensor what Keras has attached to the one that it is made of.

    Args:
        source: Tensor, with or without a mask and logits.
        target: Tensor.
        change: Callable that makes the target's mask and logits from the source's.
    """
    if target is source:
        return
    if (mask := get_mask(source)) is not None:
        set_mask(target, change(mask))
    if (value := logits(source)) is not None:
        set_logits(target, change(value))


def raw_activation(tensor: Any) -> tuple[Any, Callable[[Any], Any]] | None:
    """What TensorFlow's own softmax or sigmoid was called with, and that function.

    Keras's losses find the logits of such a tensor in TensorFlow's graph, by the type
    of the operation. `None` for every other tensor.
    """
    if keras.backend.backend() != "tensorflow" or logits(tensor) is not None:
        return None
    operation = getattr(tensor, "op", None)
    kinds = {"Softmax": keras.ops.softmax, "Sigmoid": keras.ops.sigmoid}
    if operation is None or operation.type not in kinds:
        return None
    made = kinds[operation.type]

    def again(value: Any) -> Any:
        outputs = made(value)
        # As it is of TensorFlow's own.
        del outputs._keras_logits
        return outputs

    return operation.inputs[0], again


@contextlib.contextmanager
def kept_masks(*tensors: Any) -> Iterator[None]:
    """A context that leaves the masks of tensors as they are.

    `keras.layers.MultiHeadAttention` takes the masks of its inputs off.
    """
    before = [get_mask(tensor) for tensor in tensors]
    try:
        yield
    finally:
        for tensor, mask in zip(tensors, before, strict=True):
            set_mask(tensor, mask)


# Layers


def flatten_layers(
    layer: keras.layers.Layer, include_self: bool = True
) -> list[keras.layers.Layer]:
    """A layer and all layers inside it, in Keras's order.

    `keras.Model.layers` neither descends nor exists in other layers.
    """
    return layer._flatten_layers(include_self=include_self)


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that a layer holds directly, the input layers of models among them.

    `keras.Sequential.layers` leaves its input layer out, which its config counts.
    """
    return layer._layers


def own_state(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The variables of a layer itself that calls may change.

    `non_trainable_variables` adds those of the layers inside, and the weights of a
    frozen layer.
    """
    return layer._non_trainable_variables


def own_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The weights of a layer itself, frozen or not.

    `weights` adds those of the layers inside, and states.
    """
    return layer._trainable_variables


def seed_states(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The states of what a layer and the layers in it draw random numbers from.

    `non_trainable_variables` does not tell them from others.
    """
    return [
        generator.state
        for part in layer._flatten_layers()
        for generator in part._seed_generators
    ]


@functools.cache
def _spare_generator() -> keras.random.SeedGenerator:
    """What draws without a seed while Keras has no generator for it.

    Of one, as every `keras.Variable` that is made takes 35 kB of TensorFlow's for ever.
    """
    return keras.random.SeedGenerator(0, name="spare")


@contextlib.contextmanager
def unseeded_state() -> Iterator[keras.Variable]:
    """A context with the state of what draws random numbers without a seed.

    Keras makes it at its first use, by one of Python's random numbers. Where that has
    not been, another one stands for it.
    """
    name = seed_generator.GLOBAL_SEED_GENERATOR
    if global_state.get_global_attribute(name) is not None:
        yield seed_generator.global_seed_generator().state
        return
    spare = _spare_generator()
    spare.state.assign([0, 0])
    global_state.set_global_attribute(name, spare)
    try:
        yield spare.state
    finally:
        global_state.set_global_attribute(name, None)


def embedding_variable(layer: keras.layers.Embedding) -> keras.Variable:
    """The variable of an `Embedding`.

    Its property `embeddings` is a tensor under LoRA.
    """
    return layer._embeddings


@dataclasses.dataclass(frozen=True)
class AttentionParts:
    """What an attention layer with heads is made of.

    Attributes:
        query, key, value, output: The layers that project.
        gate: The layer whose output multiplies what the heads give, or `None`.
        heads, dim, value_dim: ints, the heads and their channels.
        scale: float, what the scores are multiplied by.
        axes: Tuple of ints, the axes that are attended, without the batch from 1; or
            `None` for the only one.
        window: int, how many keys a query sees before itself, or `None`.
    """

    query: Any
    key: Any
    value: Any
    output: Any
    gate: Any
    heads: int
    dim: int
    value_dim: int
    scale: float
    axes: tuple[int, ...] | None
    window: int | None


def attention_parts(layer: Any) -> AttentionParts:
    """The parts of a built `MultiHeadAttention` or `GroupQueryAttention`.

    The latter has no public names for them.
    """
    dense = (
        layer._query_dense,
        layer._key_dense,
        layer._value_dense,
        layer._output_dense,
    )
    if isinstance(layer, keras.layers.GroupQueryAttention):
        gate = layer._gate_dense if layer.use_gate else None
        heads, dim = layer.num_query_heads, layer.head_dim
        scale, window = layer._inverse_sqrt_head_dim, layer.sliding_window
        return AttentionParts(*dense, gate, heads, dim, dim, scale, None, window)
    gate = layer._gate_dense if layer._use_gate else None
    return AttentionParts(
        *dense,
        gate,
        layer._num_heads,
        layer._key_dim,
        layer._value_dim,
        layer._inverse_sqrt_key_dim,
        tuple(layer._attention_axes),
        layer._sliding_window,
    )


def initializer(variable: keras.Variable) -> Any:
    """The initializer of a variable that is made in a `keras.StatelessScope`.

    Keras keeps it until it draws the variable, for itself alone.
    """
    return variable._initializer


def set_initializer(variable: keras.Variable, value: Any) -> None:
    """Replaces the initializer of a variable that is not drawn yet."""
    variable._initializer = value


def restored_calls(operation: keras.Operation) -> Callable[[], None]:
    """A function that takes back all calls of an operation from here on.

    Keras keeps every symbolic call of an operation for ever, and with it the graph.
    """
    before = operation._inbound_nodes[:], operation._outbound_nodes[:]

    def restore() -> None:
        operation._inbound_nodes[:], operation._outbound_nodes[:] = before

    return restore


# Functional models


def is_functional(layer: Any) -> bool:
    """Whether Keras holds a graph of calls for a model.

    Keras exports no class of functional models: `keras.Model` makes one.
    """
    return hasattr(layer, "_nodes_by_depth")


def functional(model: keras.Sequential) -> keras.Model | None:
    """The functional model that a built `keras.Sequential` makes of itself."""
    return model._functional


def calls(model: keras.Model) -> Iterator[Any]:
    """Yields the calls of a functional model in an order in which they can be made.

    A call is Keras's `Node`: `operation`, `arguments`, `input_tensors`, `outputs`,
    `is_input`. Keras exports the operations of a model, and not their calls.
    """
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from model._nodes_by_depth[depth]


def calls_of(layer: keras.Operation) -> list[Any]:
    """All calls of a layer or operation, in whichever model.

    Its public `input` and `output` are an error where there are several.
    """
    return layer._inbound_nodes


def origin(tensor: keras.KerasTensor) -> tuple[keras.Operation, int, int]:
    """What gives a symbolic tensor: `(operation, index of its call, of its output)`.

    Keras exports no way back from tensors to operations.
    """
    operation, call, output = tensor._keras_history
    return operation, call, output


def input_structure(model: keras.Model) -> Any:
    """The inputs of a functional model in the structure that it takes them in.

    `keras.Model.inputs` is a flat list.
    """
    return model._inputs_struct


def output_structure(model: keras.Model) -> Any:
    """The outputs of a functional model in the structure that it gives them in."""
    return model._outputs_struct


# Training


def compiled_loss(model: keras.Model) -> Any:
    """What `compile` has made of a model's losses, `None` before.

    `keras.Model.loss` is the argument of `compile`, equal for two calls of it.
    """
    return model._compile_loss


# What `compile` makes of the argument `loss`, which Keras exports nowhere.
CompileLoss = compile_utils.CompileLoss


def compute_loss(model: keras.Model, **kwargs: Any) -> Any:
    """The loss that `fit` minimizes, of the outputs of a call of the model.

    A `compute_loss` of a user's class may lack the argument `training`.

    Args:
        model: Compiled `keras.Model`.
        **kwargs: What `keras.Model.compute_loss` takes.
    """
    return model._compute_loss(**kwargs)


@contextlib.contextmanager
def inside_call(layer: keras.layers.Layer) -> Iterator[None]:
    """A context in which the calls of layers are parts of a call of `layer` by `fit`.

    A layer that is called by itself forgets the losses that it has added before. On JAX
    `fit` runs `call` itself: there the layers of a model do so in `fit`, too.
    """
    if keras.backend.backend() == "jax":
        yield
        return
    layer._get_call_context()
    try:
        yield
    finally:
        layer._maybe_reset_call_context()


@contextlib.contextmanager
def with_losses(model: keras.Model, losses: list[Any] | None) -> Iterator[None]:
    """A context in which `model.losses` is this list, unless it is `None` or empty.

    `compute_loss` adds `model.losses`, and nothing else can be given to it.
    """
    before, model._losses_override = model._losses_override, losses or []
    try:
        yield
    finally:
        model._losses_override = before


def in_measurement() -> bool:
    """Whether losses that layers add are collected without a trace in the layers.

    Keras does not export the scope that is entered.
    """
    scope = stateless_scope.get_stateless_scope()
    return scope is not None and scope.collect_losses


def trained_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The variables that an optimizer was built on.

    Its public `variables` are its own state.
    """
    return optimizer._trainable_variables


def is_excluded_from_decay(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> bool:
    """Whether `exclude_from_weight_decay` names a variable.

    An optimizer's config does not say so.
    """
    keys = getattr(optimizer, "_exclude_from_weight_decay", ())
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    if optimizer._var_key(variable) in keys:
        return True
    return bool(pattern and pattern.search(variable.name))


def copy_decay_exclusions(
    source: keras.optimizers.Optimizer, target: keras.optimizers.Optimizer
) -> None:
    """Excludes from a second optimizer's weight decay what is from the first's.

    An optimizer's config does not hold what `exclude_from_weight_decay` names.
    """
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(source, name):
            setattr(target, name, getattr(source, name))


def parts(
    optimizer: keras.optimizers.Optimizer,
) -> list[keras.optimizers.Optimizer]:
    """The optimizers that update variables: those in a `MultiOptimizer`, or itself.

    The public `optimizers` of a subclass may be views of them.
    """
    return list(getattr(optimizer, "_inner_optimizers", [optimizer]))


def clip_before_update(
    optimizer: keras.optimizers.Optimizer,
    clip: Callable[[list[Any], list[keras.Variable]], list[Any]],
) -> None:
    """Makes an optimizer clip the gradients that it is about to update with.

    That is behind what unscales and accumulates them, and in front of its own clipping
    and weight decay. Keras's own clipping is not told the variables.

    Args:
        optimizer: Keras optimizer that hands variables to no other.
        clip: Callable `(gradients, variables) -> gradients`, without `None`.
    """
    apply, own_clipping = optimizer._backend_apply_gradients, optimizer._clip_gradients
    current: list[keras.Variable] = []

    def apply_clipped(grads: list[Any], trainable_variables: Any) -> None:
        current[:] = trainable_variables
        apply(grads, trainable_variables)

    def clip_gradients(grads: list[Any]) -> list[Any]:
        return own_clipping(clip(grads, current))

    optimizer._backend_apply_gradients = apply_clipped
    optimizer._clip_gradients = clip_gradients


def num_batches_seen(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """The count of all batches that an optimizer has seen.

    Under gradient accumulation, its public `iterations` counts updates.
    """
    return optimizer._iterations


def accumulated_gradients(
    optimizer: keras.optimizers.Optimizer,
) -> list[keras.Variable | None]:
    """The sums of gradients under gradient accumulation, none without it.

    Keras has no way to reset them.
    """
    return getattr(optimizer, "_accumulated_gradients", [])


@contextlib.contextmanager
def kept_names() -> Iterator[None]:
    """Lets layers be made whose automatic names do not count.

    Keras numbers the layers of a class in the order in which they are made.
    """
    counts = global_state.get_global_attribute("object_name_uids")
    before = None if counts is None else counts.copy()
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", before)

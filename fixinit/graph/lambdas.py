"""Tells whether the function of a Lambda layer may become a part of the graph."""

import contextlib
import inspect
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import _keras
from fixinit.graph.captured import Captured, captured
from fixinit.graph.originals import operations_before
from fixinit.graph.random_inputs import drawing_alike, random_array
from fixinit.graph.recognition import normalizes
from fixinit.graph.recording import as_passed
from fixinit.graph.trials import tried
from fixinit.graph.watching import told
from fixinit.layers import facts_of

_BATCHES = (2, 3)
_OPEN = 8  # the size of open axes
# Of the largest output: the same operations in the same order.
_TOLERANCE = 1e-4


def is_lambda(layer: Any) -> bool:
    """Whether a layer is a Lambda of Keras, which does nothing but call a function."""
    kind = keras.layers.Lambda
    return isinstance(layer, kind) and type(layer).call is kind.call


def may_become_operations(layer: Any) -> bool:
    """Whether the operations of a Lambda would say more than the layer itself.

    A normalization is one layer, and so is what makes masks or knows the mode.
    """
    if not is_lambda(layer) or layer.mask is not None:
        return False
    by_mode = "training" in inspect.getfullargspec(layer.function).args
    return not by_mode and not normalizes(layer)


def state_of(layer: Any) -> Captured:
    """The state that the function of a Lambda layer reads."""
    return captured(layer.function, layer.arguments)


def why_shut(layer: Any, state: Captured, args: Any, kwargs: Any) -> str | None:
    """Why a Lambda stays a layer; `None` if its function may become operations.

    The function is called on symbolic tensors, and what that records is compared with
    it on random batches, also for other values of the variables that it reads.

    Args:
        layer: Lambda layer.
        state: What its function reads, by `state_of`.
        args, kwargs: What it is called with.
    """
    if facts_of(layer).activates:
        return "It is an activation."
    if state.others:
        return "Its function reads a variable that is none of Keras's."
    inputs: dict[int, Any] = {}

    def again(x: Any) -> Any:
        if not isinstance(x, keras.KerasTensor):
            return x
        if id(x) not in inputs:
            inputs[id(x)] = keras.Input(batch_shape=x.shape, dtype=x.dtype)
        return inputs[id(x)]

    with _kept(state):
        kwargs = as_passed(layer, args, kwargs)
        args, kwargs = tree.map_structure(again, (args, kwargs))
        try:
            outputs = layer.call(*args, **kwargs)
        except Exception as error:  # it is somebody else's function
            return f"Its function takes no symbolic tensors: {told(error)}"
        return _why_other(layer, state, list(inputs.values()), (args, kwargs), outputs)


def _why_other(
    layer: Any, state: Captured, inputs: list[Any], given: Any, outputs: Any
) -> str | None:
    """Why the operations of a function are not all that it does, or too much."""
    flat = tree.flatten(outputs)
    if not flat or not all(isinstance(x, keras.KerasTensor) for x in flat):
        return "Its function returns what is no tensor of a graph."
    made = [x for x in operations_before(flat) if not isinstance(x, keras.layers.Layer)]
    if any(facts_of(x).normalizes for x in made):
        return "Its function normalizes, and does more than that."
    try:
        graph = keras.Function(inputs, outputs)
    except ValueError as error:
        return f"Its function reads tensors of another graph: {told(error)}"

    def function(*tensors: Any) -> Any:
        by_id = dict(zip(map(id, inputs), tensors, strict=True))
        args, kwargs = tree.map_structure(lambda x: by_id.get(id(x), x), given)
        return layer.call(*args, **kwargs)

    rng = np.random.default_rng(0)
    drawn = [(v, rng.uniform(size=v.shape)) for v in _floats(state)]
    for batch, values in ((_BATCHES[0], ()), (_BATCHES[1], drawn)):
        tensors = [_drawn(x, batch, rng) for x in inputs]
        if not _agree(function, lambda *xs: graph(list(xs)), tensors, values):
            return (
                "Its function does something else than what Keras records of it, as "
                "where it draws random numbers or computes with weights beforehand."
            )
    return None


def _agree(first: Callable, second: Callable, tensors: list[Any], values: Any) -> bool:
    """Whether two functions give the same, and the first one does so twice."""
    runs = (first, first, second)
    found = tried(lambda: [tree.flatten(run(*tensors)) for run in runs], values)
    if found is None or len(found) % len(runs):
        return False
    count = len(found) // len(runs)
    once, again, recorded = (found[i * count : (i + 1) * count] for i in range(3))
    return all(
        a.shape == b.shape and np.allclose(a, b, _TOLERANCE, _size(a), equal_nan=True)
        for others in (again, recorded)
        for a, b in zip(once, others, strict=True)
    )


def _size(x: np.ndarray) -> float:
    finite = np.abs(x[np.isfinite(x)]) if x.dtype.kind == "f" else np.abs(x)
    return _TOLERANCE * float(np.max(finite, initial=0))


def _drawn(spec: Any, batch: int, rng: np.random.Generator) -> Any:
    sizes = [n or _OPEN for n in spec.shape[1:]]
    shape = [spec.shape[0] or batch, *sizes] if spec.shape else []
    x = random_array(shape, spec.dtype, rng)
    return ops.convert_to_tensor(x, spec.dtype)


def _floats(state: Captured) -> list[Any]:
    return [v for v in state.variables if keras.backend.is_float_dtype(v.dtype)]


def name_operations(layer: Any, args: Any, given: Any) -> None:
    """Gives the operations of a Lambda its name, and what they do.

    Args:
        layer: Lambda layer.
        args: Structure with the symbolic tensors that it read.
        given: What its function gave.
    """
    outputs = [x for x in tree.flatten(given) if isinstance(x, keras.KerasTensor)]
    last = _keras.origin(outputs[0])[0] if len(outputs) == 1 else None
    for operation in operations_before(outputs, tree.flatten(args)):
        if not isinstance(operation, keras.layers.Layer):
            kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(operation).__name__).lower()
            operation.name = layer.name if operation is last else f"{layer.name}_{kind}"


@contextlib.contextmanager
def _kept(state: Captured) -> Any:
    """A context that leaves names, calls and random states as they are."""
    before = [ops.convert_to_numpy(seed).copy() for seed in state.seeds]
    with contextlib.ExitStack() as restore:
        restore.enter_context(_keras.kept_names())
        restore.enter_context(_keras.lower_case_einsum())
        restore.enter_context(drawing_alike())
        for layer in state.layers:
            restore.callback(_keras.restored_calls(layer))
        yield
    for seed, value in zip(state.seeds, before, strict=True):
        seed.assign(value)

"""LSUV: unit variance behind every weight layer, on a batch."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import backend
from fixinit._typing import Tensor
from fixinit.conversion import kinds
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.graph import Call, Graph
from fixinit.layers import facts_of
from fixinit.starts.started import DataStart

TOLERANCE, TRIES = 0.1, 10
# Of a standard deviation, relative to the size of the numbers: rounding alone.
_CONSTANT = 1e-6


def lsuv(model: keras.Model, x: Any, seed: int | None) -> DataStart:
    """See `fixinit.initialize_from_data`."""
    subject = Subject(model, x)
    arrays, _ = check_batch(subject, x, None)
    for array, spec in zip(arrays, subject.inputs, strict=True):
        if len(array) < 2 or np.all(array == array[:1]):
            raise ValueError(
                f"Argument `x` must hold different samples. Input `{spec.name}` holds "
                f"{len(array)}, all of them equal: no standard deviation follows. "
                "Pass a batch of the training data."
            )
    known = {id(v) for v in model.trainable_variables}
    run = _Run(known, np.random.default_rng(seed))
    # What is assigned inside of the scope leaves the model as it is.
    with backend.kept_random_state(), keras.StatelessScope() as scope:
        run.graph(subject.graph, [ops.convert_to_tensor(a) for a in arrays])
    if run.untouched:
        warnings.warn(
            "Layers whose kernels lie between activations of their own, which LSUV "
            f"leaves as they were drawn: {', '.join(run.untouched)}.",
            stacklevel=4,
        )
    for variable in model.trainable_variables:
        value = scope.get_current_value(variable)
        if value is not None and id(variable) in run.changed:
            variable.assign(value)
    return DataStart("lsuv", run.factors, run.before, run.after, tuple(run.kept))


class _Run:
    """One pass through a graph that scales every kernel when it comes to it.

    Args:
        known: Ids of the variables that may change.
        rng: `np.random.Generator` of the orthonormal draws.
    """

    def __init__(self, known: set[int], rng: np.random.Generator) -> None:
        self.known, self.rng = known, rng
        self.factors: dict[str, Any] = {}
        self.kept: list[str] = []
        self.untouched: list[str] = []
        self.changed: set[int] = set()
        self.done: set[int] = set()
        self.before = self.after = 0.0

    def graph(self, graph: Graph, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Runs the calls of a graph; its outputs."""
        fed = dict(zip(graph.inputs, inputs, strict=True))
        values: dict[int, Tensor] = {}
        for call in graph.calls:
            read = [values[i] for i in call.inputs]
            if call.is_input:
                given = [fed[call.outputs[0]]]
            elif call.body is not None:
                given = [self.stack(call, call.body, read[0])]
            else:
                self.scale(call, read)
                given = _outputs(call, read)
            values.update(zip(call.outputs, given, strict=True))
        return [values[i] for i in graph.outputs]

    def stack(self, call: Call, body: Graph, x: Tensor) -> Tensor:
        """Runs the blocks of a stack one by one, each with its own weights."""
        stack = call.operation
        template, stacked = stack.block.variables, stack.stacked_variables
        rows: list[list[Tensor]] = [[] for _ in stacked]
        own = {
            id(t) for t, s in zip(template, stacked, strict=True) if id(s) in self.known
        }
        inner = _Run(own, self.rng)
        for index in range(stack.depth):
            inner.done.clear()
            for variable, all_rows in zip(template, stacked, strict=True):
                variable.assign(all_rows.value[index])
            found, inner.factors = inner.factors, {}
            with _naming(inner, call.name, index):
                (x,) = inner.graph(body, [x])
            _append(found, inner.factors)
            inner.factors = found
            for variable, kept in zip(template, rows, strict=True):
                kept.append(ops.convert_to_tensor(variable.value))
        names = {t.path: s.path for t, s in zip(template, stacked, strict=True)}
        for variable, all_rows, new in zip(template, stacked, rows, strict=True):
            if id(variable) in inner.changed:
                all_rows.assign(ops.stack(new))
                self.changed.add(id(all_rows))
        self.factors |= {names.get(p, p): f for p, f in inner.factors.items()}
        self.kept += [names.get(p, p) for p in dict.fromkeys(inner.kept)]
        self.untouched += dict.fromkeys(inner.untouched)
        self.before = max(self.before, inner.before)
        self.after = max(self.after, inner.after)
        return x

    def scale(self, call: Call, read: Sequence[Tensor]) -> None:
        """Draws a layer's kernel and scales it to unit variance behind the layer."""
        layer = kinds.unwrapped(call.operation)
        arguments = facts_of(layer).kernels
        if not arguments:
            if call.has_weights:
                self.untouched.append(call.name)
            return
        kernel = kinds.kernel_of(layer, arguments[-1])
        size = kinds.kernel_of(layer, kinds.size_argument(layer))
        if id(size) not in self.known or id(size) in self.done:
            return
        self.done.add(id(size))
        if not _numpy(size).any() or not _numpy(kernel).any():
            self.kept.append(size.path)
            return
        with _without_activation(layer):
            self.before = max(self.before, abs(_checked_std(call, read) - 1))
            if id(kernel) in self.known:
                kernel.assign(self._orthonormal(kernel))
                self.changed.add(id(kernel))
            self.factors[size.path] = self._fitted(call, read, size)
        self.changed.add(id(size))

    def _fitted(self, call: Call, read: Sequence[Tensor], size: Any) -> float:
        """Scales a variable until the standard deviation is 1; the factor."""
        factor = 1.0
        for _ in range(TRIES):
            std = _std(call, read)
            if abs(std - 1) < TOLERANCE:
                self.after = max(self.after, abs(std - 1))
                return factor
            size.assign(ops.cast(size.value / std, size.dtype))
            factor /= std
        std = _std(call, read)
        if abs(std - 1) < TOLERANCE:
            self.after = max(self.after, abs(std - 1))
            return factor
        raise ValueError(
            f"Layer `{call.name}` gives a standard deviation of {std:.3g} after "
            f"{TRIES} rescalings of `{size.path}`, which does not set it. A bias or a "
            "constraint may. Nothing was changed."
        )

    def _orthonormal(self, kernel: Any) -> Tensor:
        seed = int(self.rng.integers(2**31))
        draw = keras.initializers.Orthogonal(seed=seed)
        shape = tuple(kernel.shape)
        return draw(shape if len(shape) > 1 else (1, *shape), kernel.dtype)


@contextlib.contextmanager
def _naming(run: Any, stack: str, index: int) -> Iterator[None]:
    """Names the stack and the block in errors."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"In block {index} of stack `{stack}`: {error}") from error


def _append(found: dict[str, Any], new: dict[str, float]) -> None:
    for path, factor in new.items():
        found.setdefault(path, []).append(factor)
    new.clear()
    new.update(found)


@contextlib.contextmanager
def _without_activation(layer: Any) -> Iterator[None]:
    """A context in which a layer gives what its activation reads."""
    activation = getattr(layer, "activation", None)
    if activation is None:
        yield
        return
    layer.activation = keras.activations.linear
    try:
        yield
    finally:
        layer.activation = activation


def _outputs(call: Call, read: Sequence[Tensor]) -> list[Tensor]:
    args, kwargs = call.fill(read)
    if isinstance(call.operation, keras.layers.Layer):
        kwargs = {**kwargs, "training": False}
    return tree.flatten(call.operation(*args, **kwargs))


def _std(call: Call, read: Sequence[Tensor]) -> float:
    """The standard deviation of what a layer gives, over all its numbers."""
    return float(_given(call, read).std())


def _checked_std(call: Call, read: Sequence[Tensor]) -> float:
    """The same, of a layer whose outputs depend on the sample."""
    y = _given(call, read)
    size = math.sqrt(np.mean(y**2))
    if float(y.std(axis=0).max()) <= _CONSTANT * size:
        raise ValueError(
            f"Layer `{call.name}` gives the same for all samples: the units that it "
            "reads are dead, or the data of `x` are constant. Draw the layers in front "
            "of it anew, or standardize the inputs. Nothing was changed."
        )
    return float(y.std())


def _given(call: Call, read: Sequence[Tensor]) -> np.ndarray:
    """What a layer gives, in float64."""
    y = _numpy(_outputs(call, read)[0]).astype("float64")
    if not np.isfinite(y).all():
        raise ValueError(
            f"Layer `{call.name}` gives NaN or infinity. Standardize `x`, or look for "
            "weights that are not finite. Nothing was changed."
        )
    return y


def _numpy(tensor: Any) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))

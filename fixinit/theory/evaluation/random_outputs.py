"""Calls that are run on random tensors of given moments."""

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import backend, graph
from fixinit._typing import Tensor
from fixinit.graph.copies import copied
from fixinit.graph.random_inputs import random_array
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.evaluation.samples import sample

BATCH, _DRAWS = 8, 4


class RandomCalls:
    """A call that is made several times, each time with other weights and inputs.

    A trainable layer is made again for every call, where its config describes it, with
    weights of its own. Other layers and operations are called as they are, and stay so.

    Args:
        call: `fixinit.graph.Call`.
        read: List of `Moments` of what it reads. Integers are 0 and 1 instead, which
            every vocabulary has.
        specs: List of `keras.KerasTensor`s, the shapes and dtypes of these; axes of
            unknown size have those of the moments.
        training: bool, for layers that have modes.
        operation: What is called, by default that of the call.
    """

    def __init__(
        self,
        call: graph.Call,
        read: Sequence[Moments],
        specs: Sequence[Any],
        training: bool = False,
        operation: Any = None,
    ) -> None:
        self._call, self._read, self._specs = call, read, specs
        self._operation = call.operation if operation is None else operation
        self._training = training

    def __iter__(self) -> Iterator[tuple[Callable[..., list[Tensor]], list[Tensor]]]:
        """Yields `(function, tensors)`: what the call computes, and of what.

        Raises:
            Exception: Whatever the layer raises.
        """
        rng = np.random.default_rng(0)
        with _kept_seeds():
            for _ in range(_DRAWS):
                tensors = self._tensors(rng)
                function = self._function()
                function(tensors)  # builds a new layer
                yield function, tensors

    def _tensors(self, rng: np.random.Generator) -> list[Tensor]:
        """What the call reads, drawn as independent tensors."""
        pairs = zip(self._read, self._specs, strict=True)
        return [drawn(x, spec, rng) for x, spec in pairs]

    def _function(self) -> Callable[[list[Tensor]], list[Tensor]]:
        operation, modes = self._operation, {}
        if isinstance(operation, keras.layers.Layer):
            modes = {"training": self._training}
            if operation.trainable:
                operation = again(operation)

        def function(tensors: list[Tensor]) -> list[Tensor]:
            args, kwargs = self._call.fill(tensors)
            with contextlib.ExitStack() as scopes:
                scopes.enter_context(backend.kept_random_state())
                if getattr(operation, "built", True):
                    scopes.enter_context(keras.StatelessScope())
                return tree.flatten(operation(*args, **{**kwargs, **modes}))

        return function


def outputs(calls: RandomCalls) -> list[np.ndarray]:
    """The outputs of random calls: arrays `(draws, batch, ...)`."""
    found = [
        [np.asarray(ops.convert_to_numpy(y), "float64") for y in function(tensors)]
        for function, tensors in calls
    ]
    return [np.stack(draws) for draws in zip(*found, strict=True)]


def again(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The layer with new weights, or as it is where no config describes it."""
    try:
        return copied(layer)
    except ValueError:
        return layer  # with the weights that it has


def drawn(x: Moments, spec: Any, rng: np.random.Generator) -> Tensor:
    """A random tensor of the moments of `x`, of the shape and dtype of a spec."""
    tail = (*x.shape, x.total_channels)
    batch = BATCH
    if len(spec.shape) > len(tail):
        batch = spec.shape[0] or BATCH
    if keras.backend.is_float_dtype(spec.dtype):
        array = sample(x, batch, rng)
    else:
        array = random_array((batch, *tail), spec.dtype, rng)
    if len(spec.shape) == len(tail):
        # Without an axis of the channels, or, for constants, of the batch.
        if spec.shape[0] is None and x.total_channels > 1:
            raise NoRuleError(
                f"the moments of a tensor of shape {tuple(spec.shape)} are known for "
                f"the shape {tail}, as if weights that it was made from had a batch."
            )
        array = array[..., 0] if spec.shape[0] is None else array[0]
    return ops.convert_to_tensor(array, spec.dtype)


@contextlib.contextmanager
def _kept_seeds() -> Iterator[None]:
    """Draws that are the same each time, and change nothing outside.

    Keras takes the seeds of initializers from Python's random numbers.
    """
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)

"""A model as a function of its inputs, with products of its Jacobian."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import backend
from fixinit._typing import Tensor
from fixinit.diagnostics._shared.finite import check_weights
from fixinit.diagnostics._shared.stateless import outputs_of
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch


class ModelFunction:
    """Function from a batch of inputs to a batch of outputs, all as rows of numbers.

    In inference mode every sample is a map of its own. In training mode, layers such
    as BatchNormalization couple the samples: there, the whole batch is one map, and
    one row.

    Args:
        model: `keras.Model`, built. It stays as it is.
        x: Batch of inputs, with a list or dict of arrays for several inputs.
        training: bool. Whether layers run in training mode.

    Attributes:
        training: bool.
        num_samples: int. Size of the batch.
        num_outputs_per_sample: int.
        count: int. The number of maps: `num_samples`, or 1 in training mode.
        num_inputs: int. The length of a row of inputs, n.
        num_outputs: int. The length of a row of outputs, m.

    Raises:
        TypeError: If the model has no graph, or inputs or outputs that are integers.
        ValueError: If the model is not built, or the batch or a weight is not finite.
    """

    def __init__(self, model: keras.Model, x: Any, training: bool = False) -> None:
        self._subject, self.training = Subject(model, x), bool(training)
        _check_floats(self._subject)
        self._x, _ = check_batch(self._subject, x, None)
        check_weights(model)
        self._vjp, self._jvp = backend.vector_products(self._outputs)
        # Of the batch, as specifications of inputs leave axes open.
        outputs = self.outputs()
        self._output_dtypes = [h.dtype for h in outputs]
        self.count = 1 if training else len(self._x[0])
        self._input_shapes = [h.shape[1:] for h in self._x]
        self._output_shapes = [h.shape[1:] for h in outputs]
        self.num_samples = len(self._x[0])
        self.num_outputs_per_sample = sum(map(_size, self._output_shapes))
        batch = self.num_samples // self.count
        self.num_inputs = batch * sum(map(_size, self._input_shapes))
        self.num_outputs = batch * self.num_outputs_per_sample

    def outputs(self) -> list[np.ndarray]:
        """Returns the model's outputs for the batch."""
        inputs = [ops.convert_to_tensor(h) for h in self._x]
        with backend.kept_random_state():
            outputs = self._outputs(inputs, *self._values())
        return [ops.convert_to_numpy(h) for h in outputs]

    def vjp(
        self, vectors: np.ndarray, rows: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """Computes J^T u for rows u of numbers, one per map or one for each of `rows`.

        Args:
            vectors: Array of shape `(count, m)`, or `(len(rows), m)`.
            rows: Indices of maps, in any number and order; all by default.

        Returns:
            Array of shape `(count, n)`, or `(len(rows), n)`.
        """
        kind = (self._output_shapes, self._output_dtypes)
        return self._product(self._vjp, vectors, kind, rows)

    def jvp(
        self, vectors: np.ndarray, rows: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """Computes J v: like `vjp`, from shape `(count, n)` to `(count, m)`."""
        kind = (self._input_shapes, [h.dtype for h in self._x])
        return self._product(self._jvp, vectors, kind, rows)

    def _product(
        self,
        multiply: Callable,
        vectors: np.ndarray,
        kind: tuple[list, list],
        rows: Sequence[int] | np.ndarray | None,
    ) -> np.ndarray:
        x = self._x if rows is None or self.training else [h[rows] for h in self._x]
        parts = _split(vectors, kind[0], len(x[0]))
        inputs = [ops.convert_to_tensor(h) for h in x]
        tensors = [
            ops.convert_to_tensor(v.astype(dtype))
            for v, dtype in zip(parts, kind[1], strict=True)
        ]
        with backend.kept_random_state():
            found = multiply(inputs, tensors, *self._values())
        found = [ops.convert_to_numpy(h).astype("float64") for h in found]
        flat = np.concatenate([h.reshape(len(h), -1) for h in found], axis=1)
        return flat.reshape(1 if self.training else len(flat), -1)

    def _values(self) -> tuple[list[Tensor], list[Tensor]]:
        model = self._subject.model
        trainable = [v.value for v in model.trainable_variables]
        return trainable, [v.value for v in model.non_trainable_variables]

    def _outputs(
        self,
        inputs: Sequence[Tensor],
        trainable: Sequence[Tensor],
        non_trainable: Sequence[Tensor],
    ) -> list[Tensor]:
        outputs = outputs_of(
            self._subject, inputs, trainable, non_trainable, self.training
        )
        return [_at_least_float32(h) for h in outputs]


def _check_floats(subject: Subject) -> None:
    for kind, tensors in (("Input", subject.inputs), ("Output", subject.outputs)):
        for tensor in tensors:
            dtype = keras.backend.standardize_dtype(tensor.dtype)
            if "float" not in dtype:
                raise TypeError(
                    f"{kind} `{tensor.name}` of model `{subject.model.name}` has dtype "
                    f"{dtype} and therefore no derivative. Measure a part of the "
                    "model that maps floats to floats, for tokens from behind their "
                    "embedding: keras.Model(embedding.output, model.output)."
                )


def _at_least_float32(tensor: Tensor) -> Tensor:
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return tensor if dtype == "float64" else ops.cast(tensor, "float32")


def _size(shape: Sequence[int]) -> int:
    return int(np.prod(shape))


def _split(
    vectors: np.ndarray, shapes: Sequence[Sequence[int]], batch: int
) -> list[np.ndarray]:
    """Splits rows of numbers into arrays of these shapes, for a whole batch."""
    vectors = vectors.reshape(batch, -1)
    ends = np.cumsum([_size(shape) for shape in shapes])[:-1]
    parts = np.split(vectors, ends, axis=1)
    return [h.reshape(batch, *s) for h, s in zip(parts, shapes, strict=True)]

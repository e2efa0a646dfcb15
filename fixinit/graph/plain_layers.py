"""The layers of Keras that Lambda layers amount to."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from fixinit import _keras, backend
from fixinit.graph.trials import OPEN_SIZES, tried
from fixinit.layers import ScaledAdd, facts_of

_NUMBERS = 256  # to compare, at least
# Of the largest output. `ops.gelu` and its approximation differ by 2e-4.
_TOLERANCE = 1e-6
_REACH = 12.0  # of the numbers: the tails of activations are among them
_FAR = (1e3, 1e6)  # what is clipped shows there
_NOT_FINITE = (np.nan, np.inf, -np.inf)
_WIDE = 2.0**40  # at which an offset hides no digit of a slope

_ACTIVATIONS = (
    *("relu", "leaky_relu", "relu6", "sigmoid", "hard_sigmoid", "tanh", "softplus"),
    *("softsign", "silu", "hard_silu", "elu", "selu", "gelu", "mish", "exponential"),
    *("log_sigmoid", "tanh_shrink", "hard_tanh", "hard_shrink", "soft_shrink"),
    *("squareplus", "sparse_sigmoid", "sparse_plus"),
)


def plain_layer(layer: Any, args: Any) -> keras.layers.Layer | None:
    """The layer of Keras or of the library that computes what a Lambda does.

    It has the name of the Lambda.

    Args:
        layer: Lambda layer.
        args: Tuple with the symbolic tensor, or the list of them, that it reads.

    Returns:
        `keras.layers.Layer`, or `None` if none of those tried computes the same.
    """
    if len(args) != 1:
        return None
    given = args[0] if isinstance(args[0], (list, tuple)) else [args[0]]
    if not all(isinstance(x, keras.KerasTensor) and "float" in x.dtype for x in given):
        return None
    if any(_keras.get_mask(x) is not None for x in given):
        return None  # which these layers pass on, and a Lambda does not
    batches = list(_batches([x.shape for x in given]))
    for made in _candidates(layer, batches[0], _shape_given(layer, given)):
        if all(_agree(layer, made, arrays) for arrays in batches):
            return made
    return None


def _batches(shapes: Sequence[Any]) -> Iterator[list[np.ndarray]]:
    """Yields arrays to compare on: of other sizes, far out, and not finite."""
    rng = np.random.default_rng(0)
    usual, other = OPEN_SIZES
    near = [(usual, _REACH), (other, _REACH)]
    for size, reach in [*near, *((usual, far) for far in _FAR)]:
        yield [reach * _drawn(shape, size, rng) for shape in shapes]
    last = [_drawn(shape, usual, rng) for shape in shapes]
    for array in last:
        some = array.reshape(-1)[:: len(_NOT_FINITE) + 2]
        some[:] = np.resize(_NOT_FINITE, some.shape)
    yield last


def _agree(layer: Any, made: Any, arrays: list[np.ndarray]) -> bool:
    """Whether two layers give the same, and have the same gradients."""
    expected, found = (_run(x, arrays) for x in (layer, made))
    if expected is None or found is None or not _are_equal(found, expected):
        return False
    if not all(np.all(np.isfinite(x)) for x in arrays):
        return True
    first, second = (_gradients(x, arrays, expected.shape) for x in (layer, made))
    if first is None or second is None:
        return False
    return all(map(_are_equal, first, second))


def _shape_given(layer: Any, read: Sequence[Any]) -> Any:
    """The shape that a Lambda gives for some tensors, `None` if that is not known."""
    for node in _keras.calls_of(layer):
        if [x.shape for x in node.input_tensors] == [x.shape for x in read]:
            return node.outputs[0].shape
    return None


def _candidates(
    layer: Any, arrays: list[np.ndarray], shape: Any
) -> Iterator[keras.layers.Layer]:
    """Yields layers that may compute what a Lambda does, by its facts."""
    facts = facts_of(layer)
    options = {"name": layer.name, "dtype": layer.dtype_policy}
    if len(arrays) > 1:
        yield from _merges(facts, options)
    elif facts.activates:
        for name in _ACTIVATIONS:
            yield layers.Activation(name, **options)
        slope = -_value(layer, arrays[0], -1.0)
        if 0 < slope < 1:
            yield layers.LeakyReLU(slope, **options)
    elif facts.multiplies:
        offset = _value(layer, arrays[0], 0.0)
        high, low = (_value(layer, arrays[0], x) for x in (_WIDE, -_WIDE))
        scale = (high - low) / (2 * _WIDE)
        yield layers.Rescaling(float(f"{scale:.7g}"), offset, **options)
    elif facts.linear and shape is not None:
        yield from _moves(arrays[0].ndim, shape, options)


def _moves(
    rank: int, shape: Sequence[int | None], options: dict[str, Any]
) -> Iterator[keras.layers.Layer]:
    """Yields layers that move numbers, or average them over space."""
    sizes = shape[1:]
    if sizes.count(None) <= 1:
        yield layers.Reshape([n or -1 for n in sizes], **options)
    if len(shape) == rank and rank > 2:
        for order in itertools.permutations(range(1, rank)):
            yield layers.Permute(order, **options)
    pooling = getattr(layers, f"GlobalAveragePooling{rank - 2}D", None)
    if pooling is not None:
        keeps = len(shape) == rank
        yield pooling("channels_last", keepdims=keeps, **options)


def _merges(facts: Any, options: dict[str, Any]) -> Iterator[keras.layers.Layer]:
    """Yields the layers that join several tensors as some facts say."""
    if facts.adds and facts.factors is None:
        yield layers.Add(**options)
    elif facts.adds and len(facts.factors) == 2:
        if facts.factors == (1.0, -1.0):
            yield layers.Subtract(**options)
        yield ScaledAdd(*facts.factors, **options)
    elif facts.multiplies:
        yield layers.Multiply(**options)
    elif facts.joins:
        for kind in (layers.Average, layers.Maximum, layers.Minimum):
            yield kind(**options)


def _drawn(shape: Any, size: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers in [-1, 1]."""
    sizes = [n or size for n in shape[1:]]
    batch = shape[0] or max(2, -(-_NUMBERS // int(np.prod(sizes))))
    return rng.uniform(-1, 1, (batch, *sizes)).astype("float32")


def _value(layer: Any, like: np.ndarray, point: float) -> float:
    """The value of an element-wise layer at one point."""
    found = _run(layer, [np.full_like(like, point)])
    return 0.0 if found is None else float(found.flat[0])


def _run(layer: Any, arrays: list[np.ndarray]) -> np.ndarray | None:
    tensors = [ops.convert_to_tensor(x) for x in arrays]
    given = tried(lambda: layer(tensors if len(tensors) > 1 else tensors[0]))
    return None if given is None or len(given) != 1 else given[0]


def _gradients(
    layer: Any, arrays: list[np.ndarray], shape: Sequence[int]
) -> list[np.ndarray] | None:
    """The gradients of a random mean of the outputs with respect to the inputs."""
    drawn = np.random.default_rng(0).standard_normal(shape)
    weights = ops.convert_to_tensor(drawn, "float32")

    def total(tensors: list[Any]) -> Any:
        y = layer(tensors if len(tensors) > 1 else tensors[0])
        return ops.sum(ops.cast(y, "float32") * weights)

    differentiated = backend.value_and_gradients(total, compiles=False)
    tensors = [ops.convert_to_tensor(x) for x in arrays]
    return tried(lambda: differentiated(tensors)[1])


def _are_equal(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    size = float(np.max(np.abs(b), initial=0, where=np.isfinite(b)))
    tolerance = {"rtol": _TOLERANCE, "atol": _TOLERANCE * size}
    return np.allclose(a, b, equal_nan=True, **tolerance)

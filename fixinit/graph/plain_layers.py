"""The layers of Keras that Lambda layers amount to."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from fixinit import _keras
from fixinit.graph.trials import tried
from fixinit.layers import ScaledAdd, facts_of

_NUMBERS, _OPEN = 256, 8  # to compare, at least, and the size of open axes
# Of the largest output. `ops.gelu` and its approximation differ by 2e-4.
_TOLERANCE = 1e-6
_REACH = 12.0  # of the numbers: the tails of activations are among them

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
    rng = np.random.default_rng(0)
    arrays = [_drawn(x.shape, rng) for x in given]
    expected = _run(layer, arrays)
    if expected is None:
        return None
    for made in _candidates(layer, arrays, _shape_given(layer, given)):
        found = _run(made, arrays)
        if found is not None and _are_equal(found, expected):
            return made
    return None


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
        scale = _value(layer, arrays[0], 1.0) - offset
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


def _drawn(shape: Any, rng: np.random.Generator) -> np.ndarray:
    sizes = [n or _OPEN for n in shape[1:]]
    batch = shape[0] or max(2, -(-_NUMBERS // int(np.prod(sizes))))
    return rng.uniform(-_REACH, _REACH, (batch, *sizes)).astype("float32")


def _value(layer: Any, like: np.ndarray, point: float) -> float:
    """The value of an element-wise layer at one point."""
    found = _run(layer, [np.full_like(like, point)])
    return 0.0 if found is None else float(found.flat[0])


def _run(layer: Any, arrays: list[np.ndarray]) -> np.ndarray | None:
    tensors = [ops.convert_to_tensor(x) for x in arrays]
    given = tried(lambda: layer(tensors if len(tensors) > 1 else tensors[0]))
    return None if given is None or len(given) != 1 else given[0]


def _are_equal(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    size = float(np.max(np.abs(b), initial=0))
    return np.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE * size)

"""Singular values of a model's Jacobian: how it stretches changes of its input."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fixinit._checked import checked
from fixinit._validation import check_number, check_positive_int, check_seed
from fixinit.diagnostics.geometry.lanczos import Bidiagonalization
from fixinit.diagnostics.geometry.model_function import ModelFunction

# Rows that go through the model at once where the whole Jacobian is computed.
_CHUNK = 64


@dataclasses.dataclass(frozen=True)
class JacobianSpectrum:
    """Singular values of a model's Jacobian, for every sample.

    Example:

    >>> values = np.array([[4.0, 2.0]])
    >>> spectrum = fixinit.diagnostics.JacobianSpectrum(
    ...     values, errors=0 * values, mean_square=np.array([10.0]), complete=True
    ... )
    >>> spectrum.condition_number.tolist()
    [2.0]

    Attributes:
        singular_values: Array of shape `(count, k)`, from large to small. All
            `min(m, n)` of them where `complete`, the `k` at either end otherwise, which
            makes `2 k`: those beyond what was found are NaN.
        errors: Array of the same shape, bounds on the error of each by itself: 0 where
            `complete`, but for the rounding of float32.
        mean_square: Array `(count,)`: the mean of the squares of all `min(m, n)`
            singular values, which is 1 for an isometry. Where not `complete`, an
            unbiased estimate from one random vector.
        complete: bool. Whether these are all singular values.
    """

    singular_values: np.ndarray
    errors: np.ndarray
    mean_square: np.ndarray
    complete: bool

    @property
    def largest(self) -> np.ndarray:
        """Array `(count,)`: the largest singular value."""
        return self.singular_values[:, 0]

    @property
    def smallest(self) -> np.ndarray:
        """Array `(count,)`: the smallest; where not `complete`, an upper bound."""
        return self.singular_values[:, -1]

    @property
    def condition_number(self) -> np.ndarray:
        """Array `(count,)`: the largest over the smallest singular value."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.largest / self.smallest


@checked
def jacobian_spectrum(
    model: keras.Model,
    x: Any,
    num_extremes: int = 1,
    complete_up_to: int = 512,
    tolerance: float = 0.01,
    max_iterations: int = 100,
    training: bool = False,
    seed: int = 0,
) -> JacobianSpectrum:
    """Computes the singular values of a model's Jacobian.

        J = dy/dx,    J = U diag(s_1, ..., s_min(m, n)) V^T

    A change of the input grows at most by the factor s_1 on its way to the output, and
    a gradient on its way back. A network is trainable at great depth where all of them
    stay near 1 (dynamical isometry).

    Small Jacobians are computed in full. Of others, the values at both ends of the
    spectrum are found by Golub-Kahan-Lanczos bidiagonalization, from products of J and
    J^T with vectors. The large ones come fast; the small ones come slowly where
    many are close to 0, and what is returned is above the truth until then:
    `errors` says how sure each of them is. A value that occurs more than once is found
    once.

    For the Jacobian between two places inside of a model, make a model of that part,
    `keras.Model(start.output, end.output)`. Networks whose last layer starts at zero,
    as Fixup's, have a Jacobian of zero otherwise.

    Example:

    >>> inputs = keras.Input((4,))
    >>> layer = keras.layers.Dense(4, kernel_initializer="orthogonal")
    >>> model = keras.Model(inputs, layer(inputs))
    >>> spectrum = fixinit.diagnostics.jacobian_spectrum(model, np.ones((2, 4)))
    >>> bool(np.allclose(spectrum.singular_values, 1, atol=1e-5))
    True

    Args:
        model: `keras.Model`, built. It stays as it is.
        x: Batch of inputs, floating-point: each sample has a Jacobian of its own. With
            several inputs or outputs, those of a sample are one long vector.
        num_extremes: int. How many values at either end of the spectrum must be within
            `tolerance`, where it is not computed in full.
        complete_up_to: int. Jacobians with `min(m, n)` up to this are computed in full.
        tolerance: float. Largest error, relative to the value itself.
        max_iterations: int. Number of pairs of products after which it ends anyway.
        training: bool. `True` runs the model in training mode, in which layers such
            as BatchNormalization couple the samples: the batch then has one Jacobian,
            of all outputs by all inputs.
        seed: int. Of the vector that the iteration starts from.

    Returns:
        `JacobianSpectrum`, with `count` one per sample, or 1 in training mode.

    Raises:
        TypeError: If the model has no graph, or integers as inputs or outputs.
        ValueError: If an argument is outside its range, if the inputs or the weights
            are not finite, or if the Jacobian overflows.

    References:

    - [Pennington, Schoenholz and Ganguli, 2017](https://arxiv.org/abs/1711.04735)
    - [Golub and Kahan, 1965](https://doi.org/10.1137/0702016)
    """
    check_positive_int("num_extremes", num_extremes)
    check_positive_int("complete_up_to", complete_up_to, minimum=0)
    check_positive_int("max_iterations", max_iterations)
    check_seed("seed", seed)
    check_number("tolerance", tolerance, "a positive number", lambda t: t > 0)
    function = ModelFunction(model, x, training)
    if min(function.num_inputs, function.num_outputs) <= complete_up_to:
        return _complete(function)
    return _extremes(function, num_extremes, tolerance, max_iterations, seed)


def _complete(function: ModelFunction) -> JacobianSpectrum:
    values = np.linalg.svd(whole_jacobian(function), compute_uv=False)
    mean_square = np.mean(values**2, axis=1)
    return JacobianSpectrum(values, np.zeros_like(values), mean_square, True)


def whole_jacobian(function: ModelFunction) -> np.ndarray:
    """Computes the Jacobians of a function, an array of shape `(count, m, n)`."""
    by_outputs = function.num_outputs <= function.num_inputs
    size = min(function.num_outputs, function.num_inputs)
    multiply = function.vjp if by_outputs else function.jvp
    basis = np.eye(size)
    # In inference mode, unit vectors of many samples share one pass.
    step = 1 if function.training else _CHUNK
    pairs = [(i, j) for i in range(function.count) for j in range(size)]
    rows = []
    for start in range(0, len(pairs), step):
        chunk = pairs[start : start + step]
        # Always of one shape, so that nothing is compiled twice.
        filled = chunk + chunk[:1] * (min(step, len(pairs)) - len(chunk))
        i, j = np.array(filled).T
        rows.append(_checked(multiply(basis[j], i))[: len(chunk)])
    found = np.concatenate(rows).reshape(function.count, size, -1)
    return found if by_outputs else np.swapaxes(found, 1, 2)


def _extremes(
    function: ModelFunction,
    num_extremes: int,
    tolerance: float,
    max_iterations: int,
    seed: int,
) -> JacobianSpectrum:
    size = min(function.num_inputs, function.num_outputs)
    products = [function.jvp, function.vjp]
    if function.num_outputs < function.num_inputs:
        products.reverse()
    multiply, transposed = (_with_check(product) for product in products)
    rng = np.random.default_rng(seed)
    # Unit entries: the squared length of their product is unbiased, and varies least.
    start = rng.choice([-1.0, 1.0], size=(function.count, size))
    lanczos = Bidiagonalization(multiply, transposed, start)
    mean_square = lanczos.first_length**2
    for _ in range(min(max_iterations, size) - 1):
        values, errors = _ends(*lanczos.singular_values(), num_extremes)
        if lanczos.exhausted or np.all(errors <= tolerance * values):
            break
        lanczos.step()
    values, errors = _ends(*lanczos.singular_values(), num_extremes)
    return JacobianSpectrum(values, errors, mean_square, False)


def _ends(
    values: list[np.ndarray], errors: list[np.ndarray], num: int
) -> tuple[np.ndarray, np.ndarray]:
    """Takes the first and the last `num` of each, NaN where there are fewer."""
    return _ends_of(values, num), _ends_of(errors, num)


def _ends_of(rows: list[np.ndarray], num: int) -> np.ndarray:
    ends = [(_padded(row, num), _padded(row[::-1], num)[::-1]) for row in rows]
    return np.stack([np.concatenate(pair) for pair in ends])


def _padded(row: np.ndarray, num: int) -> np.ndarray:
    return np.pad(row[:num], (0, max(0, num - len(row))), constant_values=np.nan)


def _with_check(
    product: Callable[[np.ndarray], np.ndarray],
) -> Callable[[np.ndarray], np.ndarray]:
    return lambda vectors: _checked(product(vectors))


def _checked(products: np.ndarray) -> np.ndarray:
    if np.isfinite(products).all():
        return products
    raise ValueError(
        "The Jacobian of `model` overflows float32: a gradient exceeds 3e38 on its way "
        "through. Measure fewer layers at once, keras.Model(start.output, "
        "end.output), or build the model in float64: "
        "keras.config.set_floatx('float64')."
    )

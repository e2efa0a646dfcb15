"""Softmax of many rows of independent logits, of which most are alike."""

import functools

import numpy as np

from fixinit.theory.gaussian import quadrature
from fixinit.theory.gaussian.sums_of_exponentials import probabilities

# Below this variance of logits the first order is enough.
_SMALL = 1e-3
# Logits of one row are sorted into so many groups at most.
_MOST_GROUPS = 24
_NODES = 5


def softmax_rows(
    mean: np.ndarray,
    variance: np.ndarray,
    seen: np.ndarray,
    counts: np.ndarray,
    dim: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and mean square of the probabilities of every logit, and their slopes.

    Example:

    >>> from fixinit.theory.calculus.softmax_rows import softmax_rows
    >>> seen, logits = np.array([[True, True, False]]), np.zeros((1, 3))
    >>> p, p2, slope = softmax_rows(logits, logits, seen, np.ones(3))
    >>> p.tolist(), p2.tolist()
    ([[0.5, 0.5, 0.0]], [[0.25, 0.25, 0.0]])

    Args:
        mean, variance: Arrays `(..., S)`, of independent Gaussian logits.
        seen: Bool array `(..., S)`. Logits that are left out have the probability 0. In
            a row without any, all count, as behind a mask of large negative numbers.
        counts: Array `(S,)`, how many logits each of them stands for.
        dim: int. The variances of a row are those of a product with a vector of so many
            Gaussian numbers, whose length varies; by default they are as given.

    Returns:
        Three arrays `(..., S)`, the last one `E[(dp_i / dh_s)^2]` summed over i.
    """
    shape = np.broadcast_shapes(mean.shape, variance.shape, seen.shape)
    rows = [
        np.broadcast_to(a, shape).reshape(-1, shape[-1]) for a in (mean, variance, seen)
    ]
    keys = np.concatenate(
        [quadrature.rounded(rows[0], 6), quadrature.rounded(rows[1], 6), rows[2]], 1
    )
    _, index, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    found = [_row(rows[0][i], rows[1][i], rows[2][i], counts, dim) for i in index]
    p, p2, slope = (
        np.stack(values)[inverse.ravel()].reshape(shape)
        for values in zip(*found, strict=True)
    )
    return p, p2, slope


def _row(
    mean: np.ndarray,
    variance: np.ndarray,
    seen: np.ndarray,
    counts: np.ndarray,
    dim: int | None,
) -> np.ndarray:
    if not seen.any():
        seen = np.ones_like(seen)
    result = np.zeros((3, len(mean)))
    keys, inverse = np.unique(
        np.stack([_grouped(mean[seen]), _grouped(variance[seen])]),
        axis=1,
        return_inverse=True,
    )
    inverse = inverse.ravel()
    sizes = np.bincount(inverse, counts[seen])
    found = _groups(*(tuple(v.tolist()) for v in (sizes, *keys)), dim)
    result[:, seen] = found[:, inverse]
    return result


def _grouped(values: np.ndarray) -> np.ndarray:
    """Values of which not too many differ."""
    rounded = quadrature.rounded(values, 6)
    if len(np.unique(rounded)) <= _MOST_GROUPS:
        return rounded
    order = np.argsort(rounded)
    result = np.empty_like(rounded)
    for part in np.array_split(order, _MOST_GROUPS):
        result[part] = rounded[part].mean()
    return result


@functools.lru_cache(maxsize=4096)
def _groups(
    sizes: tuple[float, ...],
    means: tuple[float, ...],
    variances: tuple[float, ...],
    dim: int | None,
) -> np.ndarray:
    """Mean, mean square and slope of a logit of every group: array `(3, groups)`."""
    n, m, v = np.array(sizes), np.array(means), np.array(variances)
    total = n.sum()
    if total <= 1:
        return np.array([[1.0], [1.0], [0.0]]) * np.ones(len(n))
    if np.ptp(m) == 0 and v.max() < _SMALL:
        p = np.full(len(n), 1 / total)
        square = p**2 * (1 + v * (1 - 1 / total))
        return np.stack([p, square, square * (1 - 1 / total)])
    result = np.zeros((3, len(n)))
    for factor, weight in _lengths(dim):
        found = probabilities(n, m, np.sqrt(factor * v))
        slope = found.slope.sum(axis=0)
        result += weight * np.stack([found.mean, found.square, slope])
    return result


@functools.lru_cache(maxsize=64)
def _lengths(dim: int | None) -> list[tuple[float, float]]:
    """Nodes and weights of `|g|^2 / dim` for a Gaussian vector g of `dim` numbers."""
    if dim is None or dim > 512:
        return [(1.0, 1.0)]
    # Gauss-Laguerre nodes of the gamma distribution, eigenvalues of a matrix.
    alpha = dim / 2 - 1
    k = np.arange(_NODES)
    below = np.sqrt(k[1:] * (k[1:] + alpha))
    matrix = np.diag(2 * k + alpha + 1) + np.diag(below, 1) + np.diag(below, -1)
    nodes, vectors = np.linalg.eigh(matrix)
    return list(zip(2 * nodes / dim, vectors[0] ** 2, strict=True))

"""Extreme singular values of matrices by their products with vectors.

`scipy.sparse.linalg.svds` would serve a single matrix. This iteration is by hand for
two reasons. It multiplies with the Jacobians of all samples of a batch in one pass of
the model, where `svds` would make a pass for each. And it stops by a bound on the error
of every single value, which it returns; `svds` returns none, and by default works on
A^T A, in which rounding in float32 hides the small end of a spectrum.
"""

from collections.abc import Callable

import numpy as np

# Multiplies every matrix with its own vector, a row of an array.
Product = Callable[[np.ndarray], np.ndarray]

# Below this part of the largest entry, a float32 product is rounding.
_ROUNDING = 1e-6


class Bidiagonalization:
    """Golub-Kahan-Lanczos bidiagonalization of several matrices side by side.

        A V = U B,    A^T U = V B^T + r e_k^T

    with orthonormal columns in U and V, and B upper bidiagonal. The singular values of
    B approach those of A from the ends of the spectrum. Every one of them is within
    `|r|` times the last entry of its left singular vector of one of A. Vectors are
    kept orthogonal to all before them, in float64.

    Args:
        multiply: Callable from an array of shape `(count, n)` to `(count, m)`: A v for
            each of the matrices.
        multiply_transposed: Callable from `(count, m)` to `(count, n)`.
        start: Array of shape `(count, n)`: the first column of V, of any length. With
            n > m it would lie in part in the null space, and 0 would be found.
    """

    def __init__(
        self, multiply: Product, multiply_transposed: Product, start: np.ndarray
    ) -> None:
        self._multiply, self._multiply_transposed = multiply, multiply_transposed
        self._v = [_normalized(start)[0]]
        u, alpha = _normalized(multiply(self._v[0]))
        self._u, self._alphas = [u], [alpha]
        self._betas: list[np.ndarray] = []
        self._expand()

    @property
    def first_length(self) -> np.ndarray:
        """Array `(count,)`: the length of A v for the first column v of V."""
        return self._alphas[0]

    @property
    def exhausted(self) -> bool:
        """Whether no further step can find anything, for any of the matrices."""
        return bool(np.all(np.min(self._betas, axis=0) == 0))

    def _expand(self) -> None:
        """Appends the part of A^T u that is new as the next column of V."""
        new = self._multiply_transposed(self._u[-1])
        v, beta = _normalized(_orthogonal(new, self._v), self._rounding())
        self._v.append(v)
        self._betas.append(beta)

    def _rounding(self) -> np.ndarray:
        entries = [*self._alphas, *self._betas]
        return _ROUNDING * np.max(entries, axis=0)

    def step(self) -> None:
        """Extends every B by one row and column."""
        new = self._multiply(self._v[-1])
        u, alpha = _normalized(_orthogonal(new, self._u), self._rounding())
        self._u.append(u)
        self._alphas.append(alpha)
        self._expand()

    def singular_values(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns `(values, errors)` of each matrix: lists of descending arrays."""
        found = [self._of_one(i) for i in range(len(self._alphas[0]))]
        return [values for values, _ in found], [errors for _, errors in found]

    def _of_one(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        alphas = np.array([alpha[index] for alpha in self._alphas])
        betas = np.array([beta[index] for beta in self._betas])
        # A vanished beta ends it: V spans a space that A^T A maps into itself.
        size = int(np.argmax(betas == 0)) + 1 if (betas == 0).any() else len(betas)
        matrix = np.diag(alphas[:size]) + np.diag(betas[: size - 1], 1)
        left, values, _ = np.linalg.svd(matrix)
        return values, betas[size - 1] * np.abs(left[-1])


def _normalized(
    vectors: np.ndarray, least: float | np.ndarray = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors and their lengths; both are 0 where those are not above `least`."""
    lengths = np.linalg.norm(vectors, axis=1)
    lengths = np.where(lengths > least, lengths, 0.0)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return vectors * scale[:, None], lengths


def _orthogonal(vectors: np.ndarray, columns: list[np.ndarray]) -> np.ndarray:
    basis = np.stack(columns)
    # Twice is enough: once leaves what cancellation has left.
    for _ in range(2):
        parts = np.einsum("kbn,bn->bk", basis, vectors)
        vectors = vectors - np.einsum("bk,kbn->bn", parts, basis)
    return vectors

import numpy as np
import pytest

from fixinit.diagnostics.geometry.lanczos import Bidiagonalization

RNG = np.random.default_rng(0)


def bidiagonalized(matrices, steps):
    """After `steps` products of each of the matrices."""
    lanczos = Bidiagonalization(
        lambda v: np.einsum("bmn,bn->bm", matrices, v),
        lambda u: np.einsum("bmn,bm->bn", matrices, u),
        RNG.normal(size=(len(matrices), matrices.shape[2])),
    )
    for _ in range(steps - 1):
        lanczos.step()
    return lanczos


def test_as_many_steps_as_columns_give_all_singular_values():
    matrices = RNG.normal(size=(3, 7, 5))
    values, errors = bidiagonalized(matrices, 5).singular_values()
    np.testing.assert_allclose(values, np.linalg.svd(matrices)[1], rtol=1e-8)
    assert np.max(errors) < 1e-8


def test_every_value_is_within_its_error_of_one_of_the_matrix():
    matrices = RNG.normal(size=(2, 60, 50))
    found = bidiagonalized(matrices, 12).singular_values()
    for values, errors, exact in zip(*found, np.linalg.svd(matrices)[1], strict=True):
        distance = np.abs(values[:, None] - exact).min(axis=1)
        assert np.all(distance <= errors + 1e-10)
        assert values[0] <= exact[0] and values[-1] >= exact[-1]
        assert errors[0] < 0.1 * values[0]


@pytest.mark.parametrize("scale", [0.0, 3.0])
def test_ends_where_nothing_new_is_found(scale):
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    lanczos = bidiagonalized(scale * rotation[None], 1)
    assert lanczos.exhausted
    for _ in range(3):
        lanczos.step()
    (values,), (errors,) = lanczos.singular_values()
    np.testing.assert_allclose(values, [scale], rtol=1e-10)
    assert errors.tolist() == [0]


def test_matrices_end_by_themselves():
    full = np.diag([1.0, 2.0, 3.0])
    lanczos = bidiagonalized(np.stack([np.eye(3), full]), 3)
    short, long = lanczos.singular_values()[0]
    np.testing.assert_allclose(short, [1])
    np.testing.assert_allclose(long, [3, 2, 1])

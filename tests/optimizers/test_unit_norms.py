"""Clipping of single gradients against the formula in float64."""

import keras
import numpy as np
import pytest

from fixinit.optimizers import unit_norms
from tests.optimizers.clipping import reference

FACTOR, EPSILON = 0.02, 1e-3


def clip(gradients, weights, units, dtype="float32"):
    variables = [keras.Variable(w, dtype=dtype) for w in weights]
    tensors = [keras.ops.convert_to_tensor(g, dtype) for g in gradients]
    found = unit_norms.clip_units(tensors, variables, units, FACTOR, EPSILON)
    assert all(keras.backend.standardize_dtype(f.dtype) == dtype for f in found)
    return [keras.ops.convert_to_numpy(keras.ops.cast(f, "float32")) for f in found]


def drawn(shape, count=3):
    """Gradients whose units are from far too long to short enough, and weights."""
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-4, 2, (count, *shape[:-1], shape[-1]))
    gradients = rng.standard_normal((count, *shape)) * sizes
    weights = rng.standard_normal((count, *shape)) * 10.0 ** rng.uniform(-4, 1)
    return gradients.astype("float32"), weights.astype("float32")


@pytest.mark.parametrize(
    ("shape", "units"),
    [
        ((), ()),
        ((7,), ()),
        ((4, 5), (1,)),
        ((4, 5), (0,)),
        ((3, 3, 4, 5), (3,)),
        ((3, 3, 4, 2), (2, 3)),
        ((4, 2, 5), (1, 2)),
        ((6, 3, 3, 2, 4), (0, 4)),
        ((6,), (0,)),
    ],
)
def test_formula(shape, units):
    """Alike whether gradients are clipped alone or with others of their shape."""
    gradients, weights = drawn(shape or (1,))
    gradients, weights = (x.reshape(3, *shape) for x in (gradients, weights))
    within = tuple(axis for axis in range(len(shape)) if axis not in units)
    fused = clip(gradients, weights, [units] * 3)
    for gradient, weight, found in zip(gradients, weights, fused, strict=True):
        expected = reference(gradient, weight, within, FACTOR)
        np.testing.assert_allclose(found, expected, rtol=2e-6)
        (alone,) = clip([gradient], [weight], [units])
        np.testing.assert_allclose(alone, expected, rtol=2e-6)


def test_gradients_that_are_short_enough_keep_every_bit():
    weight = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")
    gradient = (0.9 * FACTOR * weight).astype("float32")
    zero = np.zeros_like(gradient)
    short, still = clip([gradient, zero], [weight, weight], [(1,)] * 2)
    assert (short == gradient).all() and (still == 0).all()


def test_each_gradient_has_its_own_units_or_none():
    gradients, weights = drawn((4, 4))
    found = clip(gradients, weights, [(1,), None, (0,)])
    assert (found[1] == gradients[1]).all()
    for index, within in ((0, 0), (2, 1)):
        expected = reference(gradients[index], weights[index], within, FACTOR)
        np.testing.assert_allclose(found[index], expected, rtol=2e-6)


def test_large_gradients_are_clipped_alone(monkeypatch):
    gradients, weights = drawn((4, 5))
    together = clip(gradients, weights, [(1,)] * 3)
    monkeypatch.setattr(unit_norms, "LARGEST_FUSED", 1)
    alone = clip(gradients, weights, [(1,)] * 3)
    np.testing.assert_allclose(together, alone, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-25, 1e15, 3e30])
def test_squares_neither_overflow_nor_underflow(size):
    gradients, weights = drawn((4, 5), count=1)
    gradients = gradients / np.abs(gradients).max() * np.float32(size)
    (found,) = clip(gradients, weights, [(1,)])
    expected = reference(gradients[0], weights[0], 0, FACTOR)
    np.testing.assert_allclose(found, expected, rtol=2e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_seen(value):
    gradient, weight = np.ones((4, 3), "float32"), np.ones((4, 3), "float32")
    gradient[1, 2] = value
    (found,) = clip([gradient], [weight], [(1,)])
    assert not np.isfinite(found[1, 2])
    np.testing.assert_allclose(found[:, :2], FACTOR, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_measures_in_float32(dtype):
    """In float16, the norm of 10,000 numbers of 100 is infinite."""
    gradient, weight = np.full((10_000, 2), 100.0), np.ones((10_000, 2))
    (found,) = clip([gradient], [weight], [(1,)], dtype)
    np.testing.assert_allclose(found, FACTOR, rtol=1e-2)

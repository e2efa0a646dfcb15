"""Carried states, against the recursion on random numbers."""

import numpy as np
import pytest

from fixinit.theory.calculus.carrying import carry
from fixinit.theory.calculus.moments import Moments


def paths(count, steps, rng):
    """`c_t = f_t c_(t-1) + n_t` for uniform factors and additions with a mean."""
    c, found = np.zeros(count), []
    for _ in range(steps):
        factor = rng.uniform(0, 1, count)
        c = factor * c + 0.3 + rng.standard_normal(count)
        found.append(c)
    return np.stack(found)


@pytest.mark.parametrize("backwards", [False, True])
def test_moments_of_all_steps(backwards):
    steps, count = 5, 400_000
    c = paths(count, steps, np.random.default_rng(0))
    factor = Moments.inputs((steps, 1), 0.5, 1 / 12)
    y = carry(factor, Moments.inputs((steps, 1), 0.3, 1.0), backwards=backwards)
    order = slice(None, None, -1 if backwards else 1)
    expected = (c @ c.T / count)[order, order]
    assert y.mean[0] == pytest.approx(c.mean(1)[order], abs=0.01)
    # Products of numbers of size 1.5 vary by 3 at most: 4 * 3 / sqrt(count).
    assert y.same[0].reshape(steps, steps) == pytest.approx(expected, abs=0.02)


def test_a_start_is_carried_on():
    half, nothing = (Moments.inputs((3, 8), m, 0.0) for m in (0.5, 0.0))
    y = carry(half, nothing, Moments.inputs((8,), variance=2.0))
    assert y.squares[0] == pytest.approx([0.5, 0.125, 0.03125])


def test_gradients_go_back_along_the_steps():
    half, new = Moments.inputs((3, 8), 0.5, 0.0), Moments.inputs((3, 8))
    y = carry(half, new)
    assert y.node.pull is not None
    to_factor, to_new = y.node.pull(np.array([[0.0, 0.0, 1.0]]))
    assert to_new[0] == pytest.approx([1 / 16, 1 / 4, 1])
    assert to_factor[0] == pytest.approx([0, 1 / 4, 1.25])  # times what was carried

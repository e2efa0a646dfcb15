"""Probabilities and their logarithms, against samples."""

import numpy as np
import pytest
from scipy import special

from fixinit.theory import Moments, calculus
from fixinit.theory.calculus import backward


def samples(count, variance, mean=0.0, size=400_000):
    rng = np.random.default_rng(0)
    shape = max(size // count, 2000), count
    return mean + np.sqrt(variance) * rng.standard_normal(shape)


def gradient(y, x):
    return float(backward.gradients([y])[x.node.serial].flat[0])


@pytest.mark.parametrize("variance", [0.1, 1.0, 3.0, 10.0, 30.0])
@pytest.mark.parametrize("count", [1, 2, 3, 10, 100, 1000])
def test_probabilities_of_any_number_of_classes(count, variance):
    x = Moments.inputs((count,), 0.5, variance)
    y = calculus.softmax(x)
    p = special.softmax(samples(count, variance, 0.5), axis=-1)
    assert y.mean_value == pytest.approx(1 / count, rel=1e-6)
    assert y.mean_square <= 1 / count * (1 + 1e-9)
    assert y.mean_square == pytest.approx(np.mean(p**2), rel=0.05)
    assert y.correlation == pytest.approx(1 / count**2 / y.mean_square)
    # dp_i / dh_j = p_i (delta_ij - p_j)
    total = np.sum(p**2, axis=-1, keepdims=True)
    slope = np.mean(p**2 * (1 - 2 * p + total))
    assert gradient(y, x) == pytest.approx(slope, rel=0.1, abs=1e-12)


@pytest.mark.parametrize("variance", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("count", [1, 2, 10, 1000])
def test_logarithms_of_probabilities(count, variance):
    x = Moments.inputs((count,), -1.0, variance)
    y = calculus.log_softmax(x)
    h = samples(count, variance, -1.0)
    log_p = special.log_softmax(h, axis=-1)
    assert y.mean_value == pytest.approx(log_p.mean(), rel=0.02, abs=1e-3)
    assert y.mean_square == pytest.approx(np.mean(log_p**2), rel=0.02, abs=1e-4)
    p = np.exp(log_p)
    slope = 1 - 2 / count + count * np.mean(p**2)
    assert gradient(y, x) == pytest.approx(slope, rel=0.05, abs=1e-6)


@pytest.mark.parametrize("variance", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("count", [2, 10, 100])
def test_probabilities_of_inputs_that_are_alike(count, variance):
    y = calculus.softmax(Moments.inputs((count,), 0.0, variance, between_inputs=0.6))
    common, own = samples(2 * count, variance).reshape(-1, 2, count).swapaxes(0, 1)
    other = np.roll(own, 1, axis=0)
    first, second = (
        special.softmax(np.sqrt(0.6) * common + np.sqrt(0.4) * h, axis=-1)
        for h in (own, other)
    )
    cross = y.correlation * y.mean_square
    assert cross == pytest.approx(np.mean(first * second), rel=0.25)


def test_channels_of_two_kinds():
    few, many = Moments.inputs((2,), 2.0, 1.0), Moments.inputs((6,), 0.0, 4.0)
    y = calculus.softmax(calculus.concatenate([few, many]))
    rng = np.random.default_rng(0)
    h = np.concatenate(
        [2 + rng.standard_normal((100_000, 2)), 2 * rng.standard_normal((100_000, 6))],
        axis=-1,
    )
    p = special.softmax(h, axis=-1)
    expected = p[:, :2].mean(), p[:, 2:].mean()
    np.testing.assert_allclose(y.mean.ravel(), expected, rtol=0.02)
    expected = np.mean(p[:, :2] ** 2), np.mean(p[:, 2:] ** 2)
    np.testing.assert_allclose(y.squares.ravel(), expected, rtol=0.03)
    assert 2 * y.mean[0].item() + 6 * y.mean[1].item() == pytest.approx(1)


@pytest.mark.parametrize("variance", [0.0, 1e4, 1e12, np.inf])
def test_logits_of_any_size(variance):
    y = calculus.softmax(Moments.inputs((5,), 0.0, variance))
    assert y.mean_value == pytest.approx(0.2)
    largest = 1 / 25 if variance == 0 else 1 / 5
    assert y.mean_square == pytest.approx(largest, rel=0.1)

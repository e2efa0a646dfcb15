"""Classes of pairs of positions, and what layers do to them."""

import numpy as np
import pytest

from fixinit.theory import Moments, calculus
from fixinit.theory.calculus import positions
from fixinit.theory.calculus.windows import Window


@pytest.mark.parametrize("n", [5, 12, 30, 224])
def test_weights_of_pairs_and_positions_fit_together(n):
    pairs, places = positions.pair_weights(n), positions.position_weights(n)
    assert pairs.sum() == pytest.approx(1) and places.sum() == pytest.approx(1)
    np.testing.assert_allclose(places @ positions.row_weights(n), pairs, atol=1e-12)
    # One pair in n is a position with itself.
    assert pairs[:: positions.size(n) + 1].sum() == pytest.approx(1 / n)


@pytest.mark.parametrize("n", [14, 100])
def test_classes_keep_short_distances_and_the_order_of_a_pair(n):
    classes, m = positions.pair_classes(n), positions.size(n)
    np.testing.assert_array_equal(classes // m, classes.T % m)
    for low, high in [(0, 0), (0, 1), (1, 2), (n // 2, n // 2 + 1)]:
        assert classes[low, high] % m - classes[low, high] // m == high - low
    assert classes[0, n - 1] == m - 1


def test_long_strides_on_long_axes_keep_all_classes():
    """A shortened axis would have fewer outputs than the axis has classes."""
    inputs, outputs = 2000, (2000 - 127) // 64 + 1
    mean = Window.convolution(inputs, 127, 64).mean
    assert mean.shape == (positions.size(outputs), positions.size(inputs))
    # Each output is the sum of 127 inputs.
    np.testing.assert_allclose(mean.sum(axis=1), 127)


@pytest.mark.parametrize(
    "n, kernel, stride, dilation, padding",
    [(7, 3, 1, 1, "same"), (8, 3, 2, 1, "same"), (8, 2, 1, 3, "valid")],
)
def test_short_axes_are_exact(n, kernel, stride, dilation, padding):
    window = Window.convolution(n, kernel, stride, dilation, padding)
    rng = np.random.default_rng(0)
    pairs = rng.standard_normal((n, n))
    reach = (kernel - 1) * dilation + 1
    out = (n - reach) // stride + 1 if padding == "valid" else -(-n // stride)
    left = 0 if padding == "valid" else max((out - 1) * stride + reach - n, 0) // 2
    reads = np.zeros((kernel, out, n))
    for t in range(kernel):
        for i in range(out):
            if 0 <= (j := i * stride - left + t * dilation) < n:
                reads[t, i, j] = 1
    expected = sum(r @ pairs @ r.T for r in reads)
    found = (window.same_tap @ pairs.ravel()).reshape(out, out)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    whole = reads.sum(axis=0)
    found = (window.all_taps @ pairs.ravel()).reshape(out, out)
    np.testing.assert_allclose(found, whole @ pairs @ whole.T, atol=1e-12)
    found = window.shared.reshape(out, out)
    np.testing.assert_allclose(found, whole @ whole.T, atol=1e-12)
    np.testing.assert_allclose(window.backward, whole.T, atol=1e-12)


def test_inputs_that_come_from_one_input_have_the_axes_of_all():
    x, other = (Moments.inputs((size, 16)) for size in (8, 4))
    with pytest.raises(ValueError, match="`within` must have the shape and channels"):
        calculus.from_batch(x, 3, within=other)

"""Expectations of activation functions under a Gaussian."""

import keras
import numpy as np
import pytest
from scipy import integrate

from fixinit import theory
from fixinit.theory.gaussian import activations, sums_of_exponentials
from fixinit.theory.gaussian.functions import (
    Exponential,
    Function,
    compose,
    product,
    total,
)
from fixinit.theory.gaussian.normal import orthant
from fixinit.theory.gaussian.piecewise import PiecewiseLinear
from tests.marks import on_torch

THRESHOLD = {"threshold": 0.3, "default_value": -1.0}
NAMES = activations.names()
IN_KERAS = [name for name in NAMES if hasattr(keras.activations, name)]
# What acts on vectors, not on elements, has rules of its own.
ON_VECTORS = {"softmax", "log_softmax", "sparsemax", "glu"}


def arguments(name):
    return THRESHOLD if name == "threshold" else {}


def density(x, mean, deviation):
    z = (x - mean) / deviation
    return np.exp(-(z**2) / 2) / (deviation * np.sqrt(2 * np.pi))


def integral(f, mean, deviation, kinks=()):
    ends = mean - 12 * deviation, mean + 12 * deviation
    inside = [k for k in kinks if ends[0] < k < ends[1]]
    return integrate.quad(
        lambda x: float(f(x)) * density(x, mean, deviation),
        *ends,
        points=sorted({mean, *inside}),
        limit=500,
        epsabs=1e-13,
        epsrel=1e-12,
    )[0]


def test_every_elementwise_activation_of_keras_is_known():
    public = set(dir(keras.activations)) - {"deserialize", "get", "serialize"}
    public = {name for name in public if not name.startswith("_")}
    assert public == set(IN_KERAS) | ON_VECTORS


@pytest.mark.parametrize("name", IN_KERAS)
def test_values_are_those_of_keras(name):
    # No grid point is a kink, where discontinuous functions are anything.
    x = np.linspace(-8.013, 8.017, 1001)
    function = theory.activation(name, **arguments(name))
    given = keras.ops.convert_to_tensor(x.astype("float32"))
    expected = getattr(keras.activations, name)(given, **arguments(name))
    expected = keras.ops.convert_to_numpy(expected)
    np.testing.assert_allclose(function(x), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"negative_slope": 0.1, "threshold": 0.5},
        {"max_value": 2.0},
        {"max_value": 2.0, "threshold": 1.0},
        {"threshold": -1.0, "negative_slope": 0.2},
    ],
    ids=str,
)
def test_arguments_of_relu_are_those_of_keras(options):
    x = np.linspace(-4.013, 4.017, 501).astype("float32")
    expected = keras.activations.relu(keras.ops.convert_to_tensor(x), **options)
    function = theory.activation("relu", **options)
    np.testing.assert_allclose(
        function(x), keras.ops.convert_to_numpy(expected), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mean, variance", [(0.0, 1.0), (0.7, 2.3), (-1.0, 0.05)])
def test_moments_are_the_integrals(name, mean, variance):
    function = theory.activation(name, **arguments(name))
    found = function.moments(mean, variance)
    deviation = np.sqrt(variance)
    for value, f in zip(
        found,
        (
            function,
            lambda x: function(x) ** 2,
            lambda x: function.derivative(np.asarray(x)) ** 2,
        ),
        strict=True,
    ):
        expected = integral(f, mean, deviation, function.kinks)
        np.testing.assert_allclose(value, expected, rtol=1e-8, atol=1e-11)


@on_torch
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("correlation", [-0.6, 0.3, 0.9])
def test_joint_moments_are_the_integrals_over_both(name, correlation):
    function = theory.activation(name, **arguments(name))
    means, deviations = (0.4, -0.5), (1.2, 0.7)
    found = function.joint_moment(means, deviations, correlation)
    # Given the first, the second is Gaussian again.
    rest = deviations[1] * np.sqrt(1 - correlation**2)
    slope = correlation * deviations[1] / deviations[0]
    numeric = Function(function.value, function.derivative, function.kinks)

    def both(x):
        center = means[1] + slope * (x - means[0])
        return function(x) * float(numeric.moments(center, rest**2)[0])

    expected = integral(both, means[0], deviations[0], function.kinks)
    # The series is cut off: functions with kinks converge slowly.
    exact = isinstance(function, (PiecewiseLinear, Exponential))
    np.testing.assert_allclose(found, expected, rtol=1e-8 if exact else 1e-5)


def test_derivatives_are_the_slopes():
    x, h = np.linspace(-5.013, 5.017, 400), 1e-6
    for name in NAMES:
        function = theory.activation(name, **arguments(name))
        away = np.all([np.abs(x - k) > h for k in (99.0, *function.kinks)], axis=0)
        slopes = (function(x + h) - function(x - h)) / (2 * h)
        np.testing.assert_allclose(
            function.derivative(x)[away], slopes[away], atol=2e-7, err_msg=name
        )


def test_joint_moment_of_relu_is_the_arc_cosine_kernel():
    relu, c = theory.activation("relu"), np.linspace(-1, 1, 41)
    kernel = (c * (np.pi - np.arccos(c)) + np.sqrt(1 - c**2)) / (2 * np.pi)
    found = relu.joint_moment((0.0, 0.0), (2.0, 3.0), c)
    np.testing.assert_allclose(found, 6 * kernel, atol=1e-10)


def test_joint_moment_of_erf_is_its_known_formula():
    erf, c = theory.activation("erf"), np.linspace(-0.95, 0.95, 9)
    q = 0.8
    expected = 2 / np.pi * np.arcsin(2 * q * c / (1 + 2 * q))
    deviation = np.sqrt(q)
    found = erf.joint_moment((0.0, 0.0), (deviation, deviation), c)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_exponential_agrees_with_the_series():
    series = Function(np.exp, np.exp)
    pair = ((0.3, -0.2), (0.8, 1.1), 0.7)
    exact = theory.activation("exponential").joint_moment(*pair)
    np.testing.assert_allclose(series.joint_moment(*pair), exact, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-10, 1e6])
def test_homogeneous_functions_scale(scale):
    leaky = theory.activation("leaky_relu")
    unit = leaky.moments(0.5, 1.0)
    scaled = leaky.moments(0.5 * scale, scale**2)
    np.testing.assert_allclose(scaled[1], unit[1] * scale**2, rtol=1e-10)
    np.testing.assert_allclose(scaled[2], unit[2], rtol=1e-10)


def test_without_variance_the_value_itself():
    for name in ("relu6", "gelu", "hard_sigmoid"):
        function = theory.activation(name)
        mean, square, _ = function.moments(np.array([0.0, 1.5]), np.zeros(2))
        np.testing.assert_allclose(mean, function([0.0, 1.5]), atol=1e-15)
        np.testing.assert_allclose(square, function([0.0, 1.5]) ** 2, atol=1e-15)


def test_monte_carlo_agrees():
    n = 200_000
    rng = np.random.default_rng(0)
    u, w = rng.standard_normal((2, n))
    v = 0.8 * u + 0.6 * w
    for name in ("relu6", "silu", "hard_shrink", "elu"):
        function = theory.activation(name)
        products = function(0.5 + 2 * u) * function(-1 + v)
        found = function.joint_moment((0.5, -1.0), (2.0, 1.0), 0.8)
        assert abs(found - products.mean()) < 4 * products.std() / np.sqrt(n), name


def test_composed_piecewise_linear_functions_stay_exact():
    relu, leaky = theory.activation("relu"), theory.activation("leaky_relu")
    assert compose(relu, relu) == relu
    x = np.linspace(-5.01, 5, 300)
    shifted = compose(activations.affine(2.0, -1.0), relu)
    both = compose(theory.activation("relu6"), compose(leaky, shifted))
    assert isinstance(both, PiecewiseLinear)
    expected = np.clip(leaky(2 * np.maximum(x, 0) - 1), 0, 6)
    np.testing.assert_allclose(both(x), expected, atol=1e-12)


def test_sums_of_piecewise_linear_functions_stay_exact():
    relu6, leaky = theory.activation("relu6"), theory.activation("leaky_relu")
    both = total(relu6, leaky)
    assert isinstance(both, PiecewiseLinear) and both.kinks == (0.0, 6.0)
    x = np.linspace(-9.01, 9, 300)
    np.testing.assert_allclose(both(x), relu6(x) + leaky(x), atol=1e-12)
    relu, minus = theory.activation("relu"), activations.affine(-1.0, 0.0)
    assert total(relu, compose(minus, compose(relu, minus))).is_linear


def test_a_function_inside_of_many_is_computed_once():
    calls = []

    def value(x):
        calls.append(x)
        return x

    y = Function(value, np.ones_like)
    for _ in range(40):
        y = total(y, compose(activations.affine(1.0, 0.0), y))
    x = np.linspace(-1, 1, 5)
    np.testing.assert_allclose(y(x), 2.0**40 * x)
    np.testing.assert_allclose(y.derivative(x), 2.0**40)
    assert len(calls) < 10


def test_products_and_compositions_know_their_derivatives():
    sigmoid, tanh = theory.activation("sigmoid"), theory.activation("tanh")
    swish = product(activations.affine(), sigmoid)
    np.testing.assert_allclose(
        swish.moments(0.3, 2.0), theory.activation("silu").moments(0.3, 2.0), rtol=1e-12
    )
    x, h = np.linspace(-2, 2, 50), 1e-6
    composed = compose(tanh, sigmoid)
    slopes = (composed(x + h) - composed(x - h)) / (2 * h)
    np.testing.assert_allclose(composed.derivative(x), slopes, atol=1e-8)


def test_orthant_probabilities():
    rho = np.array([-0.9, -0.3, 0.0, 0.5, 0.99])
    expected = 0.25 + np.arcsin(rho) / (2 * np.pi)
    np.testing.assert_allclose(orthant(0.0, 0.0, rho), expected, atol=1e-12)
    a, b = np.array([0.7, -1.2, 0.0]), np.array([-0.4, -0.3, 1.0])
    from scipy.stats import multivariate_normal

    for x, y in zip(a, b, strict=True):
        law = multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]])
        assert orthant(x, y, 0.6) == pytest.approx(law.cdf([x, y]), abs=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: theory.activation("rellu"), "Did you mean 'relu'"),
        (lambda: PiecewiseLinear([1.0, 0.0], [1, 2, 3]), "increasing kinks"),
        (lambda: PiecewiseLinear([1.0], [1.0]), "one slope more than kinks"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_correlations_are_found_from_joint_moments(name):
    function, rho = theory.activation(name), np.array([-0.4, 0.0, 0.1, 0.5, 0.9])
    means, deviations = (0.3 + 0 * rho, -0.2 + 0 * rho), (1 + 0 * rho, 1.5 + 0 * rho)
    joint = function.joint_moment(means, deviations, rho)
    found = function.correlation(means, deviations, joint)
    np.testing.assert_allclose(found, rho, atol=2e-3)


def test_joint_moments_that_an_even_function_does_not_have_are_those_at_0():
    function, zero, one = theory.activation("absolute"), np.zeros(2), np.ones(2)
    joint = function.joint_moment((zero, zero), (one, one), np.array([0.5, 0.0]))
    found = function.correlation((zero, zero), (one, one), joint - [0.0, 0.3])
    np.testing.assert_allclose(found, [0.5, 0.0], atol=2e-3)


def test_probabilities_of_logits_that_have_a_large_number_in_common():
    from_zero, far, widest = (
        sums_of_exponentials.probabilities(
            np.array([10]), np.array([mean]), np.array([deviation])
        )
        for mean, deviation in ((0.0, 1.0), (1e15, 1.0), (1e20, 1e19))
    )
    assert far.mean == pytest.approx(from_zero.mean, rel=1e-12)
    assert far.square == pytest.approx(from_zero.square, rel=1e-3)
    assert far.log_sum[0] == pytest.approx(1e15, rel=1e-12)
    # The largest takes all, but for the logits as near as 1 of a deviation of 25.
    assert widest.mean == pytest.approx(0.1)
    assert 0.09 < widest.square < 0.1


def test_probabilities_that_are_asked_for_again_are_those_of_any_function():
    counts, means, deviations = np.array([3, 2]), np.array([0.5, -20.0]), np.ones(2)
    for _ in range(2):
        kept = sums_of_exponentials.probabilities(counts, means, deviations)
        found = sums_of_exponentials.probabilities(
            counts, means, deviations, lambda u: u
        )
        for name in ("mean", "square", "slope", "log_sum"):
            np.testing.assert_array_equal(getattr(kept, name), getattr(found, name))

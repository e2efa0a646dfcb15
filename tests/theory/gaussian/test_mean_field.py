"""Fixed points, depth scales and the edge of chaos, against published values."""

import math

import numpy as np
import pytest

from fixinit import theory


def test_relu_is_critical_at_variance_two_and_keeps_any_variance():
    assert theory.edge_of_chaos("relu") == (2.0, 1.0)
    edge = theory.MeanField("relu", 2.0)
    assert edge.phase == "critical"
    assert edge.fixed_point(start=3.0) == pytest.approx(3.0, rel=1e-12)
    assert edge.depth_scales() == (math.inf, math.inf)


def test_leaky_relu_is_critical_at_its_he_gain():
    # He et al. 2015, equation 15: 2 / (1 + a^2).
    phi = theory.activation("leaky_relu", negative_slope=0.1)
    assert theory.edge_of_chaos(phi)[0] == pytest.approx(2 / 1.01, rel=1e-12)


def test_edge_of_chaos_of_tanh_is_the_published_one():
    # Schoenholz et al. 2017 train at sigma_w^2 = 1.7603 for sigma_b^2 = 0.05.
    assert theory.edge_of_chaos("tanh", 0.05)[0] == pytest.approx(1.76, abs=2e-3)
    # Hayou et al. 2019 use (sigma_b, sigma_w) = (0.3, 1.39558).
    weight, _ = theory.edge_of_chaos("tanh", 0.3**2)
    assert math.sqrt(weight) == pytest.approx(1.39558, abs=2e-5)
    assert theory.edge_of_chaos("tanh", 0.0)[0] == pytest.approx(1.0, abs=1e-9)


def test_edge_is_a_curve_on_which_gradients_keep_their_size():
    biases = np.array([0.01, 0.04, 0.1])
    for name in ("tanh", "erf", "elu", "selu", "softsign"):
        weights, variances = theory.edge_of_chaos(name, biases)
        for weight, q, bias in zip(weights, variances, biases, strict=True):
            field = theory.MeanField(name, weight, bias)
            assert field.gradient_factor(q) == pytest.approx(1, abs=1e-9)
            assert field.variance_map(q) == pytest.approx(q, rel=1e-9)
            # Variances on either side converge to it, so that the network is on it.
            assert field.fixed_point(0.5 * q) == pytest.approx(q, rel=1e-9)
            assert field.fixed_point(2 * q) == pytest.approx(q, rel=1e-9)
            assert field.phase == "critical"
            assert theory.edge_of_chaos(name, bias) == (weight, q)
        assert len(set(weights)) == 3


@pytest.mark.parametrize("shape", [(2,), (2, 1), (0,)])
def test_curve_has_the_shape_of_the_biases(shape):
    weights, variances = theory.edge_of_chaos("tanh", np.full(shape, 0.05))
    assert weights.shape == variances.shape == shape


@pytest.mark.parametrize(
    "name, bias", [("gelu", 0.0), ("silu", 0.04), ("square", 0.0), ("soft_shrink", 0.0)]
)
def test_what_variances_move_away_from_is_no_edge(name, bias):
    with pytest.raises(ValueError, match="no edge of chaos"):
        theory.edge_of_chaos(name, bias)
    if bias:
        # Where silu has chi_1 = 1, what is 1 % more diverges: 0.6894 is repelling.
        assert theory.MeanField(name, 2.8208264, bias).fixed_point(0.6964) == math.inf


def test_thresholds_do_not_scale():
    assert theory.MeanField("hard_shrink", 2.0).fixed_point(0.1) == 0.0
    with pytest.raises(ValueError, match="no edge of chaos"):
        theory.edge_of_chaos("sparse_plus")


def test_phases_of_tanh():
    ordered = theory.MeanField("tanh", 1.3**2, 0.3**2)
    chaotic = theory.MeanField("tanh", 2.5**2, 0.3**2)
    assert ordered.phase == "ordered" and ordered.correlation_fixed_point() == 1.0
    # Poole et al. 2016, figure 2: at sigma_w = 2.5 and sigma_b = 0.3, c* lies below 1.
    assert chaotic.phase == "chaotic"
    c = chaotic.correlation_fixed_point()
    assert 0 < c < 0.3
    assert chaotic.correlation_map(c) == pytest.approx(c, abs=1e-9)


def test_slope_of_the_correlation_map_at_one_is_the_gradient_factor():
    field = theory.MeanField("tanh", 1.5**2, 0.1)
    h = 1e-4
    slope = (1 - field.correlation_map(1 - h)) / h
    assert slope == pytest.approx(field.gradient_factor(), rel=1e-3)


def test_depth_scales_are_the_rates_of_convergence():
    field = theory.MeanField("tanh", 1.2**2, 0.2)
    xi_q, xi_c = field.depth_scales()
    q = field.fixed_point()
    start, distances = q * 1.001, []
    for _ in range(4):
        distances.append(start - q)
        start = field.variance_map(start)
    rate = distances[3] / distances[2]
    assert rate == pytest.approx(math.exp(-1 / xi_q), rel=1e-2)
    c, gaps = 0.999, []
    for _ in range(4):
        gaps.append(1 - c)
        c = float(field.correlation_map(c))
    assert gaps[3] / gaps[2] == pytest.approx(math.exp(-1 / xi_c), rel=1e-2)


def test_correlation_of_relu_converges_like_the_square_of_depth():
    # Hayou et al. 2019, proposition 3: 1 - c loses s (1 - c)^(3/2) per layer, with
    # s = 2 sqrt(2) / (3 pi), so that 1 - c ~ 4 / (s l)^2 = 9 pi^2 / (2 l^2).
    edge, gap = theory.MeanField("relu", 2.0), 1e-6
    lost = float(edge.correlation_map(1 - gap, 1.0)) - (1 - gap)
    assert lost / gap**1.5 == pytest.approx(2 * math.sqrt(2) / (3 * np.pi), rel=1e-3)


def test_variance_that_diverges_is_infinite_and_that_dies_is_zero():
    assert theory.MeanField("relu", 2.5).fixed_point() == math.inf
    assert theory.MeanField("relu", 1.5).fixed_point() == 0.0
    # Every layer adds the bias variance.
    assert theory.MeanField("relu", 2.0, 0.5).fixed_point() == math.inf
    assert theory.MeanField("linear", 1.0, 0.1).fixed_point() == math.inf
    assert theory.MeanField("linear", 1.0, 0.1).phase == "unbounded"


def test_fixed_points_are_those_of_the_iteration():
    for weight, bias, start in ((1.3, 0.0, 1e-3), (4.0, 0.1, 50.0), (0.9, 0.2, 0.0)):
        field, q = theory.MeanField("tanh", weight, bias), start
        for _ in range(400):
            q = field.variance_map(q)
        assert field.fixed_point(start) == pytest.approx(q, rel=1e-9)
    # Where the bias balances what is lost: q = 1.5 q / 2 + 0.1.
    assert theory.MeanField("relu", 1.5, 0.1).fixed_point() == pytest.approx(0.4)


def test_gradient_factor_at_zero_sees_both_sides_of_a_kink():
    weight, q = theory.edge_of_chaos("selu")
    assert q == 0.0
    assert theory.MeanField("selu", weight).gradient_factor(0.0) == pytest.approx(1)
    assert theory.MeanField("relu", 3.0).gradient_factor() == pytest.approx(1.5)


@pytest.mark.parametrize("activation", ["relu", "hard_tanh", "tanh", "gelu"])
def test_maps_of_no_numbers_are_empty(activation):
    field = theory.MeanField(activation, 2.0)
    assert field.variance_map([]).shape == (0,)
    assert field.correlation_map([[]], variance=1.0).shape == (1, 0)


def test_critical_scale_keeps_what_it_says():
    for name in ("relu", "gelu", "tanh", "selu"):
        for variance in (0.5, 2.0):
            scale = theory.critical_scale(name, variance)
            field = theory.MeanField(name, scale)
            assert field.variance_map(variance) == pytest.approx(variance)
            scale = theory.critical_scale(name, variance, keep="gradient")
            field = theory.MeanField(name, scale)
            assert field.gradient_factor(variance) == pytest.approx(1)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: theory.MeanField("relu", -1.0), "`weight_variance` must be a pos"),
        (lambda: theory.MeanField("relu", 2.0, -1.0), "`bias_variance` must be"),
        (lambda: theory.edge_of_chaos("relu", 0.1), "biases add up"),
        (lambda: theory.edge_of_chaos("softplus"), "no edge of chaos"),
        (lambda: theory.edge_of_chaos("tanh", -1.0), "`bias_variance` must be"),
        (lambda: theory.edge_of_chaos("tanh", [0.1, -1.0]), "`bias_variance` must be"),
        (lambda: theory.critical_scale("relu", keep="x"), "`keep` must be one of"),
        (lambda: theory.critical_scale("gelu", variance=0), "`variance` must be a pos"),
        (lambda: theory.critical_scale("gelu", variance=-1), "`variance` must be"),
        (lambda: theory.critical_scale("hard_shrink", 1e-6), "passes nothing on"),
        (lambda: theory.MeanField("tanh", 1.0).fixed_point(-1.0), "`start` must be"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("start", [1e-13, 1e-300, 0.0, 1.0, 1e13])
def test_the_fixed_point_is_found_from_any_start(start):
    field = theory.MeanField("tanh", 1.5, 0.1)
    q = field.fixed_point(start)
    assert q == pytest.approx(0.52, abs=0.01)
    assert field.drift(q) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("bad", [math.nan, -1.0, "1", True, [1.0, math.nan]])
def test_variances_that_are_none_are_refused(bad):
    field = theory.MeanField("tanh", 1.5, 0.1)
    asked = [field.variance_map, field.gradient_factor, field.drift]
    asked += [lambda q: field.correlation_map(0.5, q), field.correlation_fixed_point]
    for ask in asked:
        with pytest.raises(ValueError, match="`variance` must be"):
            ask(bad)


@pytest.mark.parametrize("correlation", [1.5, -1.1, math.nan, [0.0, 2.0], "0"])
def test_correlations_outside_their_range_are_refused(correlation):
    with pytest.raises(ValueError, match="`correlation` must be an array"):
        theory.MeanField("tanh", 1.5, 0.1).correlation_map(correlation, 1.0)


def test_correlations_at_a_variance_that_vanishes_are_refused():
    with pytest.raises(ValueError, match="`variance` must be a positive number"):
        theory.MeanField("tanh", 0.5).correlation_map(0.5)


@pytest.mark.parametrize("step", [0.0, -1e-5, math.nan, 0.5])
def test_steps_that_are_none_are_refused(step):
    with pytest.raises(ValueError, match="`step` must be a number in"):
        theory.MeanField("tanh", 1.5, 0.1).depth_scales(step)


@pytest.mark.parametrize("name", ["tanh", "silu", "softplus"])
def test_slope_and_curvature_are_those_of_the_maps(name):
    field, q, h = theory.MeanField(name, 1.3, 0.1), 0.8, 1e-4
    ends = field.variance_map(q + h) - field.variance_map(q - h)
    assert field.variance_slope(q) == pytest.approx(ends / (2 * h), rel=1e-6)
    # One-sided: correlations end at 1.
    h = 1e-3
    y = field.correlation_map(1 - h * np.arange(5), q)
    second = (35 * y[0] - 104 * y[1] + 114 * y[2] - 56 * y[3] + 11 * y[4]) / 12 / h**2
    assert field.curvature(q) == pytest.approx(second, rel=1e-3)


def test_kinks_have_no_curvature():
    assert theory.MeanField("relu", 2.0).curvature(1.0) == math.inf
    assert theory.MeanField("selu", 1.0).curvature(1.0) == math.inf

"""What each method's paper says, as its scheme answers it."""

import math

import keras
import pytest

from fixinit import initializers, layers, schemes
from fixinit.schemes import Site

FIRST = Site(branch=0, num_branches=9)
LAST = Site(branch=0, num_branches=9, layer=1)
PREACTIVATION = Site(branch=0, num_branches=9, preactivation=True)


def kinds(built):
    return [type(layer) for layer in built]


def test_fixup_rule_one():
    scheme = schemes.Fixup()
    assert isinstance(scheme.kernel_initializer(LAST), keras.initializers.Zeros)
    assert isinstance(
        scheme.kernel_initializer(Site(0, 9, role="head")), keras.initializers.Zeros
    )


def test_fixup_rule_two():
    scheme = schemes.Fixup("fan_in", "uniform")
    inner = scheme.kernel_initializer(FIRST)
    assert isinstance(inner, initializers.Fixup)
    assert inner.scale == pytest.approx(2 / 9)
    assert (inner.mode, inner.distribution) == ("fan_in", "uniform")
    for role in ("stem", "projection"):
        outer = scheme.kernel_initializer(Site(0, 9, role=role))
        assert outer.scale == 2


def test_fixup_rule_three():
    scheme = schemes.Fixup()
    assert kinds(scheme.before_activation(FIRST)) == [layers.ScalarBias]
    assert kinds(scheme.before_weight(FIRST)) == [layers.ScalarBias]
    assert kinds(scheme.before_weight(Site(0, 9, role="head"))) == [layers.ScalarBias]
    assert kinds(scheme.before_weight(Site(0, 9, role="stem"))) == []
    after = scheme.branch_end(LAST)
    assert kinds(after) == [layers.ScalarMultiplier, layers.ScalarBias]


def test_fixup_starts_the_only_layer_of_a_branch_at_zero():
    initializer = schemes.Fixup().kernel_initializer(Site(0, 9, branch_depth=1))
    assert isinstance(initializer, keras.initializers.Zeros)


def test_batch_norm_normalizes_the_branch_end_only_in_post_activation():
    scheme = schemes.BatchNorm()
    (normalization,) = scheme.branch_end(LAST)
    assert isinstance(normalization, keras.layers.BatchNormalization)
    assert scheme.branch_end(PREACTIVATION) == []
    assert scheme.after_projection(PREACTIVATION) == []
    assert len(scheme.after_projection(FIRST)) == 1


def test_zero_gamma_stands_at_the_branch_end_alone():
    scheme = schemes.BatchNorm(zero_gamma=True)
    (last,) = scheme.branch_end(LAST)
    (inner,) = scheme.before_activation(FIRST)
    assert isinstance(last.gamma_initializer, keras.initializers.Zeros)
    assert isinstance(inner.gamma_initializer, keras.initializers.Ones)


def test_zero_gamma_refuses_pre_activation():
    with pytest.raises(ValueError, match="zero_gamma.*never receive a gradient"):
        schemes.BatchNorm(zero_gamma=True).branch_end(PREACTIVATION)


def test_scaled_residual_puts_its_factor_where_the_mode_says():
    fixed = schemes.ScaledResidual()
    assert fixed.merge(LAST).branch_scale == pytest.approx(1 / 3)
    assert fixed.branch_end(LAST) == []

    trainable = schemes.ScaledResidual(mode="trainable")
    (multiplier,) = trainable.branch_end(LAST)
    multiplier.build((1, 1))
    assert float(multiplier.scalar) == pytest.approx(1 / 3)
    assert trainable.merge(LAST).branch_scale == 1

    folded = schemes.ScaledResidual(mode="folded")
    assert folded.kernel_initializer(LAST).scale == pytest.approx(2 / 9)
    assert isinstance(folded.kernel_initializer(FIRST), keras.initializers.HeNormal)
    assert folded.branch_end(LAST) == [] and folded.merge(LAST).branch_scale == 1


def test_decreasing_depends_on_the_branch():
    scheme = schemes.ScaledResidual("decreasing")
    scales = [scheme.merge(Site(b, 9, layer=1)).branch_scale for b in range(9)]
    assert scales == sorted(scales, reverse=True)
    assert scales[0] == 1 / math.log(2)


@pytest.mark.parametrize(
    ("scheme", "start"),
    [(schemes.SkipInit(), 0.0), (schemes.SkipInit(0.2), 0.2), (schemes.ReZero(), 0.0)],
)
def test_multipliers_start_where_the_paper_says(scheme, start):
    (multiplier,) = scheme.branch_end(LAST)
    multiplier.build((1, 1))
    assert float(multiplier.scalar) == pytest.approx(start)
    assert scheme.use_bias


def test_normalized_sum_has_unit_norm():
    merge = schemes.NormalizedSum(0.3).merge(LAST)
    assert merge.shortcut_scale**2 + merge.branch_scale**2 == pytest.approx(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schemes.ScaledResidual("inverse_cube"), "scale"),
        (lambda: schemes.ScaledResidual(-1), "positive"),
        (lambda: schemes.ScaledResidual(mode="frozen"), "mode"),
        (lambda: schemes.SkipInit(math.nan), "finite"),
        (lambda: schemes.NormalizedSum(1.0), "between 0 and 1"),
        (lambda: schemes.NormalizedSum("a"), "branch_scale"),
        (lambda: schemes.SkipInit("a"), "initial_multiplier"),
        (lambda: schemes.BatchNorm(momentum=-3), "momentum"),
        (lambda: schemes.BatchNorm(epsilon=0), "epsilon"),
        (lambda: schemes.Fixup(mode="fan"), "mode"),
    ],
)
def test_refuses_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", schemes.names())
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, math.nan), "`input_variance` must be a number of at least 0"),
        ((3, -1), "`input_variance` must be a number of at least 0"),
        ((3, True), "`input_variance` must be a number of at least 0"),
        ((2**63,), "`num_branches` must be an integer .* at most 1000000"),
        ((10**400,), "`num_branches` must be an integer"),
        ((1.5,), "`num_branches` must be an integer"),
    ],
)
def test_variances_of_bad_arguments_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        schemes.get(name).predicted_variance(*arguments)


@pytest.mark.parametrize("name", schemes.names())
def test_variances_from_none_stay_none(name):
    found = schemes.get(name).predicted_variance(5000, 0.0)
    assert found.shape == (5001,) and not math.isnan(found[-1])


def test_variance_of_a_million_branches():
    # (1 + 1 / L)^L
    found = schemes.ScaledResidual().predicted_variance(10**6)[-1]
    assert found == pytest.approx(math.e, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schemes.BatchNorm(zero_gamma=1), "`zero_gamma` must be True or"),
        (lambda: schemes.Fixup(zero_head="no"), "`zero_head` must be True or"),
        (lambda: schemes.Start(1e308), "`scale` must be a finite number with"),
        (lambda: Site(0, 1, preactivation=2), "`preactivation` must be True or"),
        (lambda: Site(0, 1, smallest_start=math.nan), "`smallest_start` must be"),
        (lambda: schemes.get({"class_name": 3}), "`class_name` must be a string"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()

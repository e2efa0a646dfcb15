"""Activations made to measure, held against what their authors' package computes."""

import functools
import json
import pathlib

import keras
import numpy as np
import pytest

import fixinit
from fixinit import theory
from fixinit.theory.tailoring.solving import solve_tat
from tests.marks import on_torch
from tests.theory.tailoring.modified_resnet import (
    chain,
    chain_model,
    resnet,
    resnet_model,
)

ROOT = pathlib.Path(__file__).parents[3]
RECORDS = json.loads((ROOT / "third_party/dks/dks.json").read_text())


def named(record):
    return "-".join(str(value) for value in list(record.values())[:-1])


@functools.cache
def model_of(depth, *arguments):
    return resnet_model(depth, *arguments) if arguments else chain_model(depth)


def network_of(record, as_model):
    if record["network"] == "chain":
        return (model_of if as_model else chain)(record["activations"])
    arguments = record["depth"], record["shortcut_weight"], record["preactivation"]
    return (model_of if as_model else resnet)(*arguments)


@on_torch
@pytest.mark.parametrize("as_model", [False, True], ids=["callable", "model"])
@pytest.mark.parametrize("record", RECORDS, ids=named)
def test_recorded_constants(record, as_model):
    name = {"gelu_exact": "gelu"}.get(record["activation"], record["activation"])
    found = theory.tailored(
        name, record["method"].lower(), network_of(record, as_model)
    )
    # The package integrates ELU's second derivative, which jumps, to 1e-5.
    for argument, value in record["parameters"].items():
        assert getattr(found, argument) == pytest.approx(value, rel=1e-5), argument


def conditions(layer):
    """`Q(1), Q'(1), C'(1)` and the mean of a layer, by the values that it gives."""
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()

    def phi(x):
        return keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(x)))

    step = 1e-3
    variance = [weights @ phi(z * q**0.5) ** 2 for q in (1 - step, 1, 1 + step)]
    slope = weights @ ((phi(z + step) - phi(z - step)) / (2 * step)) ** 2
    grown = (variance[2] - variance[0]) / (2 * step)
    return variance[1], grown, slope, weights @ phi(z)


@pytest.mark.parametrize("method", ["tat", "dks"])
def test_what_is_called_meets_the_local_conditions(method):
    layer = theory.tailored("tanh", method, chain(10))
    layer = fixinit.layers.TailoredActivation.from_config(
        {**layer.get_config(), "dtype": "float64"}
    )
    value, slope_of_variance, slope, mean = conditions(layer)
    assert value == pytest.approx(1, abs=1e-6)
    assert slope_of_variance == pytest.approx(1, abs=1e-5)
    if method == "dks":
        assert slope == pytest.approx(1.5**0.1, abs=1e-5)
        assert mean == pytest.approx(0, abs=1e-6)
    else:
        assert slope == pytest.approx(1, abs=1e-5)


def test_relu_and_leaky_relu_are_one_activation():
    found = [
        theory.tailored(activation, "tat", chain(50)).negative_slope
        for activation in (
            *("relu", "leaky_relu", keras.activations.relu, keras.layers.ReLU()),
            *(keras.layers.LeakyReLU(0.3), keras.layers.Activation("relu")),
        )
    ]
    assert len(set(found)) == 1


def test_a_network_may_have_any_target():
    leaky = theory.tailored("relu", "tat", chain(3), target=0.4)
    c = 0.0
    for _ in range(3):
        a = leaky.negative_slope
        field = theory.MeanField(
            theory.PiecewiseLinear([0.0], [a, 1.0]), leaky.output_scale**2
        )
        c = float(field.correlation_map(c, 1.0))
    assert c == pytest.approx(0.4, abs=1e-9)


def test_solutions_hold_for_leaky_relu_under_dks():
    layer = theory.tailored("leaky_relu", "dks", chain(20))
    layer = fixinit.layers.TailoredActivation.from_config(
        {**layer.get_config(), "dtype": "float64"}
    )
    rng = np.random.default_rng(0)
    z = rng.standard_normal(2_000_000)
    y = keras.ops.convert_to_numpy(layer(z))
    assert np.mean(y**2) == pytest.approx(1, abs=5 * 2 / 2e6**0.5)
    assert np.mean(y) == pytest.approx(0, abs=5 / 2e6**0.5)


def test_odd_functions_are_shifted_to_positive_inputs():
    for method in ("tat", "dks"):
        assert theory.tailored("tanh", method, chain(50)).input_shift > 0


@pytest.mark.parametrize("name", ["sigmoid", "mish", "log_sigmoid"])
def test_other_activations_have_solutions(name):
    function = theory.activation(name)
    found = solve_tat(function, name, 0.006)
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    x = found.input_scale * z + found.input_shift
    y = found.output_scale * (function(x) + found.output_shift)
    slope = found.output_scale * found.input_scale * function.derivative(x)
    assert weights @ y**2 == pytest.approx(1, abs=1e-7)
    assert weights @ (y * slope * z) == pytest.approx(1, abs=1e-7)
    assert weights @ slope**2 == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize(
    ("activation", "method", "network", "target", "says"),
    [
        ("relu", "tat", chain(3), None, r"C_f\(0\) = 0.9 is not reachable.*0.60"),
        ("tanh", "tat", lambda x, f: x, None, r"C''_f\(1\) = 0.3 is not reachable"),
        ("tanh", "dks", lambda x, f: x, None, r"C'_f\(1\) = 1.5 is not reachable"),
        ("softplus", "dks", chain(1), None, r"C'\(1\) = 1.5 is not reachable"),
        ("tanh", "dks", chain(3), 0.5, "a number above 1"),
        ("relu", "tat", chain(3), 1.0, "between 0 and 1"),
        ("tanh", "tat", chain(3), -1, "a positive number"),
        ("tanh", "sgd", chain(3), None, "`method` must be one of"),
        ("selu", "tat", chain(3), None, "finite C''.*selu"),
        ("softmax", "tat", chain(3), None, "`activation` must be one of"),
    ],
)
def test_refusals(activation, method, network, target, says):
    with pytest.raises(ValueError, match=says):
        theory.tailored(activation, method, network, target)


def test_refuses_an_activation_without_finite_variance():
    def explosive(x):
        return keras.ops.exp(keras.ops.square(x))

    with pytest.raises(ValueError, match="finite variance.*explosive"):
        theory.tailored(explosive, "dks", chain(3))


@pytest.mark.parametrize("network", [None, keras.layers.Dense, "resnet"])
def test_refuses_what_is_no_network(network):
    with pytest.raises(TypeError, match="`network` must be a keras.Model"):
        theory.tailored("relu", "tat", network)

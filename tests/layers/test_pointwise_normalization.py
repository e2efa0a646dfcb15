import keras
import numpy as np
import pytest
from keras import layers
from scipy import special

import fixinit
from fixinit import theory
from fixinit.layers import DynamicErf, DynamicTanh, PointwiseNormalization
from tests.marks import on_torch

KINDS = {"tanh": (DynamicTanh, np.tanh), "erf": (DynamicErf, special.erf)}


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def drawn(kind, **options):
    """A layer whose weights are all different."""
    normal = keras.initializers.RandomNormal
    names = ["alpha", "beta", "gamma"] + ["shift"] * (kind is DynamicErf)
    chosen = {
        f"{name}_initializer": normal(0.5, 0.2, seed=seed)
        for seed, name in enumerate(names)
    }
    return kind(**{**chosen, **options})


@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 5), -1), ((2, 4, 6), -1), ((2, 3, 4, 5), 1)]
)
@pytest.mark.parametrize("name", KINDS)
def test_is_what_its_equation_says(name, shape, axis):
    kind, function = KINDS[name]
    layer = drawn(kind, axis=axis)
    x = 3 * np.random.default_rng(0).normal(size=shape).astype("float32")
    outputs = numpy(layer(x))
    along = [1] * len(shape)
    along[axis] = shape[axis]
    gamma, beta = (numpy(w).reshape(along) for w in (layer.gamma, layer.beta))
    shift = 0 if layer.shift is None else numpy(layer.shift)
    expected = gamma * function(numpy(layer.alpha) * x + shift) + beta
    np.testing.assert_allclose(outputs, expected, rtol=2e-5, atol=1e-6)
    assert layer.compute_output_shape(shape) == shape


@pytest.mark.parametrize("name", KINDS)
def test_starts_as_the_authors_have_it(name):
    kind, function = KINDS[name]
    layer = kind()
    x = np.linspace(-4, 4, 9, dtype="float32")[None]
    np.testing.assert_allclose(numpy(layer(x)), function(x / 2), rtol=1e-5, atol=1e-6)
    assert len(layer.trainable_weights) == {"tanh": 3, "erf": 4}[name]


def test_scale_and_shift_may_be_left_out():
    layer = DynamicTanh(center=False, scale=False)
    layer.build((None, 4))
    assert [v.name for v in layer.weights] == ["alpha"]


@pytest.mark.parametrize("name", KINDS)
def test_survives_saving(name, tmp_path):
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, drawn(KINDS[name][0])(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))
    general = PointwiseNormalization(name, shift_initializer="ones")
    again = PointwiseNormalization.from_config(general.get_config())
    assert again.get_config() == general.get_config()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    layer = DynamicErf(dtype=policy)
    outputs = layer(np.full((2, 3), 3e4, "float32"))
    assert keras.backend.standardize_dtype(outputs.dtype) == policy[6:]
    np.testing.assert_allclose(numpy(keras.ops.cast(outputs, "float32")), 1)
    assert keras.backend.standardize_dtype(layer.alpha.dtype) == "float32"


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("variance", [0.1, 4.0])
def test_prediction(name, variance):
    kind, function = KINDS[name]
    gamma = keras.initializers.RandomNormal(1.0, 0.5, seed=0)
    layer = kind(gamma_initializer=gamma, name="bounded")
    model = keras.Sequential([keras.Input((64,)), layer])
    row = theory.predict(model, input_variance=variance)["bounded"]
    z, weights = np.polynomial.hermite_e.hermegauss(100)
    square = weights @ function(0.5 * variance**0.5 * z) ** 2 / weights.sum()
    assert row.mean_square == pytest.approx(1.25 * square, rel=1e-6)


def test_no_rule_for_what_is_drawn():
    layer = DynamicTanh(alpha_initializer="random_normal", name="bounded")
    model = keras.Sequential([keras.Input((8,)), layer])
    with pytest.raises(theory.NoRuleError, match="draws its scalars"):
        theory.predict(model)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"function": "sin"}, "`function` must be one of"),
        ({"function": "tanh", "axis": 0}, "`axis` must be an"),
        ({"function": "tanh", "alpha_initializer": "half"}, "`alpha_initializer`"),
        ({"function": "erf", "shift_initializer": 3}, "`shift_initializer`"),
    ],
)
def test_refusals(arguments, says):
    with pytest.raises(ValueError, match=says):
        PointwiseNormalization(**arguments)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (DynamicTanh, "function"),
        (DynamicTanh, "shift_initializer"),
        (DynamicErf, "function"),
    ],
)
def test_functions_of_one_kind_are_of_that_kind(kind, name):
    with pytest.raises(ValueError, match=f"`{name}` is none of"):
        kind(**{name: "zeros"})


def test_regularizers_and_constraints_are_kept():
    layer = DynamicTanh(gamma_regularizer="l2", beta_constraint="non_neg")
    again = DynamicTanh.from_config(layer.get_config())
    assert isinstance(again.gamma_regularizer, keras.regularizers.L2)
    assert isinstance(again.beta_constraint, keras.constraints.NonNeg)
    again.build((None, 4))
    assert again.losses


def test_refuses_integers():
    with pytest.raises(ValueError, match="floating-point"):
        DynamicTanh()(np.ones((2, 3), "int32"))


@on_torch
def test_a_scheme_takes_its_place_and_folding_leaves_it():
    x = inputs = keras.Input((16,))
    branch = layers.Dense(16, "relu")(DynamicTanh(name="bounded")(x))
    x = x + layers.Dense(16)(branch)
    model = keras.Model(inputs, x)
    free = fixinit.convert(model, "rezero", seed=0)
    assert not any(isinstance(layer, DynamicTanh) for layer in free.layers)
    folded = fixinit.convert(model, weights="fold")
    assert isinstance(folded.get_layer("bounded"), DynamicTanh)

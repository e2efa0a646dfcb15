import keras
import numpy as np
import pytest

from fixinit import backend, theory
from fixinit.layers import ResidualBlock, Stack, TailoredActivation, facts_of


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def test_constants_stand_in_front_and_behind():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    layer = TailoredActivation("tanh", None, 0.5, 0.25, -0.125, 3.0)
    expected = 3 * (np.tanh(0.5 * x + 0.25) - 0.125)
    np.testing.assert_allclose(numpy(layer(x)), expected, atol=1e-6)
    assert layer.compute_output_shape(x.shape) == x.shape


def test_integers_are_numbers():
    layer = TailoredActivation("tanh", None, 0.5, 0.25, -0.125, 3.0)
    x = np.array([[-2, 0, 3]], "int32")
    assert keras.backend.standardize_dtype(layer(x).dtype) == "float32"
    np.testing.assert_allclose(numpy(layer(x)), numpy(layer(x.astype("float32"))))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_leaky_relu_has_its_slope(activation):
    x = np.array([-2.0, 3.0], "float32")
    layer = TailoredActivation(activation, 0.25, output_scale=2.0)
    np.testing.assert_allclose(numpy(layer(x)), [-1.0, 6.0], rtol=1e-6)


def test_gradients():
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    layer = TailoredActivation("tanh", None, 0.5, 0.25, -0.125, 3.0)
    run = backend.value_and_gradients(lambda xs: keras.ops.sum(layer(xs[0])))
    (gradient,) = run([keras.ops.convert_to_tensor(x)])[1]
    expected = 1.5 / np.cosh(0.5 * x + 0.25) ** 2
    np.testing.assert_allclose(numpy(gradient), expected, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_rounds_outputs_only(policy):
    # v (tanh(s x + t) + u) of 1,000 layers: the sum alone would be off by 0.1.
    constants = dict(
        zip(
            ("input_scale", "input_shift", "output_shift", "output_scale"),
            (0.0182, 0.51816, -0.47633, 71.07),
            strict=True,
        )
    )
    x = np.linspace(-2, 2, 33, dtype="float32")
    outputs = TailoredActivation("tanh", **constants, dtype=policy)(x)
    dtype = policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    expected = TailoredActivation("tanh", **constants)(
        keras.ops.cast(keras.ops.cast(x, dtype), "float32")
    )
    epsilon = {"float16": 2**-11, "bfloat16": 2**-8}[dtype]
    outputs = numpy(keras.ops.cast(outputs, "float32"))
    np.testing.assert_allclose(outputs, numpy(expected), rtol=epsilon, atol=1e-6)


def test_in_a_stack_of_blocks(tmp_path):
    activation = theory.tailored("silu", "dks", lambda x, f: f(f(f(x))))
    block = ResidualBlock([activation, keras.layers.Dense(4)])
    model = keras.Sequential(
        [keras.Input((4,)), Stack(block, 3), TailoredActivation("relu", 0.5)]
    )
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))


@pytest.mark.parametrize(
    "activation",
    ["tanh", keras.activations.silu, keras.layers.ELU(0.5), keras.layers.ReLU(6.0)],
)
def test_config_makes_the_same_layer(activation):
    layer = TailoredActivation(activation, input_scale=0.5, output_shift=0.1)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()
    x = np.linspace(-9, 9, 19, dtype="float32")
    np.testing.assert_array_equal(numpy(again(x)), numpy(layer(x)))


def test_is_the_activation_of_another_layer():
    layer = TailoredActivation("relu", 0.5, output_scale=2.0, name="leaky")
    dense = keras.layers.Dense(3, activation=layer, kernel_initializer="identity")
    x = np.array([[-1.0, 0.0, 2.0]], "float32")
    np.testing.assert_allclose(numpy(dense(x)), [[-1.0, 0.0, 4.0]])
    again = keras.layers.Dense.from_config(dense.get_config())
    np.testing.assert_allclose(again.activation.output_scale, 2.0)


def test_facts_follow_from_the_slope():
    assert facts_of(TailoredActivation("relu")).flat
    assert facts_of(TailoredActivation("relu", 0.0)).flat
    assert not facts_of(TailoredActivation("relu", 0.1)).flat
    facts = facts_of(TailoredActivation("tanh", output_scale=9.0))
    assert facts.activates and not facts.bounded and not facts.follows_head


def test_refuses_a_slope_of_other_activations():
    with pytest.raises(ValueError, match="`negative_slope` is for leaky ReLUs"):
        TailoredActivation("tanh", negative_slope=0.1)


@pytest.mark.parametrize("name", ["input_scale", "output_shift", "negative_slope"])
def test_refuses_what_is_no_number(name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        TailoredActivation("relu", **{name: float("nan")})

import keras
import numpy as np
import pytest
from keras import ops

from fixinit import layers, theory

NAMES = (
    *("relu", "gelu", "silu", "leaky_relu", "tanh", "sigmoid", "elu", "selu"),
    *("softplus", "relu6", "celu", "softsign", "log_sigmoid", "mish"),
)


@pytest.mark.every_backend
@pytest.mark.parametrize("name", NAMES)
def test_outputs_have_unit_variance_for_normal_inputs(name):
    gain = theory.variance_gain(keras.layers.Activation(name))
    # Quantiles stand for a sample without noise.
    z = np.sqrt(2) * inverse_error_function(np.linspace(-1, 1, 200_003)[1:-1])
    y = ops.convert_to_numpy(layers.ScaledActivation(name, gain)(z.astype("float32")))
    assert np.var(y) == pytest.approx(1, abs=2e-3)


def inverse_error_function(x):
    from scipy import special

    return special.erfinv(x)


def test_gains_in_closed_form():
    relu = theory.variance_gain(keras.layers.ReLU())
    assert relu == pytest.approx(np.sqrt(2 / (1 - 1 / np.pi)), abs=1e-9)
    assert relu == pytest.approx(1.71285855, abs=1e-8)
    glu = theory.variance_gain(keras.layers.Activation("glu"))
    # E[x^2] E[sigmoid(y)^2], the second by Gauss and Hermite.
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    square = np.sum(weights / (1 + np.exp(-z)) ** 2) / np.sqrt(2 * np.pi)
    assert glu == pytest.approx(square**-0.5, rel=1e-6)


@pytest.mark.parametrize(
    "make", [lambda: keras.layers.Activation(lambda x: 0 * x), keras.layers.Identity]
)
def test_gain_of_what_passes_nothing_or_all(make):
    layer = make()
    if isinstance(layer, keras.layers.Identity):
        assert theory.variance_gain(layer) == pytest.approx(1)
        return
    with pytest.raises(ValueError, match="positive and finite variance"):
        theory.variance_gain(layer)


def test_saved_with_an_activation_that_is_a_layer():
    layer = layers.ScaledActivation(keras.layers.LeakyReLU(0.3), 1.5)
    again = layers.ScaledActivation.from_config(layer.get_config())
    x = np.array([-1.0, 2.0], "float32")
    np.testing.assert_allclose(ops.convert_to_numpy(again(x)), [-0.45, 3.0], rtol=1e-6)


def test_facts_are_those_of_its_activation():
    assert layers.facts_of(layers.ScaledActivation("relu", 1.7)).activates
    assert layers.facts_of(layers.ScaledActivation("relu", 1.7)).flat
    assert layers.facts_of(layers.ScaledActivation("tanh", 1.6)).bounded
    assert layers.facts_of(layers.gelu_tanh).activates


@pytest.mark.parametrize("gain", [0.0, -1.0, float("nan")])
def test_gain_is_checked(gain):
    with pytest.raises(ValueError, match="gain"):
        layers.ScaledActivation("relu", gain)

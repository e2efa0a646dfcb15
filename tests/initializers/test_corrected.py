import keras
import numpy as np
import pytest

from fixinit.initializers import Corrected, DeltaOrthogonal
from fixinit.theory import predict, weight_moments


def test_draws_are_multiplied_and_moments_are_not():
    he = keras.initializers.HeNormal(seed=3)
    corrected = Corrected(he, 0.5)
    drawn, expected = (keras.ops.convert_to_numpy(i((20, 8))) for i in (corrected, he))
    np.testing.assert_allclose(drawn, 0.5 * expected, rtol=1e-6)
    assert weight_moments(corrected, (20, 8)) == weight_moments(he, (20, 8))


def test_config():
    corrected = Corrected(keras.initializers.HeNormal(seed=3), 0.5)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(corrected)
    )
    assert again.get_config() == corrected.get_config()


@pytest.mark.parametrize("factor", [-1.0, float("nan"), "1"])
def test_factors_are_checked(factor):
    with pytest.raises((TypeError, ValueError), match="factor"):
        Corrected("he_normal", factor)


def test_what_is_corrected_keeps_its_rule():
    """Delta-orthogonal kernels read through their centre alone, also at borders."""

    def predicted(initializer):
        inputs = keras.Input((4, 4, 8))
        x = keras.layers.Conv2D(8, 3, padding="same", kernel_initializer=initializer)(
            inputs
        )
        return predict(keras.Model(inputs, x)).layers[-1].mean_square

    delta = DeltaOrthogonal(seed=0)
    assert predicted(Corrected(delta, 0.9)) == predicted(delta)

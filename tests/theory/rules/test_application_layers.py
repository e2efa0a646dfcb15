"""Rules for scales of residual branches in `keras.applications`."""

import keras
import pytest

from fixinit import _keras, theory


def test_scales_multiply_by_the_numbers_that_they_start_with():
    inputs = keras.Input((8,))
    scaled = _keras.LayerScale(0.1, 8, name="scaled")(inputs)
    joined = _keras.CustomScaleLayer(scale=0.5, name="joined")([inputs, scaled])
    prediction = theory.predict(keras.Model(inputs, joined))
    assert prediction["scaled"].mean_square == pytest.approx(0.01)
    assert prediction["joined"].mean_square == pytest.approx(1.05**2)

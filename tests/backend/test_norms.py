import keras
import numpy as np
import pytest

from fixinit import backend

RNG = np.random.default_rng(0)


def test_the_norm_is_that_of_what_variables_hold():
    arrays = [RNG.normal(size=shape).astype("float32") for shape in ((4, 3), (5,))]
    variables = [keras.Variable(array) for array in arrays]
    norm = backend.norm_function(variables)
    for _ in range(2):
        flat = np.concatenate([array.ravel() for array in arrays])
        assert norm() == pytest.approx(np.linalg.norm(flat), rel=1e-5)
        arrays = [2 * array for array in arrays]
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)


def test_values_beyond_float16_and_no_values():
    variables = [
        keras.Variable(np.full(100, 3e4), dtype="float16"),
        keras.Variable(np.full(100, 4e4), dtype="float32"),
    ]
    assert backend.norm_function(variables)() == pytest.approx(5e5, rel=1e-3)
    variables[1].assign(np.full(100, np.nan))
    assert np.isnan(backend.norm_function(variables)())
    assert backend.norm_function([])() == 0

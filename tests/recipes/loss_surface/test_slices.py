import keras
import numpy as np
import pytest

from fixinit.diagnostics.geometry import LossSurface
from recipes.loss_surface import slices


def surface(function):
    points = np.linspace(-1, 1, 21)
    losses = function(points[:, None], points[None])
    return LossSurface(points, losses + np.zeros((21, 21)), ((), ()))


def test_basin_and_negative_curvature_of_known_surfaces():
    bowl = surface(lambda a, b: a**2 + b**2)
    assert slices.basin(bowl) == 1
    assert slices.negative_curvature(bowl) == pytest.approx(0, abs=1e-9)
    saddle = surface(lambda a, b: 10 + 2 * a * b)
    assert slices.basin(saddle) == 0
    assert slices.negative_curvature(saddle) == pytest.approx(1)
    tilted = surface(lambda a, b: 2 * a**2 - b**2)
    assert slices.negative_curvature(tilted) == pytest.approx(0.5)


def test_sharpest_direction_of_a_linear_model_is_that_of_its_hessian():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)) * [1, 2, 4, 16]
    y = rng.normal(size=(64, 1))
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((4,)), layer])
    hessian = 2 / 64 * x.T @ x
    values, vectors = np.linalg.eigh(hessian)
    found = slices.sharpest(model, x.astype("float32"), y, seed=0)
    assert found["largest"] == pytest.approx(values[-1], rel=1e-2)
    assert 0 < found["random"] <= values[-1]
    direction = found["directions"][0][0][:, 0]
    cosine = direction @ vectors[:, -1] / np.linalg.norm(direction)
    assert abs(cosine) == pytest.approx(1, abs=1e-3)


def test_alignment_is_the_share_of_the_way_in_the_slice():
    model = keras.Sequential([keras.Input((40,)), keras.layers.Dense(50)])
    first = slices.filter_normalized_direction(model, [0, 0])
    weights = [keras.ops.convert_to_numpy(v.value) for v in model.trainable_variables]
    model.start = [w - d for w, d in zip(weights, first, strict=True)]
    assert slices.alignment(model, 0) == pytest.approx(1, abs=0.1)
    rng = np.random.default_rng(9)
    model.start = [w - rng.normal(size=w.shape) for w in weights]
    # Two cosines of random vectors in 2,000 dimensions.
    assert slices.alignment(model, 0) < 4 * np.sqrt(2 / 2000)

import keras
import numpy as np
import pytest
from keras import ops

import fixinit
from fixinit.diagnostics import loss_surface
from fixinit.diagnostics.geometry.surface import filter_normalized_direction
from tests.marks import slow_on_tensorflow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 5)).astype("float32")
Y = RNG.normal(size=(16, 2)).astype("float32")


def linear():
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])


@pytest.mark.every_backend
def test_surface_of_a_linear_model_is_the_closed_form():
    model = linear()
    surface = loss_surface(model, X, Y, num_points=5, extent=0.5)
    np.testing.assert_allclose(surface.coordinates, [-0.5, -0.25, 0, 0.25, 0.5])
    kernel = ops.convert_to_numpy(model.layers[0].kernel)
    (first, _), (second, _) = surface.directions
    for i, a in enumerate(surface.coordinates):
        for j, b in enumerate(surface.coordinates):
            moved = kernel + a * first + b * second
            expected = np.mean(np.square(X @ moved - Y))
            assert surface.losses[i, j] == pytest.approx(expected, rel=1e-4)
    assert surface.center == surface.losses[2, 2]


def test_filters_of_a_direction_have_the_norms_of_the_models_filters():
    block = fixinit.layers.ResidualBlock([keras.layers.Dense(4)])
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(6, 3, name="convolution"),
            keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
            keras.layers.BatchNormalization(name="normalization"),
            keras.layers.Conv2DTranspose(4, 3, name="transposed"),
            keras.layers.GlobalAveragePooling2D(),
            fixinit.layers.Stack(block, 5, name="stack"),
        ]
    )
    paths = [v.path for v in model.trainable_variables]
    directions = dict(zip(paths, filter_normalized_direction(model, 0), strict=True))
    axes = {"convolution": (0, 1, 2), "depthwise": (0, 1), "transposed": (0, 1, 3)}
    axes["stack"] = (1,)
    compared = 0
    for v in model.trainable_variables:
        weight = ops.convert_to_numpy(v.value)
        if v.path.endswith("kernel"):
            compared += 1
            norms = [
                np.sqrt(np.sum(np.square(h), axis=axes[v.path.split("/")[-2]]))
                if "stack" not in v.path
                else np.sqrt(np.sum(np.square(h), axis=1))
                for h in (weight, directions[v.path])
            ]
            np.testing.assert_allclose(*norms, rtol=1e-4)
        else:
            assert not directions[v.path].any(), v.path
    assert compared == 4


def test_enlarged_filters_leave_the_picture_as_it_is():
    surfaces = []
    for factor in (1.0, 8.0):
        model = keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(
                    6,
                    activation="relu",
                    use_bias=False,
                    kernel_initializer=keras.initializers.HeNormal(seed=0),
                ),
                keras.layers.Dense(
                    2, kernel_initializer=keras.initializers.HeNormal(seed=1)
                ),
            ]
        )
        first, second, _ = model.trainable_variables
        first.assign(factor * first.value)
        second.assign(second.value / factor)
        surfaces.append(loss_surface(model, X, Y, num_points=5).losses)
    np.testing.assert_allclose(*surfaces, rtol=1e-3)


def test_directions_can_be_given_and_the_seed_draws_others():
    model = linear()
    along_bias = [np.zeros((5, 2)), np.ones(2)]
    nowhere = [np.zeros((5, 2)), np.zeros(2)]
    surface = loss_surface(model, X, Y, num_points=3, directions=(along_bias, nowhere))
    assert np.ptp(surface.losses, axis=1).max() == 0 < np.ptp(surface.losses[:, 0])
    first, second, third = (
        loss_surface(model, X, Y, num_points=3, seed=seed).losses for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, third)


def test_loss_of_the_compiled_model_and_overflow():
    model = linear()
    model.compile(loss="mae")
    center = loss_surface(model, X, Y, num_points=3).center
    assert center == pytest.approx(np.mean(np.abs(model.predict_on_batch(X) - Y)))
    with np.errstate(over="ignore"):
        surface = loss_surface(model, X, Y, "mse", num_points=3, extent=1e30)
    assert np.isinf(surface.losses[0, 0]) and np.isfinite(surface.center)


@slow_on_tensorflow
@pytest.mark.every_backend
@pytest.mark.parametrize("training", [False, True])
def test_measuring_changes_nothing(untouched, noisy_model, training):
    x, y = X[:8], RNG.normal(size=(8, 3)).astype("float32")
    with untouched(noisy_model):
        first, second = (
            loss_surface(noisy_model, x, y, num_points=3, training=training).losses
            for _ in range(2)
        )
    np.testing.assert_array_equal(first, second)


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="odd.*Try 5"):
        loss_surface(linear(), X, Y, num_points=4)
    with pytest.raises(ValueError, match="extent"):
        loss_surface(linear(), X, Y, extent=0)
    with pytest.raises(ValueError, match="two directions"):
        loss_surface(linear(), X, Y, directions=[[]])
    with pytest.raises(ValueError, match="like .*trainable_variables"):
        loss_surface(linear(), X, Y, directions=[[np.ones(3)], [np.ones(3)]])

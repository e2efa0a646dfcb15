"""Rules for layers that move and pool values, against layers that are run."""

import keras
import pytest

from fixinit import theory
from tests.marks import on_torch
from tests.theory.measuring import SIZE, WIDTH, check, he, network

layers = keras.layers


@on_torch
@pytest.mark.parametrize(
    "middle",
    [
        [lambda: layers.MaxPooling2D(2)],
        [lambda: layers.MaxPooling2D(3, 2, padding="same")],
        [lambda: layers.AveragePooling2D(3, 1, padding="same")],
        [lambda: layers.AveragePooling2D(2), lambda: layers.AveragePooling2D(2)],
        [layers.GlobalAveragePooling2D],
        [lambda: layers.ZeroPadding2D(((1, 2), (0, 3)))],
        [lambda: layers.Cropping2D(((1, 2), (0, 3)))],
        [lambda: layers.UpSampling2D(2), lambda: layers.AveragePooling2D(3, 1)],
        [layers.Flatten, lambda: layers.Dense(256)],
        [lambda: layers.Reshape((SIZE * SIZE, WIDTH))],
        [lambda: layers.Permute((2, 1, 3))],
        [layers.GlobalAveragePooling2D, lambda: layers.Reshape((1, 1, WIDTH))],
        [layers.GlobalAveragePooling2D, lambda: layers.RepeatVector(3)],
    ],
    ids=lambda middle: middle[0]().name,
)
@pytest.mark.parametrize(
    "activation", ["relu", pytest.param("silu", marks=pytest.mark.slow)]
)
def test_what_moves_and_pools(middle, activation):
    make = network(he(), lambda: layers.Activation(activation), *middle)
    check(make, (SIZE, SIZE, 16), 0.03, seeds=8)


def test_global_maximum_of_positions_that_are_alike():
    # Zero padding would make the borders weaker, which one window does not tell apart.
    make = network(he(padding="valid"), layers.ReLU, layers.GlobalMaxPooling2D)
    check(make, (SIZE, SIZE, 16), 0.03, seeds=8)


def test_padding_keeps_what_a_rectified_gaussian_is():
    make = network(
        he(), layers.ReLU, layers.ZeroPadding2D, lambda: layers.MaxPooling2D(3, 2)
    )
    check(make, (SIZE, SIZE, 16), 0.03, seeds=8)


def test_a_long_axis_is_like_its_parts():
    def make(n):
        return keras.Sequential(
            [
                keras.Input((n, 8)),
                layers.Conv1D(8, 3, padding="same", activation="relu"),
                layers.MaxPooling1D(2),
                layers.GlobalAveragePooling1D(),
            ]
        )

    long, longer = (theory.predict(make(n)).layers[-1] for n in (400, 4000))
    assert longer.mean_square == pytest.approx(long.mean_square, rel=5e-3)
    assert longer.variance == pytest.approx(long.variance / 10, rel=2e-2)

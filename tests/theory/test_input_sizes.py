"""Models that leave the sizes of their inputs open."""

import keras
import pytest

from fixinit import theory
from tests.marks import on_torch

layers = keras.layers


def image():
    x = inputs = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="conv")(x)
    x = layers.GlobalAveragePooling2D()(layers.UpSampling2D(2)(x))
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


def pair():
    a, b = keras.Input((None, 4), name="a"), keras.Input((6,), name="b")
    x = layers.GlobalAveragePooling1D()(a)
    return keras.Model([a, b], layers.Dense(4, name="head")(layers.concatenate([x, b])))


def test_given_sizes_are_those_of_a_model_that_has_them():
    fixed = keras.Sequential(
        [
            keras.Input((20, 12, 3)),
            layers.Conv2D(8, 3, padding="same"),
            layers.UpSampling2D(2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="head"),
        ]
    )
    found = theory.predict(image(), input_shape=(20, 12, 3))["head"]
    expected = theory.predict(fixed)["head"]
    assert found.mean_square == pytest.approx(expected.mean_square, rel=1e-9)
    assert found.gradient == pytest.approx(expected.gradient, rel=1e-9)


def test_several_inputs_have_a_list_or_names():
    by_list = theory.predict(pair(), input_shape=[(5, 4), (6,)])["head"]
    by_name = theory.predict(pair(), input_shape={"b": (6,), "a": (5, 4)})["head"]
    assert by_list == by_name


def test_open_sizes_are_asked_for():
    with pytest.raises(ValueError, match=r"Give `predict` an `input_shape`"):
        theory.predict(image())


@on_torch
def test_sizes_may_be_very_large():
    small, large = (
        theory.predict(image(), input_shape=(n, n, 3))["conv"] for n in (2000, 10**9)
    )
    assert large.mean_square == pytest.approx(small.mean_square, rel=0.01)


@pytest.mark.parametrize(
    "make, shape, message",
    [
        (image, (20, 12, 4), r"fit the input `image`.*\(20, 12, 4\)"),
        (image, (20, 12), r"fit the input `image`"),
        (image, 20, "must be the shape of the input without the batch"),
        (image, (20, None, 3), "must be the shape of the input"),
        (image, (20, 0, 3), "must be the shape of the input"),
        (image, (10**400, 20, 3), "must be the shape of the input"),
        (pair, (5, 4), "a list of one shape for every input"),
        (pair, {"a": (5, 4)}, r"names of the inputs: \['a', 'b'\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(make, shape, message):
    with pytest.raises(ValueError, match=message):
        theory.predict(make(), input_shape=shape)

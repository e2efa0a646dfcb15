"""Rows of a stacked draw are separate draws."""

import keras
import numpy as np
import pytest

from fixinit.initializers import Fixup, Stacked


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: keras.initializers.HeNormal(seed=seed),
        lambda seed: keras.initializers.RandomUniform(seed=seed),
        lambda seed: Fixup(num_branches=7, seed=seed),
        # Seeds are 32 bits wide.
        lambda seed: keras.initializers.HeNormal(seed=2**31 - 5 + seed),
    ],
    ids=["truncated_normal", "uniform", "fixup", "large_seeds"],
)
def test_rows_equal_draws_with_the_shifted_seed(make):
    rows = numpy(Stacked(make(3), seed_step=4)((5, 6, 2)))
    separate = [numpy(make(3 + 4 * i)((6, 2))) for i in range(5)]
    # XLA may contract a product and a sum, which changes the last bit.
    np.testing.assert_allclose(rows, np.stack(separate), rtol=3e-7, atol=0)
    assert len(np.unique(rows[:, 0, 0])) == 5


def test_stacks_of_stacks():
    inner = Stacked(keras.initializers.HeNormal(seed=3), seed_step=2)
    rows = numpy(Stacked(inner, seed_step=8)((3, 4, 6, 2)))
    separate = [
        [
            numpy(keras.initializers.HeNormal(seed=3 + 8 * i + 2 * j)((6, 2)))
            for j in range(4)
        ]
        for i in range(3)
    ]
    np.testing.assert_allclose(rows, separate, rtol=3e-7, atol=0)


def test_initializers_without_a_seed_repeat_themselves():
    rows = Stacked(keras.initializers.Constant(2.5))((3, 4), dtype="float32")
    assert (numpy(rows) == 2.5).all()


def test_seed_generators_and_functions_are_called_once_per_row():
    generator = keras.random.SeedGenerator(1)
    rows = numpy(Stacked(keras.initializers.HeNormal(seed=generator))((3, 4)))
    assert len(np.unique(rows)) == 12
    counter = iter(range(3))
    rows = Stacked(lambda shape, dtype=None: keras.ops.full(shape, next(counter)))
    assert numpy(rows((3, 2))).tolist() == [[0, 0], [1, 1], [2, 2]]


def test_serialization():
    initializer = Stacked(keras.initializers.HeNormal(seed=3), seed_step=4)
    config = keras.initializers.serialize(initializer)
    again = keras.initializers.deserialize(config)
    assert (numpy(again((2, 3))) == numpy(initializer((2, 3)))).all()


def test_seeds_inside_another_initializer_are_shifted_too():
    @keras.saving.register_keras_serializable("test_stacked")
    class Doubled(keras.initializers.Initializer):
        def __init__(self, seed):
            self.base_config = seed

        def __call__(self, shape, dtype=None):
            return 2 * keras.initializers.HeNormal(self.base_config["seed"])(shape)

        def get_config(self):
            return {"seed": self.base_config}

    rows = numpy(Stacked(Doubled({"seed": 3}), seed_step=2)((3, 5, 4)))
    expected = 2 * numpy(keras.initializers.HeNormal(seed=7)((5, 4)))
    np.testing.assert_allclose(rows[2], expected, rtol=3e-7)


def test_initializers_of_other_packages_are_not_mixed_up():
    class Scaled(keras.initializers.RandomNormal):
        def __init__(self, scale):
            super().__init__(seed=1)
            self.scale = scale

        def __call__(self, shape, dtype=None):
            return self.scale * super().__call__(shape, dtype)

        def get_config(self):
            return {}

    one, ten = (numpy(Stacked(Scaled(scale))((3, 4))) for scale in (1.0, 10.0))
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-6)


@pytest.mark.parametrize("seed_step", [0, 1.5, -1, True, None, 2**63])
def test_refuses_seed_steps_that_are_no_distance(seed_step):
    with pytest.raises(ValueError, match="`seed_step` must be an integer"):
        Stacked("he_normal", seed_step)

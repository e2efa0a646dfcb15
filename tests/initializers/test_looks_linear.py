import keras
import numpy as np
import pytest

from fixinit.initializers import DeltaOrthogonal, LooksLinear, Stacked
from fixinit.layers import CReLU, ResidualBlock, Stack


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("shape", [(8, 5), (3, 8, 5), (3, 3, 2, 4)])
def test_kernels_are_mirrored(shape):
    kernel = numpy(LooksLinear("he_normal", seed=1)(shape))
    first, second = np.split(kernel, 2, axis=-2)
    np.testing.assert_array_equal(second, -first)
    half = (*shape[:-2], shape[-2] // 2, shape[-1])
    expected = keras.initializers.HeNormal(seed=1)(half)
    np.testing.assert_array_equal(first, numpy(expected))


def test_deep_networks_are_orthogonal_maps():
    layers = [keras.Input((8,))]
    for seed in range(50):
        kernel = LooksLinear(seed=seed)
        layers += [CReLU(), keras.layers.Dense(8, kernel_initializer=kernel)]
    model = keras.Sequential(layers)
    x = np.random.default_rng(0).normal(size=(20, 8)).astype("float32")
    matrix = numpy(model(np.eye(8, dtype="float32")))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(8), atol=1e-4)
    np.testing.assert_allclose(numpy(model(x)), x @ matrix, atol=1e-4)


def test_convolutions_keep_norms():
    kernel = LooksLinear(DeltaOrthogonal(seed=3))
    layer = keras.layers.Conv2D(
        6, 3, padding="same", kernel_initializer=kernel, data_format="channels_last"
    )
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 4)).astype("float32")
    norms = np.linalg.norm(numpy(layer(CReLU()(x))), axis=-1)
    np.testing.assert_allclose(norms, np.linalg.norm(x, axis=-1), rtol=1e-5)


def test_a_seed_takes_the_place_of_the_initializers():
    inner = keras.initializers.HeNormal(seed=7)
    a, b = LooksLinear(inner), LooksLinear(inner, seed=9)
    assert (a.seed, b.seed, inner.seed) == (7, 9, 7)
    expected = LooksLinear("he_normal", seed=9)((4, 3))
    np.testing.assert_array_equal(numpy(b((4, 3))), numpy(expected))


@pytest.mark.parametrize(
    "initializer",
    [
        LooksLinear(seed=3),
        LooksLinear(keras.initializers.HeNormal(seed=3)),
        LooksLinear(keras.initializers.HeNormal(seed=3), seed=5),
        LooksLinear(DeltaOrthogonal(2.0), seed=3),
        LooksLinear("zeros"),
    ],
)
def test_serialization(initializer):
    config = keras.initializers.serialize(initializer)
    again = keras.initializers.deserialize(config)
    assert keras.initializers.serialize(again) == config
    shape = (3, 3, 4, 2)
    np.testing.assert_array_equal(numpy(again(shape)), numpy(initializer(shape)))


def test_rows_of_a_stack_are_draws_with_shifted_seeds():
    for inner in (keras.initializers.Orthogonal(), keras.initializers.HeNormal()):
        rows = numpy(Stacked(LooksLinear(inner, seed=3), seed_step=2)((4, 6, 3)))
        separate = [numpy(LooksLinear(inner, seed=3 + 2 * i)((6, 3))) for i in range(4)]
        np.testing.assert_allclose(rows, separate, rtol=1e-5, atol=1e-6)


def test_rows_with_initializers_of_other_packages_are_not_mixed_up():
    class Scaled(keras.initializers.RandomNormal):
        def __init__(self, scale, seed=1):
            super().__init__(seed=seed)
            self.scale = scale

        def __call__(self, shape, dtype=None):
            return self.scale * super().__call__(shape, dtype)

        def get_config(self):
            return {"scale": self.scale, "seed": self.seed}

    with keras.saving.custom_object_scope({"Scaled": Scaled}):
        one, ten = (
            numpy(Stacked(LooksLinear(Scaled(s)))((3, 4, 2))) for s in (1.0, 10.0)
        )
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-6)


def test_blocks_of_a_stack_draw_apart(tmp_path):
    dense = keras.layers.Dense(4, kernel_initializer=LooksLinear(seed=1))
    stack = Stack(ResidualBlock([CReLU(), dense]), 3)
    model = keras.Sequential([keras.Input((4,)), stack])
    kernels = numpy(stack.weights[0])
    assert len(np.unique(np.abs(kernels[:, :4]))) == 3 * 16
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(numpy(loaded.weights[0]), kernels)


@pytest.mark.parametrize("shape", [(3, 4), (3, 3, 5, 4), (4,)])
def test_refuses_kernels_without_two_halves(shape):
    with pytest.raises(ValueError, match="even number of input channels.*CReLU"):
        LooksLinear()(shape)

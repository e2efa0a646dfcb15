"""What the layers that distort residual branches at random have in common."""

import keras
import numpy as np
import pytest
from keras import ops

from fixinit import backend
from fixinit.layers import (
    ResidualBlock,
    ShakeDrop,
    ShakeShake,
    Stack,
    StochasticDepth,
    noise,
)
from tests.marks import mostly_slow

WIDTH = 4


def numpy(x):
    return ops.convert_to_numpy(x)


def shaken(seed, width=WIDTH):
    """A branch that consists of two."""
    x = keras.Input((width,))
    first, second = (
        keras.layers.Dense(width, kernel_initializer=he(seed + i))(x) for i in range(2)
    )
    return keras.Model(x, ShakeShake(seed=seed + 2)([first, second]))


def he(seed):
    return keras.initializers.HeNormal(seed=seed)


NOISES = {
    "stochastic_depth": lambda seed: StochasticDepth(0.5, "sample", seed=seed),
    "stochastic_depth_of_batches": lambda seed: StochasticDepth(0.5, seed=seed),
    "inverted": lambda seed: StochasticDepth(0.5, "sample", "inverted", seed=seed),
    "shake_drop": lambda seed: ShakeDrop(0.5, seed=seed),
    "shake_shake": shaken,
}


def block(kind, seed=1):
    dense = keras.layers.Dense(
        WIDTH, activation="relu", kernel_initializer=he(seed + 9)
    )
    return ResidualBlock([dense, NOISES[kind](seed)])


def model_of(*layers):
    return keras.Sequential([keras.Input((WIDTH,)), *layers])


def inputs(size=16):
    return np.random.default_rng(0).normal(size=(size, WIDTH)).astype("float32")


@pytest.mark.parametrize("level", noise.LEVELS)
def test_one_draw_for_each_of_a_level(level):
    x = ops.zeros((3, 5, 7))
    draws = noise.uniform(x, level, keras.random.SeedGenerator(1), -1, 1)
    expected = {
        "batch": (1, 1, 1),
        "sample": (3, 1, 1),
        "channel": (3, 1, 7),
        "element": (3, 5, 7),
    }[level]
    assert tuple(draws.shape) == expected
    assert len(np.unique(numpy(draws))) == np.prod(expected)


def test_draws_are_uniform():
    size = 10_000
    draws = noise.uniform(
        ops.zeros((size,)), "element", keras.random.SeedGenerator(1), -1, 3
    )
    draws = np.sort(numpy(draws))
    assert -1 <= draws[0] and draws[-1] < 3
    # The bound of Dvoretzky, Kiefer, Wolfowitz and Massart, at 1 in a million.
    distance = np.abs((draws + 1) / 4 - (np.arange(size) + 0.5) / size).max()
    assert distance < np.sqrt(np.log(2e6) / (2 * size)) + 0.5 / size


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_with_gradient_of_keeps_the_bits(dtype):
    rng = np.random.default_rng(0)
    values, other = (ops.cast(rng.normal(size=100), dtype) for _ in range(2))
    found = noise.with_gradient_of(values, 1000 * other)
    np.testing.assert_array_equal(
        numpy(ops.cast(found, "float32")), numpy(ops.cast(values, "float32"))
    )


def test_with_gradient_of_has_the_gradient_of_the_other():
    def total(variables):
        (x,) = variables
        return ops.sum(noise.with_gradient_of(ops.exp(x), 3 * x))

    x = ops.convert_to_tensor(inputs())
    (found,) = backend.value_and_gradients(total)([x])[1]
    assert (numpy(found) == 3).all()


@pytest.mark.parametrize("kind", NOISES)
def test_same_seed_same_noise_and_new_noise_at_every_call(kind):
    x = inputs()
    once, again = (block(kind)(x, training=True) for _ in range(2))
    np.testing.assert_array_equal(numpy(once), numpy(again))
    layer = block(kind)
    outputs = [numpy(layer(x, training=True)) for _ in range(8)]
    # Of 8 draws for a batch, all are alike with probability 2 / 2^8.
    assert any((outputs[0] != other).any() for other in outputs[1:])


@pytest.mark.parametrize("kind", NOISES)
def test_test_time_is_deterministic(kind):
    layer, x = block(kind), inputs()
    np.testing.assert_array_equal(numpy(layer(x)), numpy(layer(x)))


@mostly_slow(
    ("kind", "jit_compile"),
    [
        ("stochastic_depth", False),
        ("shake_drop", False),
        ("shake_shake", False),
        ("stochastic_depth", True),
        ("shake_drop", True),
        ("shake_shake", True),
    ],
    quick=2,
)
def test_stacks_draw_for_every_block_and_train(kind, jit_compile):
    if jit_compile and keras.backend.backend() != "tensorflow":
        pytest.skip("a choice on TensorFlow only")
    stack = Stack(block(kind), 3)
    stack.build((None, WIDTH))
    blocks, x = stack.unstack(), inputs()
    histories = []
    for model in (model_of(stack), model_of(*blocks)):
        model.compile(
            keras.optimizers.SGD(0.01),
            "mse",
            jit_compile=jit_compile or keras.backend.backend() == "jax",
        )
        history = model.fit(
            x, x[:, ::-1], batch_size=8, epochs=3, shuffle=False, verbose=0
        )
        histories.append(history.history["loss"])
    np.testing.assert_allclose(*histories, rtol=1e-5)


def test_survival_probabilities_of_a_stack():
    blocks = []
    for index, p in enumerate([1.0, 0.75, 0.5]):
        dense = keras.layers.Dense(WIDTH, kernel_initializer=he(index))
        blocks.append(ResidualBlock([dense, StochasticDepth(p, seed=index)]))
    x = expected = inputs()
    for layer in blocks:
        expected = layer(expected)
    stack = Stack.from_blocks(blocks)
    assert list(stack.constants) == ["branch.1.survival_probability"]
    np.testing.assert_allclose(numpy(stack(x)), numpy(expected), rtol=1e-5)


@pytest.mark.parametrize("kind", NOISES)
def test_save_and_load(kind, tmp_path):
    model = model_of(block(kind))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    x = inputs()
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))
    np.testing.assert_array_equal(
        numpy(loaded(x, training=True)), numpy(model(x, training=True))
    )


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(kind, policy):
    keras.config.set_dtype_policy(policy)
    layer = block(kind)
    for training in (False, True):
        outputs = layer(inputs(), training=training)
        compute = keras.backend.standardize_dtype(outputs.dtype)
        assert compute == policy.removeprefix("mixed_")


@pytest.mark.parametrize(
    "layer", [StochasticDepth(seed=1), ShakeDrop(seed=1)], ids=lambda x: x.name
)
@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 5, 3), (1, 4, 4, 3)])
def test_shapes(layer, shape):
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *shape[1:])
    assert tuple(layer(ops.ones(shape), training=True).shape) == shape
    assert not layer.weights


@pytest.mark.parametrize("layer_class", [StochasticDepth, ShakeDrop])
def test_refuses_integer_images(layer_class):
    with pytest.raises(ValueError, match="uint8.*scale"):
        layer_class()(np.ones((1, 2, 2, 3), "uint8"))


@pytest.mark.parametrize("layer_class", [StochasticDepth, ShakeDrop])
@pytest.mark.parametrize("probability", [0, -0.1, 1.5, float("nan"), "0.5", None])
def test_refuses_probabilities_out_of_range(layer_class, probability):
    with pytest.raises(ValueError, match=r"survival_probability.*\(0, 1\]"):
        layer_class(probability)


@pytest.mark.parametrize("layer_class", [StochasticDepth, ShakeDrop, ShakeShake])
def test_refuses_unknown_levels(layer_class):
    with pytest.raises(ValueError, match="level.*Did you mean 'batch'"):
        layer_class(level="batches")

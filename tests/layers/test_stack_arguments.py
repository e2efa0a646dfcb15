"""What a stack refuses, of blocks that are shared, unequal or out of seeds."""

import keras
import numpy as np
import pytest

from fixinit.layers import ResidualBlock, Stack

WIDTH = 4


def dense(**kwargs):
    return keras.layers.Dense(WIDTH, **kwargs)


def functional(layer):
    x = keras.Input((WIDTH,))
    return keras.Model(x, layer(x))


@keras.saving.register_keras_serializable("fixinit_tests")
class Blend(keras.layers.Layer):
    """Derives one number from another when it is made."""

    def __init__(self, alpha, derive=True, **kwargs):
        super().__init__(**kwargs)
        self.alpha = alpha
        if derive:
            self.beta = 1 - alpha

    def call(self, inputs):
        return self.alpha * inputs

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}


@keras.saving.register_keras_serializable("fixinit_tests")
class Hidden(keras.layers.Layer):
    """Keeps a number of its configuration under another name."""

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self._factor = scale

    def call(self, inputs):
        return self._factor * inputs

    def get_config(self):
        return {**super().get_config(), "scale": self._factor}


def test_a_layer_of_a_functional_block_that_is_called_elsewhere_is_refused():
    layer = dense()
    block = functional(layer)
    layer(keras.Input((WIDTH,)))
    with pytest.raises(ValueError, match="is in use"):
        Stack(block, 3)


def test_two_stacks_do_not_share_a_layer():
    layer = dense()
    Stack(ResidualBlock([layer]), 3)
    with pytest.raises(ValueError, match="is in use"):
        Stack(ResidualBlock([layer]), 3)


def test_parts_of_parts_are_looked_at():
    layer = dense()
    layer(keras.Input((WIDTH,)))
    with pytest.raises(ValueError, match="is in use"):
        Stack(ResidualBlock([ResidualBlock([layer])]), 3)


def test_functional_and_sequential_blocks_are_not_taken_for_shared():
    Stack(functional(dense()), 3)
    Stack(functional(functional(dense())), 3)
    Stack(keras.Sequential([keras.Input((WIDTH,)), dense(), dense()]), 3)


def test_seeds_must_fit():
    initializer = keras.initializers.HeNormal(seed=10**6)
    layers = [
        dense(kernel_initializer=initializer),
        keras.layers.Dropout(0.1, seed=42),
    ]
    with pytest.raises(ValueError, match="below 2\\*\\*32.*seed_step=999959"):
        Stack(ResidualBlock(layers), 5000)
    Stack(ResidualBlock(layers), 100)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda i: dense(dtype=["float32", "mixed_bfloat16"][i]), "dtype"),
        (lambda i: Blend(0.1 + i), "'beta' of the same layer"),
        (lambda i: Hidden(0.1 + i), "no attribute of the block"),
    ],
)
def test_blocks_that_constants_cannot_make_alike_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        Stack.from_blocks([make(0), make(1)])


def test_blocks_built_on_different_shapes_are_refused():
    blocks = [keras.layers.Dense(WIDTH) for _ in range(2)]
    for width, block in enumerate(blocks, start=WIDTH):
        block.build((None, width))
    with pytest.raises(ValueError, match="on one shape"):
        Stack.from_blocks(blocks)


def test_blocks_built_on_different_batches_are_one_shape():
    blocks = [dense(), dense()]
    for size, block in enumerate(blocks, start=2):
        block(np.ones((size, WIDTH), "float32"))
    assert Stack.from_blocks(blocks).depth == 2


def test_blocks_that_are_not_built_stay_so():
    blocks = [dense(), dense()]
    stack = Stack.from_blocks(blocks)
    assert stack(np.ones((2, WIDTH), "float32")).shape == (2, WIDTH)
    assert not any(block.built for block in blocks)
    Stack(blocks[1], 3)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        (3, "`constants` must be a dict"),
        ([float("nan")], "`constants` must be a dict"),
        ({"epsilon": 3}, "`constants` must be a tuple"),
        ({"epsilon": [float("nan"), 1.0]}, "`constants.*` must be a list of finite"),
        ({"epsilon": [True, 1.0]}, "`constants.*` must be a list of finite"),
        ({3: [1.0, 1.0]}, "no attribute 3"),
    ],
)
def test_refuses_constants_that_are_no_numbers(constants, message):
    block = keras.layers.LayerNormalization(epsilon=0.1)
    with pytest.raises(ValueError, match=message):
        Stack(block, 2, constants=constants)


@pytest.mark.parametrize("depth", [0, 1.5, True, 2**63, 10**400, "3", None])
def test_refuses_a_depth_that_no_stack_has(depth):
    with pytest.raises(ValueError, match="`depth` must be an integer"):
        Stack(dense(), depth)


@pytest.mark.parametrize("remat", [0, True, 1.5, "all", np.array([1, 2]), []])
def test_refuses_what_is_no_remat(remat):
    with pytest.raises(ValueError, match="`remat` must be None"):
        Stack(dense(), 2, remat=remat)

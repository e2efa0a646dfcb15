"""Masks, `training` and other call arguments in residual blocks and stacks."""

import keras
import numpy as np
import pytest
from keras import ops

from fixinit import _keras, graph
from fixinit.layers import ResidualBlock, ScalarMultiplier, ScaledAdd, Stack
from tests.marks import slow_on_tensorflow

IDS = np.array([[3, 1, 4, 0, 0], [2, 5, 0, 0, 0], [1, 2, 3, 4, 5]])
MASK = IDS != 0
WIDTH = 4


def numpy(x):
    return ops.convert_to_numpy(x)


def close(found, expected):
    np.testing.assert_allclose(numpy(found), numpy(expected), rtol=1e-5, atol=1e-6)


def sequences(length=5, seed=0):
    shape = (len(IDS), length, WIDTH)
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def embedding():
    return keras.layers.Embedding(
        6, WIDTH, mask_zero=True, embeddings_initializer="he_normal"
    )


def recurrent():
    return keras.layers.SimpleRNN(WIDTH, return_sequences=True)


def pooled(x):
    """The mean over what the mask of `x` leaves."""
    return keras.layers.GlobalAveragePooling1D()(x)


def attention(**kwargs):
    return keras.layers.MultiHeadAttention(num_heads=1, key_dim=3, **kwargs)


def self_attention():
    x = keras.Input((None, WIDTH))
    return keras.Model(x, attention()(x, x))


# A residual block is what its layers are, one by one.


@pytest.mark.parametrize("activation", [None, "relu"])
def test_masks_pass_through_branch_shortcut_and_merge(activation):
    first, second, projection = recurrent(), recurrent(), keras.layers.Dense(WIDTH)
    block = ResidualBlock(
        [first, ScalarMultiplier("ones"), second],
        shortcut=[projection],
        activation=activation,
    )
    x = embedding()(IDS)
    outputs = pooled(block(x))
    separate = keras.layers.Add()([projection(x), second(first(x))])
    expected = pooled(keras.layers.Activation(activation)(separate))
    close(outputs, expected)
    bare = pooled(block(ops.convert_to_tensor(numpy(x))))
    assert np.abs(numpy(bare) - numpy(expected))[:2].max() > 1e-3


def test_attention_leaves_the_shortcut_its_mask():
    block = ResidualBlock([attention()], activation="relu")
    x = embedding()(IDS)
    assert (numpy(_keras.get_mask(block(x, x))) == MASK).all()


def test_masks_in_a_functional_model():
    embed, layer = embedding(), recurrent()
    block = ResidualBlock([layer], activation="tanh")
    ids = keras.Input((5,), dtype="int32")
    model = keras.Model(ids, pooled(block(embed(ids))))
    x = embed(IDS)
    separate = keras.layers.Add()([x, layer(x)])
    expected = pooled(keras.layers.Activation("tanh")(separate))
    close(model.predict(IDS, verbose=0), expected)
    # The mask is no second input of the block, which is taken apart as before.
    names = [call.name for call in graph.trace(model).calls]
    assert any(name.endswith(layer.name) for name in names)


def test_a_mask_that_is_given_is_forgotten_after_the_call():
    layer = recurrent()
    block = ResidualBlock([layer], plain=True)
    x = ops.convert_to_tensor(sequences())
    mask = ops.convert_to_tensor(MASK)
    close(block(x, mask=mask), layer(x, mask=mask))
    without = layer(x)
    close(block(x), without)
    assert np.abs(numpy(block(x, mask=mask)) - numpy(without)).max() > 1e-3


def test_masks_of_outputs_without_data():
    x = keras.KerasTensor((None, 5, WIDTH))
    mask = ops.convert_to_tensor(MASK)
    for merge in (ScaledAdd(), keras.layers.Add()):
        block = ResidualBlock([keras.layers.Dense(WIDTH)], merge=merge)
        block.build(x.shape)
        assert (numpy(block.compute_mask(x, mask)) == MASK).all()
        assert block.compute_mask(x, None) is None


@pytest.mark.filterwarnings("ignore:Layer .* does not support masking")
def test_layers_that_drop_a_mask_drop_the_blocks():
    convolution = keras.layers.Conv1D(WIDTH, 3, padding="same")
    block = ResidualBlock([convolution])
    x = embedding()(IDS)
    outputs = block(x)
    close(pooled(outputs), ops.mean(x + convolution(x), axis=1))
    assert block.compute_mask(x, ops.convert_to_tensor(MASK)) is None


# Further inputs and call arguments.


def test_further_inputs_go_to_one_layer_with_their_masks():
    norm, attend = keras.layers.LayerNormalization(), attention()
    block = ResidualBlock([norm, attend], context_layer=1)
    x, embed = ops.convert_to_tensor(sequences(3)), embedding()
    # Attention takes the mask off its inputs; a block leaves it there for others.
    expected = x + attend(norm(x), embed(IDS))
    context = embed(IDS)
    for _ in range(2):
        close(block(x, context), expected)
    bare = block(x, ops.convert_to_tensor(numpy(context)))
    assert np.abs(numpy(bare) - numpy(expected)).max() > 1e-3
    assert block.compute_output_shape((None, 3, WIDTH), [(None, 5, WIDTH)]) == (
        None,
        3,
        WIDTH,
    )


def test_further_inputs_of_a_functional_model():
    x, context = keras.Input((3, WIDTH)), keras.Input((5, WIDTH))
    attend = attention()
    branch = keras.Model([x, context], attend(x, context))
    block = ResidualBlock([branch])
    x, context = map(ops.convert_to_tensor, (sequences(3), sequences(5)))
    close(block(x, context), x + attend(x, context))


def test_save_and_load_with_further_inputs(tmp_path):
    x, context = keras.Input((3, WIDTH)), keras.Input((5, WIDTH))
    block = ResidualBlock(
        [keras.layers.LayerNormalization(), attention()], context_layer=1
    )
    model = keras.Model([x, context], block(x, context))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    data = [sequences(3), sequences(5)]
    np.testing.assert_array_equal(
        loaded.predict(data, verbose=0), model.predict(data, verbose=0)
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"use_causal_mask": True},
        {"attention_mask": ops.convert_to_tensor(np.tril(np.ones((1, 5, 5), bool)))},
    ],
    ids=lambda x: next(iter(x)),
)
def test_call_arguments_reach_the_layers_that_take_them(arguments):
    norm, attend = keras.layers.LayerNormalization(), attention()
    inner = ResidualBlock([norm, attend], context_layer=1)
    block = ResidualBlock([inner, keras.layers.Dense(WIDTH, name="dense")], plain=True)
    x = ops.convert_to_tensor(sequences())
    expected = block.branch[1](x + attend(norm(x), x, **arguments))
    close(block(x, x, **arguments), expected)
    assert np.abs(numpy(block(x, x)) - numpy(expected)).max() > 1e-3
    with pytest.raises(TypeError, match="`causal`.*no layer of its branch.*dense"):
        block(x, x, causal=True)


def test_training_reaches_the_layers_when_it_is_given():
    dropout = keras.layers.Dropout(0.5, seed=0)
    block = ResidualBlock([keras.layers.Identity(), dropout], plain=True)
    x = np.ones((20, 8), "float32")
    assert (numpy(block.call(ops.convert_to_tensor(x), training=True)) == 0).any()
    assert (numpy(block.call(ops.convert_to_tensor(x), training=False)) == 1).all()


@pytest.mark.parametrize("index", [-1, 1, 0.5])
def test_the_layer_of_further_inputs_is_one_of_the_branch(index):
    with pytest.raises(ValueError, match="`context_layer`"):
        ResidualBlock([keras.layers.Dense(WIDTH)], context_layer=index)


# Stacks.


def stack_of(*layers, depth=3, **kwargs):
    """A stack of residual blocks, and the same blocks one by one."""
    stack = Stack(ResidualBlock(layers, **kwargs), depth)
    stack.build((None, 5, WIDTH))
    return stack, stack.unstack()


@slow_on_tensorflow
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("branch", [recurrent, self_attention])
def test_every_block_of_a_stack_gets_the_mask(branch, activation):
    stack, blocks = stack_of(branch(), activation=activation)
    x = expected = embedding()(IDS)
    for block in blocks:
        expected = block(expected)
    close(pooled(stack(x)), pooled(expected))
    bare = numpy(pooled(stack(ops.convert_to_tensor(numpy(x)))))
    assert np.abs(bare - numpy(pooled(expected)))[:2].max() > 1e-3


def test_stacks_in_a_functional_model_with_a_mask():
    stack, blocks = stack_of(recurrent())
    embed = embedding()
    ids = keras.Input((5,), dtype="int32")
    model = keras.Model(ids, pooled(stack(embed(ids))))
    x = embed(IDS)
    for block in blocks:
        x = block(x)
    close(model.predict(IDS, verbose=0), pooled(x))


@pytest.mark.filterwarnings("ignore:Layer .* does not support masking")
def test_a_stack_warns_of_blocks_that_drop_the_mask():
    stack, blocks = stack_of(keras.layers.Conv1D(WIDTH, 3, padding="same"))
    x = embedding()(IDS)
    with pytest.warns(UserWarning, match="drops the mask"):
        outputs = stack(x)
    expected = ops.convert_to_tensor(numpy(x))
    for block in blocks:
        expected = block(expected)
    close(pooled(outputs), ops.mean(expected, axis=1))

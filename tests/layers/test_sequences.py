"""Positions, class tokens, embeddings of tokens, pooling."""

import numpy as np
import pytest
from keras import ops

from fixinit.initializers import SinePositions
from fixinit.layers import (
    ClassToken,
    PositionEmbedding,
    SequencePooling,
    TokenEmbedding,
)


def numpy(x):
    return ops.convert_to_numpy(x)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_positions_count_from_the_first_element_that_is_not_masked():
    layer, x = PositionEmbedding(6), normal(2, 4, 3)
    plain = numpy(layer(x))
    table = numpy(layer.table)
    np.testing.assert_allclose(plain, x + table[:4], rtol=1e-6)
    mask = np.array([[False, False, True, True], [True, True, True, False]])
    found = numpy(layer(x, mask=mask))
    np.testing.assert_allclose(found[0, 2:], x[0, 2:] + table[:2], rtol=1e-6)
    np.testing.assert_allclose(found[1, :3], x[1, :3] + table[:3], rtol=1e-6)


def test_sequences_longer_than_positions_are_refused():
    with pytest.raises(ValueError, match="has 3 positions. Received: sequences of 4"):
        PositionEmbedding(3)(normal(2, 4, 3))


def test_sines():
    table = numpy(SinePositions()((7, 6)))
    for t in range(7):
        for i in range(3):
            angle = t * 10_000 ** (-2 * i / 6)
            pair = table[t, 2 * i], table[t, 2 * i + 1]
            np.testing.assert_allclose(pair, (np.sin(angle), np.cos(angle)), atol=1e-6)
    with pytest.raises(ValueError, match="must be \\(length, channels\\)"):
        SinePositions()((3,))


def test_class_token_stands_in_front():
    layer, x = ClassToken("ones"), normal(2, 3, 4)
    outputs = numpy(layer(x))
    np.testing.assert_array_equal(outputs[:, 0], np.ones((2, 4)))
    np.testing.assert_array_equal(outputs[:, 1:], x)
    assert layer.compute_output_shape((2, 3, 4)) == outputs.shape


@pytest.mark.parametrize("skip", [0, 1])
def test_pooling(skip):
    x = normal(2, 3, 4)
    average = numpy(SequencePooling("average", skip)(x))
    np.testing.assert_allclose(average, x[:, skip:].mean(1), rtol=1e-5)
    np.testing.assert_array_equal(numpy(SequencePooling("first", skip)(x)), x[:, 0])
    with pytest.raises(ValueError, match="`pooling` must be one of"):
        SequencePooling("last")


def test_embeddings_score_tokens_too_and_mask_any_of_them():
    layer = TokenEmbedding(5, 3, mask_token=4)
    tokens = np.array([[4, 0, 2]])
    x = layer(tokens)
    table = numpy(layer.embeddings)
    np.testing.assert_array_equal(numpy(x), table[tokens])
    np.testing.assert_array_equal(
        numpy(layer.compute_mask(ops.convert_to_tensor(tokens))), [[False, True, True]]
    )
    scores = numpy(layer(x, reverse=True))
    np.testing.assert_allclose(scores, numpy(x) @ table.T, rtol=1e-5)
    again = TokenEmbedding.from_config(layer.get_config())
    assert again.mask_token == 4
    with pytest.raises(ValueError, match="`mask_token` must be"):
        TokenEmbedding(5, 3, mask_token=5)


@pytest.mark.parametrize("pooling", ["first", "average"])
def test_pooling_leaves_out_what_is_masked(pooling):
    x = normal(2, 5, 3)
    mask = np.array(
        [[False, False, True, True, True], [True, True, True, False, False]]
    )
    layer = SequencePooling(pooling, skip=1)
    found = numpy(layer(x, mask=mask))
    for row, start in ((0, 2), (1, 0)):
        expected = numpy(layer(x[row : row + 1, start : start + 3]))[0]
        np.testing.assert_allclose(found[row], expected, rtol=1e-5)
    # More vectors than half precision counts to.
    many = np.ones((1, 3000, 1), "float32")
    half = SequencePooling("average", dtype="bfloat16")(many, mask=many[:, :, 0] > 0)
    assert float(half[0, 0]) == 1.0


def test_averages_of_nothing_and_of_large_numbers():
    layer = SequencePooling("average", skip=3, name="pool")
    with pytest.raises(ValueError, match="`pool` leaves out the first 3"):
        layer(normal(1, 3, 2))
    large = np.full((1, 512, 1), 200.0, "float16")
    half = SequencePooling("average", dtype="float16")
    found = half(large, mask=np.ones((1, 512), bool))
    assert float(found[0, 0]) == 200

"""What makes the outputs of a model keeps its bias vectors and activations."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from tests.conversion.helpers import convert, normal, roles, said
from tests.marks import on_torch

FREE = ("fixup", "skip_init", "scaled_residual")
PRIOR = -4.6


def prior():
    return keras.initializers.Constant(PRIOR)


def pyramid(inputs, levels=2):
    x = inputs
    for _ in range(levels):
        x = layers.Conv2D(8, 3, 2, "same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        yield x


def detector(shared):
    """Scores of several levels, by one convolution or by one for each."""
    inputs = keras.Input((16, 16, 3))
    convolution = layers.Conv2D(6, 1, bias_initializer=prior(), name="scores")
    found = []
    for number, x in enumerate(pyramid(inputs)):
        own = layers.Conv2D(6, 1, bias_initializer=prior(), name=f"scores{number}")
        found.append(layers.Reshape((-1, 3))((convolution if shared else own)(x)))
    x = layers.Concatenate(axis=1)(found)
    return keras.Model(inputs, layers.Activation("sigmoid")(x))


@on_torch
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("scheme", FREE)
def test_heads_of_several_levels(scheme, shared):
    free = convert(detector(shared), scheme)
    heads = [name for name, role in roles(free).items() if role == "head"]
    assert {name.partition(":")[0] for name in heads} == (
        {"scores"} if shared else {"scores0", "scores1"}
    )
    scores = ops.convert_to_numpy(free(normal(4, 16, 16, 3)))
    assert np.median(scores) == pytest.approx(0.01, rel=0.3)


def test_boxes_and_scores_of_one_level():
    inputs = keras.Input((8, 8, 3))
    (x,) = pyramid(inputs, 1)
    box = layers.Conv2D(4, 1, name="box")(x)
    score = layers.Conv2D(2, 1, activation="sigmoid", bias_initializer=prior())(x)
    joined = layers.Reshape((-1, 6))(layers.Concatenate()([box, score]))
    free = convert(keras.Model(inputs, joined), "skip_init")
    assert list(roles(free).values()).count("head") == 2


def test_scores_that_are_split():
    """One convolution whose channels are boxes and scores, as in YOLO."""
    inputs = keras.Input((8, 8, 3))
    (x,) = pyramid(inputs, 1)
    y = layers.Conv2D(6, 1, name="both", bias_initializer=prior())(x)
    box, score = ops.exp(y[..., :4]), ops.sigmoid(y[..., 4:])
    free = convert(keras.Model(inputs, ops.concatenate([box, score], axis=-1)))
    assert roles(free)["both"] == "head" and free.get_layer("both").use_bias


def dueling(inputs):
    value = layers.Dense(1, name="value")(layers.Dense(8, "relu")(inputs))
    y = layers.Dense(4, name="advantage")(layers.Dense(8, "relu")(inputs))
    return value + (y - ops.mean(y, axis=-1, keepdims=True))


def two_towers(inputs):
    towers = [layers.Dense(8, "relu")(inputs) for _ in range(2)]
    x = layers.add(
        [layers.Dense(4, name=n)(y) for n, y in zip("ab", towers, strict=True)]
    )
    return layers.Softmax()(x)


def contrast(inputs):
    x = layers.Dense(8, "relu")(inputs)
    return layers.Subtract()(
        [layers.Dense(1, name="a")(x), layers.Dense(1, name="b")(x)]
    )


@pytest.mark.parametrize(
    "network, heads",
    [
        (dueling, {"value", "advantage"}),
        (two_towers, {"a", "b"}),
        (contrast, {"a", "b"}),
    ],
)
def test_heads_that_are_added(network, heads):
    inputs = keras.Input((8,))
    free = convert(keras.Model(inputs, network(inputs)))
    assert {name for name, role in roles(free).items() if role == "head"} == heads
    assert all(free.get_layer(name).use_bias for name in heads)


def test_class_maps_that_are_resized():
    inputs = keras.Input((8, 8, 3))
    (x,) = pyramid(inputs, 1)
    x = layers.UpSampling2D(2)(layers.Conv2D(5, 1, name="maps")(x))
    free = convert(keras.Model(inputs, layers.Softmax()(x)))
    assert roles(free)["maps"] == "head"


def test_what_is_multiplied_is_no_head():
    """Zeros in both would never train."""
    inputs = keras.Input((8,))
    a, b = (layers.Dense(4, name=name)(inputs) for name in "ab")
    free = convert(keras.Model(inputs, a * b))
    assert set(roles(free).values()) == {"stem"}


def test_what_ends_in_blocks_has_no_head():
    x = inputs = keras.Input((8,))
    for _ in range(2):
        x = x + layers.Dense(8)(layers.Dense(8, "relu")(x))
    free = convert(keras.Model(inputs, layers.Flatten()(x)))
    assert not roles(free)


def critic(activation=None):
    x = inputs = keras.Input((8,))
    x = layers.Dense(8, "relu")(x)
    return keras.Model(inputs, layers.Dense(1, activation, name="score")(x))


def test_zero_heads_are_said():
    text = said(critic())
    assert "starts the head at zero: score" in text and "keep=['score']" in text
    assert "gradient penalty" in text
    record = fixinit.conversion.explain(critic())
    assert any("head at zero" in text for text in record.assumptions)
    assert "head at zero" not in said(critic(), keep=["score"])
    assert "head at zero" not in said(critic(), "skip_init")


def test_zero_heads_of_probabilities_need_no_word():
    assert "head at zero" not in said(critic("sigmoid"))


def test_a_scheme_may_draw_the_head():
    scheme = fixinit.schemes.Fixup(zero_head=False)
    assert "head at zero" not in said(critic(), scheme)
    assert np.any(ops.convert_to_numpy(convert(critic(), scheme).layers[-1].kernel))
    again = fixinit.schemes.get(fixinit.schemes.serialize(scheme))
    assert again == scheme
    with pytest.raises(ValueError, match="zero_head"):
        fixinit.schemes.Fixup(zero_head=1)


class Token(layers.Layer):
    """A class token of zeros in front of a sequence."""

    def build(self, shape):
        size = (1, 1, shape[-1])
        self.token = self.add_weight(shape=size, initializer="zeros", name="token")

    def call(self, x):
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([token, x], axis=1)


def token_reader(shared=False, **options):
    """Two blocks that mix positions, and a head on the class token."""
    inputs = keras.Input((4, 8))
    x = Token()(layers.Dense(8, name="stem")(inputs))
    for index in range(2):
        y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        y = layers.Dense(5, "gelu", name=f"mix{index}")(y)
        x = x + layers.Dense(8, name=f"last{index}")(layers.Permute((2, 1))(y))
    head = layers.Dense(3, name="head", **options)
    token = head(layers.LayerNormalization()(x)[:, 0])
    return keras.Model(inputs, [token, head(x[:, 1])] if shared else token)


def kernels_that_stay(free):
    """The kernels and tokens that three steps of SGD do not move."""
    before = [ops.convert_to_numpy(v).copy() for v in free.trainable_variables]
    free.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    for _ in range(3):
        free.train_on_batch(normal(8, 4, 8), normal(8, 3, seed=1))
    pairs = zip(before, free.trainable_variables, strict=True)
    moved = [(v, not np.array_equal(a, ops.convert_to_numpy(v))) for a, v in pairs]
    return [v.path for v, is_moved in moved if len(v.shape) > 1 and not is_moved]


@on_torch
@pytest.mark.parametrize(
    ("scheme", "options"),
    [("fixup", {}), ("skip_init", {"kernel_initializer": "zeros"})],
)
def test_heads_of_zeros_that_read_zeros_are_drawn(scheme, options):
    """By the scheme or on purpose: nothing but their bias vectors would train."""
    model = token_reader(**options)
    text = said(model, scheme)
    assert "read zeros" in text and "bias vectors: head." in text
    assert "head at zero" not in text and "zero on purpose" not in text
    free = convert(model, scheme)
    kernel = ops.convert_to_numpy(free.get_layer("head").kernel)
    assert np.mean(np.square(kernel)) == pytest.approx(1 / 8, rel=0.5)
    assert not [other for other in free.conversion["others"] if other["zero"]]
    assert free.conversion["num_branches"] == 2
    assert not kernels_that_stay(free)


@on_torch
def test_a_drawn_head_follows_the_seed():
    one, same, other = (convert(token_reader(), seed=seed) for seed in (0, 0, 1))
    kernels = [ops.convert_to_numpy(m.get_layer("head").kernel) for m in (one, same)]
    np.testing.assert_array_equal(*kernels)
    assert not np.allclose(kernels[0], ops.convert_to_numpy(other.layers[-1].kernel))
    again = type(one).from_config(one.get_config(), {"Token": Token})
    np.testing.assert_array_equal(
        kernels[0], ops.convert_to_numpy(again.get_layer("head").kernel)
    )


def test_shared_heads_that_read_zeros_once_stay_zero():
    free = convert(token_reader(shared=True))
    assert not np.any(ops.convert_to_numpy(free.get_layer("head").kernel))

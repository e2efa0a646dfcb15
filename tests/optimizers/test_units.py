"""The axes that count the units of weights, layer by layer."""

import keras
import pytest

import fixinit
from fixinit import layers
from fixinit.optimizers.units import units_of


def named(layer):
    """From the names of the weights of a layer to the axes that count their units."""
    found = units_of(layer)
    prefix = f"{layer.name}/"
    return {
        v.path.removeprefix(prefix): found[id(v)] for v in layer.trainable_variables
    }


def built(layer, *shapes):
    layer(*(keras.KerasTensor(shape) for shape in shapes))
    return layer


k = keras.layers
IMAGE, SEQUENCE, VOLUME = (2, 8, 8, 4), (2, 8, 4), (2, 4, 4, 4, 4)
LAYOUTS = {
    "dense": (k.Dense(3), (2, 5), {"kernel": (1,), "bias": ()}),
    "conv1d": (k.Conv1D(3, 2), SEQUENCE, {"kernel": (2,), "bias": ()}),
    "conv2d": (k.Conv2D(3, 2), IMAGE, {"kernel": (3,), "bias": ()}),
    "grouped": (k.Conv2D(4, 2, groups=2), IMAGE, {"kernel": (3,), "bias": ()}),
    "conv3d": (k.Conv3D(3, 2), VOLUME, {"kernel": (4,), "bias": ()}),
    "transposed1d": (k.Conv1DTranspose(3, 2), SEQUENCE, {"kernel": (1,), "bias": ()}),
    "transposed2d": (k.Conv2DTranspose(3, 2), IMAGE, {"kernel": (2,), "bias": ()}),
    "transposed3d": (k.Conv3DTranspose(3, 2), VOLUME, {"kernel": (3,), "bias": ()}),
    "depthwise1d": (k.DepthwiseConv1D(2), SEQUENCE, {"kernel": (1, 2), "bias": ()}),
    "depthwise2d": (
        k.DepthwiseConv2D(2, depth_multiplier=3),
        IMAGE,
        {"kernel": (2, 3), "bias": ()},
    ),
    "separable": (
        k.SeparableConv2D(3, 2),
        IMAGE,
        {"depthwise_kernel": (2, 3), "pointwise_kernel": (3,), "bias": ()},
    ),
    "einsum": (
        k.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"),
        SEQUENCE,
        {"kernel": (1, 2), "bias": ()},
    ),
    "einsum per head": (
        k.EinsumDense("abh,hcb->ahc", (4, 5)),
        SEQUENCE,
        {"kernel": (0, 1)},
    ),
    "einsum ellipsis": (k.EinsumDense("...x,xy->...y", 3), SEQUENCE, {"kernel": (1,)}),
    "embedding": (k.Embedding(9, 3), (2, 5), {"embeddings": (0,)}),
    "two embeddings": (
        k.ReversibleEmbedding(9, 3, tie_weights=False),
        (2, 5),
        {"embeddings": (0,), "reverse_embeddings": (1,)},
    ),
    "rnn": (
        k.SimpleRNN(3),
        SEQUENCE,
        {
            "simple_rnn_cell/kernel": (1,),
            "simple_rnn_cell/recurrent_kernel": (1,),
            "simple_rnn_cell/bias": (),
        },
    ),
    "lstm": (
        k.LSTM(3),
        SEQUENCE,
        {
            "lstm_cell/kernel": (1,),
            "lstm_cell/recurrent_kernel": (1,),
            "lstm_cell/bias": (),
        },
    ),
    "gru": (
        k.GRU(3),
        SEQUENCE,
        {
            "gru_cell/kernel": (1,),
            "gru_cell/recurrent_kernel": (1,),
            "gru_cell/bias": (0,),
        },
    ),
    "gru of one bias": (
        k.GRU(3, reset_after=False),
        SEQUENCE,
        {
            "gru_cell/kernel": (1,),
            "gru_cell/recurrent_kernel": (1,),
            "gru_cell/bias": (),
        },
    ),
    "conv lstm": (
        k.ConvLSTM1D(3, 2),
        (2, 5, 8, 4),
        {
            "conv_lstm_cell/kernel": (2,),
            "conv_lstm_cell/recurrent_kernel": (2,),
            "conv_lstm_cell/bias": (),
        },
    ),
    "layer norm": (k.LayerNormalization([1, 2]), SEQUENCE, {"gamma": (), "beta": ()}),
    "batch norm": (k.BatchNormalization(), IMAGE, {"gamma": (), "beta": ()}),
    "prelu": (k.PReLU(), SEQUENCE, {"alpha": ()}),
    "affine": (layers.ChannelAffine(), SEQUENCE, {"gamma": (), "beta": ()}),
    "channels": (layers.ChannelMultiplier(), SEQUENCE, {"gamma": ()}),
    "scalar": (layers.ScalarMultiplier(), SEQUENCE, {"scalar_multiplier": ()}),
    "parameter": (layers.Parameter((1, 3, 4)), SEQUENCE, {"parameter": ()}),
    "projection": (
        layers.ProjectionShortcut(3, use_bias=True),
        IMAGE,
        {"projection/kernel": (3,), "projection/bias": ()},
    ),
    "spectral": (
        k.SpectralNormalization(k.Conv2DTranspose(3, 2, name="inner")),
        IMAGE,
        {"inner/kernel": (2,), "inner/bias": ()},
    ),
    "time distributed": (
        k.TimeDistributed(k.Conv1D(3, 2, name="inner")),
        (2, 5, 8, 4),
        {"inner/kernel": (2,), "inner/bias": ()},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name):
    layer, shape, expected = LAYOUTS[name]
    layer = type(layer).from_config(layer.get_config())
    assert named(built(layer, shape)) == expected


@pytest.mark.parametrize(
    "layer", [k.MultiHeadAttention(2, 3), k.GroupQueryAttention(3, 4, 2)]
)
def test_attention_has_a_unit_for_each_channel_of_each_head(layer):
    layer = type(layer).from_config(layer.get_config())
    found = named(built(layer, SEQUENCE, SEQUENCE))
    kernels = {path: axes for path, axes in found.items() if path.endswith("kernel")}
    inner = {a for path, a in kernels.items() if "output" not in path}
    assert inner == {(1, 2)} and len(kernels) == 4
    assert {a for path, a in kernels.items() if "output" in path} == {(2,)}
    assert all(axes == () for path, axes in found.items() if path.endswith("bias"))


def test_blocks_of_stacks_have_units_of_their_own():
    block = layers.ResidualBlock(
        [
            layers.ScalarBias(),
            keras.layers.Conv2D(4, 3, padding="same"),
            layers.Stack(keras.layers.Dense(4), depth=2),
        ]
    )
    stack = built(layers.Stack(block, depth=5), IMAGE)
    shapes = {v.path: tuple(v.shape) for v in stack.trainable_variables}
    found = units_of(stack)
    units = {shapes[v.path]: found[id(v)] for v in stack.trainable_variables}
    assert units == {
        (5,): (0,),
        (5, 3, 3, 4, 4): (0, 4),
        (5, 4): (0,),
        (5, 2, 4, 4): (0, 1, 3),
        (5, 2, 4): (0, 1),
    }


class Bilinear(keras.layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(2, 3, 4), name="kernel")
        self.shift = self.add_weight(shape=(1, 1, 4), name="shift")
        self.matrix = self.add_weight(shape=(3, 4), name="matrix")

    def call(self, x):
        return x


def test_of_undeclared_weights_the_last_axis_counts_units():
    found = named(built(Bilinear(), (2, 3)))
    assert found == {"kernel": (2,), "shift": (), "matrix": (1,)}


def test_layers_declare_the_units_of_their_weights():
    class Declared(Bilinear):
        fixinit_facts = layers.Facts(units={"kernel": (0, -2), "matrix": ()})

    class Inherits(Declared):
        def call(self, x):
            return 2 * x

    for kind in (Declared, Inherits):
        found = named(built(kind(), (2, 3)))
        assert found == {"kernel": (0, 1), "shift": (), "matrix": ()}


@pytest.mark.parametrize("axes", [(2,), (-3,), ("in",), (1.0,)])
def test_declared_axes_are_axes(axes):
    class Declared(Bilinear):
        fixinit_facts = layers.Facts(units={"matrix": axes})

    with pytest.raises(ValueError, match=r"units of\s`matrix`.*at least -2"):
        units_of(built(Declared(), (2, 3)))


def test_subclasses_that_compute_something_else_keep_their_layouts():
    class Standardized(keras.layers.Conv2DTranspose):
        def call(self, x):
            return 2 * super().call(x)

    assert named(built(Standardized(3, 2), IMAGE)) == {"kernel": (2,), "bias": ()}


def test_every_weight_of_a_model_has_units():
    model = fixinit.models.CifarResNet(14, scheme="fixup", stacked=True)
    found = units_of(model)
    for v in model.trainable_variables:
        assert all(0 <= axis < len(v.shape) for axis in found[id(v)]), v.path

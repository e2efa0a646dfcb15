import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.graph.captured import captured
from fixinit.layers import Facts, ScaledAdd, facts_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def called(function, *shapes, dtype="float32", **options):
    """`(model, layer)`: a model of one Lambda, and this."""
    inputs = [keras.Input(shape, dtype=dtype) for shape in shapes]
    layer = layers.Lambda(function, name="mine", **options)
    return keras.Model(inputs, layer(inputs if len(inputs) > 1 else inputs[0])), layer


def kinds_of(model):
    """The classes of the layers and operations of an opened model, without inputs."""
    with fixinit.graph.opened(model) as inside:
        graph = fixinit.graph.trace(inside.model)
        return [type(c.operation).__name__ for c in graph.calls if not c.is_input]


def hidden(function):
    """A function that takes no symbolic tensors, as those of a backend."""

    def call(x, **kwargs):
        if any(isinstance(y, keras.KerasTensor) for y in keras.tree.flatten(x)):
            raise ValueError("symbolic")
        return function(x, **kwargs)

    return call


LINK = Facts(linear=True, follows_head=True)


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda x: x, LINK),
        (lambda x: 0.1 * x, Facts(multiplies=True, follows_head=True)),
        (lambda x: x / 127.5 - 1, Facts(multiplies=True, follows_head=True)),
        (ops.relu, Facts(activates=True, flat=True)),
        (ops.relu6, Facts(activates=True, flat=True)),
        (ops.tanh, Facts(activates=True, bounded=True, follows_head=True)),
        (ops.sigmoid, Facts(activates=True, bounded=True, follows_head=True)),
        (ops.softplus, Facts(activates=True, follows_head=True)),
        (lambda x: x * ops.sigmoid(1.7 * x), Facts(activates=True)),
        (lambda x: ops.transpose(x, (0, 2, 1)), Facts(rearranges=True, linear=True)),
        (lambda x: ops.expand_dims(x, -1), Facts(rearranges=True, linear=True)),
        (lambda x: x[:, -1], Facts(rearranges=True)),
        (lambda x: ops.sum(x, axis=1), LINK),
        (lambda x: ops.max(x, axis=1), Facts()),
        (lambda x: ops.softmax(x), Facts()),
    ],
)
def test_facts_by_what_one_tensor_becomes(function, expected):
    _, layer = called(function, (3, 4))
    if expected.rearranges:
        expected = Facts(rearranges=True, linear=expected.linear, follows_head=True)
    assert facts_of(layer) == expected


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda xs: xs[0] + xs[1], Facts(adds=True, linear=True, follows_head=True)),
        (
            lambda xs: xs[0] - 0.5 * xs[1],
            Facts(adds=True, linear=True, follows_head=True, factors=(1.0, -0.5)),
        ),
        (lambda xs: (xs[0] + xs[1]) / 2, Facts(joins=True, linear=True)),
        (lambda xs: ops.maximum(xs[0], xs[1]), Facts(joins=True)),
        (lambda xs: ops.abs(xs[0] - xs[1]), Facts(joins=True)),
        (lambda xs: xs[0] * xs[1], Facts(multiplies=True)),
        (lambda xs: ops.concatenate(xs), LINK),
        (lambda xs: ops.sum(ops.square(xs[0] - xs[1]), axis=-1), Facts()),
    ],
)
def test_facts_by_what_two_tensors_become(function, expected):
    _, layer = called(function, (4,), (4,))
    assert facts_of(layer) == expected


def test_of_random_numbers_nothing_is_known():
    _, layer = called(
        lambda x: x + keras.random.normal((1, 4)), (4,), output_shape=(4,)
    )
    assert facts_of(layer) == Facts()


def test_a_lambda_that_was_not_called_is_unknown():
    layer = layers.Lambda(ops.relu)
    assert facts_of(layer) == Facts()
    layer(keras.Input((4,)))
    assert facts_of(layer).activates


@pytest.mark.parametrize(
    "function, shapes, expected",
    [
        (lambda x: ops.mean(x * x, axis=1), [(3, 4)], ["Multiply", "Mean"]),
        (lambda x: [x[:, :2], x[:, 2:]], [(4,)], ["GetItem", "GetItem"]),
        (lambda xs: xs[0] + 0.2 * xs[1], [(4,), (4,)], ["Multiply", "Add"]),
        (lambda x: x * ops.tanh(ops.softplus(x)), [(4,)], ["Activation"]),
        (lambda x: x * ops.sin(x), [(4,)], ["Lambda"]),
        (hidden(ops.silu), [(4,)], ["Activation"]),
        (hidden(lambda x: ops.leaky_relu(x, 0.03)), [(4,)], ["LeakyReLU"]),
        (hidden(lambda x: x / 127.5 - 1), [(4,)], ["Rescaling"]),
        (hidden(lambda x: ops.expand_dims(x, -1)), [(None,)], ["Reshape"]),
        (hidden(lambda x: ops.transpose(x, (0, 3, 1, 2))), [(2, 3, 4)], ["Permute"]),
        (hidden(lambda x: ops.mean(x, 1)), [(3, 4)], ["GlobalAveragePooling1D"]),
        (hidden(lambda x: ops.sum(x, 1)), [(3, 4)], ["Lambda"]),
        (hidden(lambda xs: xs[0] + xs[1]), [(4,), (4,)], ["Add"]),
        (hidden(lambda xs: xs[0] - xs[1]), [(4,), (4,)], ["Subtract"]),
        (hidden(lambda xs: xs[0] + xs[1] / 8), [(4,), (4,)], ["ScaledAdd"]),
        (hidden(lambda xs: xs[0] * xs[1]), [(4,), (4,)], ["Multiply"]),
        (hidden(lambda xs: ops.minimum(*xs)), [(4,), (4,)], ["Minimum"]),
        (hidden(lambda xs: ops.abs(xs[0] - xs[1])), [(4,), (4,)], ["Lambda"]),
    ],
)
def test_what_a_lambda_is_opened_to(function, shapes, expected):
    shape = functools.partial(called, function, *shapes)
    output = {} if expected != ["Lambda"] else {"output_shape": (4,)}
    model, _ = shape(**output) if shapes != [(None,)] else shape()
    assert kinds_of(model) == expected


def test_the_opened_model_computes_the_same_and_the_given_one_stays():
    def function(x, factor):
        return ops.reshape(factor * x, (-1, 6)) + 1

    model, layer = called(function, (2, 3), arguments={"factor": 3.0})
    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("float32")
    calls = len(layer._inbound_nodes)
    with fixinit.graph.opened(model) as inside:
        assert inside.model is not model
        names = [call.name for call in fixinit.graph.trace(inside.model).calls]
        assert names[1:] == ["mine_multiply", "mine_reshape", "mine"]
        np.testing.assert_allclose(
            *(ops.convert_to_numpy(m(x)) for m in (model, inside.model)), rtol=1e-6
        )
    assert len(layer._inbound_nodes) == calls


@pytest.mark.parametrize(
    "function, options, reason",
    [
        (hidden(lambda x: ops.sum(x, 1)), {}, "no symbolic tensors"),
        (lambda x: x + keras.random.normal((1, 4)), {}, "random"),
        (lambda x: ops.relu(ops.normalize(x)), {}, "normalizes"),
        (lambda x: ops.ones((2, 4)), {"output_shape": (4,)}, "no tensor"),
    ],
)
def test_why_a_lambda_stays(function, options, reason):
    options = {"output_shape": (4,), **options}
    model, _ = called(function, (4,), **options)
    with fixinit.graph.opened(model) as inside:
        assert reason in inside.shut["mine"]
        assert isinstance(inside.model.get_layer("mine"), layers.Lambda)


def test_one_lambda_that_stays_leaves_others_open():
    x = inputs = keras.Input((4,))
    x = layers.Lambda(hidden(lambda x: ops.sin(x)), name="shut")(x)
    x = layers.Lambda(lambda x: 2 * x + 1, name="open")(x)
    assert kinds_of(keras.Model(inputs, x)) == ["Lambda", "Multiply", "Add"]


@pytest.mark.parametrize(
    "options", [{"mask": lambda x, mask: None}, {"training": True}]
)
def test_masks_and_modes_stay(options):
    if options.pop("training", False):
        model, _ = called(lambda x, training=None: 2 * x + 1, (4,))
    else:
        model, _ = called(lambda x: 2 * x + 1, (4,), **options)
    assert kinds_of(model) == ["Lambda"]


def test_weights_that_the_function_computes_with_beforehand():
    """They would be constants of the graph."""
    table = layers.Embedding(5, 4, name="table")
    inputs = keras.Input((3,), dtype="int32")
    x = table(inputs)
    late = layers.Lambda(lambda x: ops.matmul(x, ops.transpose(table.embeddings)))
    with fixinit.graph.opened(keras.Model(inputs, late(x))) as inside:
        assert "weights beforehand" in inside.shut[late.name]


def test_layers_that_the_function_calls_become_part_of_the_graph():
    dense = layers.Dense(4, name="inner")
    dense.build((None, 4))
    model, _ = called(lambda x: ops.relu(dense(x)), (4,))
    assert kinds_of(model) == ["Dense", "Relu"]
    assert not dense._inbound_nodes


class Owner:
    def __init__(self):
        self.scale = keras.Variable(2.0)
        self.layer = layers.Dense(2)
        self.layer.build((None, 2))

    def method(self, x):
        return self.scale * x


def test_what_functions_read():
    owner, free = Owner(), keras.Variable(1.0)

    def helper(x):
        return free * x

    def default(x, layer=owner.layer):
        return layer(x)

    functions = {
        "closure": (lambda x: free * x, 1),
        "through another function": (lambda x: helper(x), 1),
        "in a function inside": (lambda x: [free * y for y in x], 1),
        "default": (default, 2),
        "method": (owner.method, 3),
        "object": (lambda x: owner.method(x), 3),
        "containers": (lambda x, ws={"a": [free], 1: (free,)}: ws["a"][0] * x, 1),
        "partial": (functools.partial(lambda x, w: w * x, w=free), 1),
        "nothing": (ops.relu, 0),
    }
    for name, (function, count) in functions.items():
        assert len(captured(function).variables) == count, name
    assert captured(ops.relu, {"factor": free}).variables == [free]


ATTRIBUTE = keras.Variable(1.0)


def test_names_of_attributes_are_no_variables():
    assert captured(lambda x: x.ATTRIBUTE).variables == []
    assert captured(lambda x: ATTRIBUTE * x).variables == [ATTRIBUTE]


def test_scaled_additions_merge_as_they_did():
    model, _ = called(hidden(lambda xs: xs[0] + xs[1] / 8), (4,), (4,))
    with fixinit.graph.opened(model) as inside:
        layer = inside.model.get_layer("mine")
        assert isinstance(layer, ScaledAdd)
        assert (layer.shortcut_scale, layer.branch_scale) == (1.0, 0.125)


def test_masks_end_at_a_lambda():
    """Layers of Keras in its place would pass them on, and means would differ."""
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(3, 4, mask_zero=True)(inputs)
    x = layers.Lambda(hidden(ops.silu), (6, 4))(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(x))
    assert kinds_of(model)[-2:] == ["Lambda", "GlobalAveragePooling1D"]


def test_a_lambda_that_is_called_on_two_shapes():
    inputs = [keras.Input((2, 3)), keras.Input((4, 3))]
    flat = layers.Lambda(hidden(lambda x: ops.reshape(x, (-1, x.shape[1] * 3))))
    model = keras.Model(inputs, layers.concatenate([flat(x) for x in inputs]))
    assert kinds_of(model) == ["Reshape", "Reshape", "Concatenate"]

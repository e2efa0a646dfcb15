import keras
import numpy as np
import pytest

import fixinit
from fixinit import graph
from tests.marks import on_torch


def names(model):
    return [call.name for call in graph.trace(model).calls]


def test_nested_models_are_taken_apart():
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4, name="weight")], name="inner"
    )
    inputs = keras.Input((4,), name="x")
    model = keras.Model(inputs, keras.ops.relu(inner(inner(inputs))))
    traced = graph.trace(model)
    assert names(model)[:3] == ["x", "inner/weight", "inner/weight:2"]
    assert traced.calls[1].operation is traced.calls[2].operation
    assert traced.specs[traced.outputs[0]].shape == (None, 4)


def test_inputs_of_a_nested_model_are_matched_by_name():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    inner = keras.Model({"a": a, "b": b}, keras.ops.subtract(a, b))
    x = keras.Input((2,), name="x")
    doubled = keras.layers.Rescaling(2.0, name="doubled")(x)
    model = keras.Model(x, inner({"b": doubled, "a": x}))
    traced = graph.trace(model)
    subtract, by_name = traced.calls[-1], {c.name: c for c in traced.calls}
    assert subtract.inputs == by_name["x"].outputs + by_name["doubled"].outputs


def test_residual_blocks_are_taken_apart_and_know_their_owner():
    model = fixinit.models.ResidualMLP(2, 8, input_shape=(4,), preactivation=False)
    calls = {call.name: call for call in graph.trace(model).calls}
    block = next(x for x in model.layers if hasattr(x, "branch"))
    weight = calls[f"{block.name}/weight1"]
    assert weight.owner is block and weight.weight is block.branch[1].kernel
    # In post-activation order the block ends in an activation.
    merge, activation = (calls[f"{block.name}/{n}"] for n in ("merge", "activation"))
    assert activation.inputs == merge.outputs


def test_a_stack_is_one_call_with_the_graph_of_a_block():
    model = fixinit.models.ResidualMLP(5, 8, input_shape=(4,), stacked=True)
    traced = graph.trace(model)
    (stack,) = (call for call in traced.calls if call.body is not None)
    inner = [call.name for call in stack.body.calls]
    assert inner[0] == f"{stack.name}/input" and len(set(inner)) == len(inner)
    depths = {call.name: depth for call, depth in traced.walk()}
    assert depths[stack.name] == () and depths[inner[-1]] == (5,)


def test_a_stack_or_block_that_is_called_twice_has_calls_of_its_own_each_time():
    inputs = keras.Input((4,), name="x")
    stack = fixinit.layers.Stack(keras.layers.Dense(4, name="weight"), 3, name="stack")
    block = fixinit.layers.ResidualBlock([keras.layers.Dense(4, name="w")], name="b")
    inner = keras.Input((4,))
    nested = keras.Model(inner, block(stack(inner)), name="nested")
    traced = graph.trace(keras.Model(inputs, nested(nested(inputs))))
    assert [call.name for call, _ in traced.walk()] == [
        "x",
        *("nested/stack", "nested/b/w", "nested/b/merge"),
        *("nested/stack:2", "nested/b:2/w", "nested/b:2/merge"),
        *("nested/stack/input", "nested/stack/weight"),
        *("nested/stack:2/input", "nested/stack:2/weight"),
    ]


def test_channels_are_where_the_data_format_says():
    inputs = keras.Input((3, 8, 8))
    x = keras.layers.Conv2D(4, 3, data_format="channels_first")(inputs)
    model = keras.Model(inputs, keras.layers.ReLU()(x))
    traced = graph.trace(model)
    assert [traced.channel_axes[c.outputs[0]] for c in traced.calls] == [-1, 1, 1]


@pytest.mark.every_backend
def test_tracing_leaves_the_model_as_it_is():
    model = fixinit.models.ResidualMLP(2, 8, input_shape=(4,))
    before = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    graph.trace(model)
    after = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    assert before == after
    assert model(np.ones((2, 4), "float32")).shape == (2, 10)


@on_torch
def test_tracing_takes_no_names_from_keras():
    model = fixinit.models.ResidualMLP(2, 8, input_shape=(4,), preactivation=False)
    keras.utils.clear_session()
    keras.layers.Activation("relu")
    graph.trace(model)
    assert keras.layers.Activation("relu").name == "activation_1"


class Subclassed(keras.Model):
    def call(self, x):
        return x


class FunctionalWithCall(keras.Model):
    def __init__(self):
        inputs = keras.Input((4,))
        super().__init__(inputs, keras.layers.Dense(4)(inputs))

    def call(self, x):
        return 1000.0 * super().call(x)


class SequentialWithCall(keras.Sequential):
    def call(self, x):
        return 1000.0 * super().call(x)


def test_a_nested_model_with_a_call_of_its_own_is_one_layer():
    inputs, inner = keras.Input((4,), name="x"), FunctionalWithCall()
    assert names(keras.Model(inputs, inner(inputs))) == ["x", inner.name]


def test_a_training_step_of_its_own_does_not_matter():
    class Trained(keras.Model):
        def train_step(self, data):
            return {}

    inputs = keras.Input((4,), name="x")
    assert names(Trained(inputs, keras.layers.ReLU(name="y")(inputs))) == ["x", "y"]


@pytest.mark.parametrize(
    "model, error, message",
    [
        (Subclassed(), TypeError, "a `call` of its own.*keras.Input"),
        (FunctionalWithCall(), TypeError, "a `call` of its own.*keras.Input"),
        (SequentialWithCall([keras.Input((4,))]), TypeError, "a `call` of its own"),
        (keras.Sequential([keras.layers.Dense(2)]), ValueError, "not built"),
        ("resnet50", TypeError, "Received: 'resnet50' of type str"),
    ],
)
def test_refuses_what_has_no_graph(model, error, message):
    with pytest.raises(error, match=message):
        graph.trace(model)


def test_shapes_for_inputs_of_a_size():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(inputs)
    x = keras.ops.relu(fixinit.layers.Stack(keras.layers.Conv2D(4, 1), 2)(x))
    traced = graph.trace(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x)))
    shapes = graph.known_shapes(traced, [(9, 7, 3)])
    small, batch = (None, 4, 3, 4), None
    assert shapes == [(batch, 9, 7, 3), small, small, small, (batch, 4)]
    assert graph.with_sizes((None, None, 3)) == (None, 512, 3)


def test_shapes_that_do_not_fit():
    inputs = keras.Input((None, 3))
    traced = graph.trace(
        keras.Model(inputs, keras.layers.Reshape((4, 3), name="four")(inputs))
    )
    with pytest.raises(ValueError, match=r"`four` cannot say .*\(None, 5, 3\)"):
        graph.known_shapes(traced, [(5, 3)])

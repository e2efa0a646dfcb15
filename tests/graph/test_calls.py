import keras
import numpy as np
import pytest

import fixinit
from fixinit import graph


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


def test_channels_are_where_the_data_format_says():
    inputs = keras.Input((3, 8, 8))
    x = keras.layers.Conv2D(4, 3, data_format="channels_first")(inputs)
    model = keras.Model(inputs, keras.layers.ReLU()(x))
    traced = graph.trace(model)
    assert [traced.channel_axes[c.outputs[0]] for c in traced.calls] == [-1, 1, 1]


def test_tracing_leaves_the_model_as_it_is():
    model = fixinit.models.ResidualMLP(2, 8, input_shape=(4,))
    before = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    graph.trace(model)
    after = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    assert before == after
    assert model(np.ones((2, 4), "float32")).shape == (2, 10)


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    "model, error, message",
    [
        (Subclassed(), TypeError, "a `call` of its own.*keras.Input"),
        (keras.Sequential([keras.layers.Dense(2)]), ValueError, "not built"),
        ("resnet50", TypeError, "Received: 'resnet50' of type str"),
    ],
)
def test_refuses_what_has_no_graph(model, error, message):
    with pytest.raises(error, match=message):
        graph.trace(model)

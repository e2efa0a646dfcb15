import functools

import keras
import numpy as np
import pytest
from keras import ops

import fixinit
from fixinit import backend, graph
from tests.marks import rest_on_torch, slow_on_tensorflow

X = np.random.default_rng(0).normal(size=(6, 8)).astype("float32")


class Scale(graph.Hook):
    """Scales what the chosen calls put out by their controls; observes mean squares."""

    def leave(self, call, outputs, control):
        return outputs if control is None else [control * outputs[0]]

    def observation_shape(self, call):
        return ()

    def observe(self, call, inputs, outputs):
        return ops.mean(ops.square(outputs[0]))


def run(model, x, controls=None, training=False):
    controls = {name: ops.convert_to_tensor(c) for name, c in (controls or {}).items()}
    with keras.StatelessScope():
        return graph.run(
            graph.trace(model), [ops.convert_to_tensor(x)], Scale(), controls, training
        )


@functools.cache
def mlp(scheme="batch_norm", stacked=False, **kwargs):
    return fixinit.models.ResidualMLP(
        3, 8, scheme=scheme, input_shape=(8,), seed=0, stacked=stacked, **kwargs
    )


@pytest.mark.every_backend
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("stacked", [False, True])
@rest_on_torch("scheme", fixinit.schemes.names(), quick=1)
def test_computes_what_the_model_computes(scheme, stacked, training):
    model = mlp(scheme, stacked)
    (outputs,), _ = run(model, X, training=training)
    expected, _ = model.stateless_call(
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
        X,
        training=training,
    )
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(t) for t in (outputs, expected)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("own", [None, False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_training_is_what_the_model_is_called_with(nested, own):
    layer = keras.layers.BatchNormalization()
    if nested:
        layer = keras.Sequential([keras.Input((8,)), layer])
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layer(inputs, training=own))
    for training in (False, True):
        (outputs,), _ = run(model, X, training=training)
        with keras.StatelessScope():
            expected = model(X, training=training)
        np.testing.assert_allclose(
            *(ops.convert_to_numpy(t) for t in (outputs, expected)), rtol=1e-6
        )


@pytest.mark.every_backend
def test_state_stays_as_it_is():
    model = mlp(dropout_rate=0.5)
    before = [ops.convert_to_numpy(v) for v in model.variables]
    run(model, X, training=True)
    for v, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(v), value)


def test_observations_and_controls_of_a_stack_are_stacked():
    separate, stacked = mlp("scaled_residual"), mlp("scaled_residual", stacked=True)
    scales = np.float32([0.5, 2.0, 3.0])
    (name,) = (c.name for c in graph.trace(stacked).calls if c.body is not None)
    blocks = [b.name for b in graph.find_blocks(graph.trace(separate))]
    one, by_block = run(
        separate, X, {f"{b}/weight2": s for b, s in zip(blocks, scales, strict=True)}
    )
    two, by_stack = run(stacked, X, {f"{name}/weight2": scales})
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(t[0]) for t in (one, two)), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(by_stack[f"{name}/merge"]),
        [float(by_block[f"{b}/merge"]) for b in blocks],
        rtol=1e-5,
    )


@slow_on_tensorflow
@pytest.mark.every_backend
def test_gradients_reach_the_controls_of_every_block():
    stacked = mlp("scaled_residual", stacked=True)
    traced = graph.trace(stacked)
    (name,) = (c.name for c in traced.calls if c.body is not None)

    def value(controls):
        with keras.StatelessScope():
            (outputs,), _ = graph.run(
                traced,
                [ops.convert_to_tensor(X)],
                Scale(),
                {f"{name}/weight2": controls[0]},
            )
        return ops.mean(outputs**2)

    at = np.float32([1.0, 1.0, 1.0])
    _, (gradient,) = backend.value_and_gradients(value)([ops.convert_to_tensor(at)])
    differences = []
    for step in 1e-2 * np.eye(3, dtype="float32"):
        up, down = (value([ops.convert_to_tensor(at + s)]) for s in (step, -step))
        differences.append((float(up) - float(down)) / 2e-2)
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), differences, rtol=2e-2)


def test_stack_in_a_stack():
    inner = fixinit.layers.Stack(
        keras.layers.Dense(8, name="weight", kernel_initializer="identity"), 2
    )
    inner_name, outer = inner.name, fixinit.layers.Stack(inner, 3)
    inputs = keras.Input((8,))
    model = keras.Model(inputs, outer(inputs))
    _, found = run(model, X)
    values = ops.convert_to_numpy(found[f"{outer.name}/{inner_name}/weight"])
    np.testing.assert_allclose(values, np.full((3, 2), np.mean(X**2)), rtol=1e-5)


def test_residual_blocks_are_called_with_their_arguments():
    class Times(keras.layers.Layer):
        def call(self, x, factor=1.0):
            return factor * x

    inputs = keras.Input((8,))
    block = fixinit.layers.ResidualBlock([keras.layers.Dense(8), Times()])
    model = keras.Model(inputs, block(inputs, factor=3.0))
    (outputs,), _ = run(model, X)
    expected = ops.convert_to_numpy(model(X))
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), expected, rtol=1e-5)


def test_a_block_with_a_mask_of_its_own_is_one_call():
    inputs, mask = keras.Input((3, 8)), keras.Input((3,), dtype="bool")
    attention = keras.layers.MultiHeadAttention(2, 4)
    block = fixinit.layers.ResidualBlock([Self(attention)], name="block")
    model = keras.Model([inputs, mask], block(inputs, mask=mask))
    names = [call.name for call in graph.trace(model).calls]
    assert names[-1] == "block"


class Self(keras.layers.Layer):
    """Self-attention."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention
        self.supports_masking = True

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x, mask=None):
        return self.attention(x, x, query_mask=mask)

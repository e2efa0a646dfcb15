import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics import Lesion, lesion
from tests.marks import slow_on_tensorflow

X = np.random.default_rng(0).normal(size=(10, 5)).astype("float32")
Y = np.arange(10) % 3
SHIFTS = np.float32([1, 2, 4, 8])
ACCURACY = {"accuracy": keras.metrics.sparse_categorical_accuracy}


class Incomplete(keras.metrics.Mean):
    """A metric whose configuration lacks an argument."""

    def __init__(self, factor):
        super().__init__()


def shifting(stacked=False, relu=False):
    """Blocks x + shift, or relu(x) + shift, whose order then matters."""
    bias = keras.layers.Dense(5, kernel_initializer="zeros")
    branch = [keras.layers.ReLU(), bias] if relu else [bias]
    block = fixinit.layers.ResidualBlock(branch)
    inputs = keras.Input((5,))
    stack = fixinit.layers.Stack(block, len(SHIFTS), name="stack")
    x = stack(inputs)
    biases = np.repeat(SHIFTS[:, None], 5, axis=1)
    stack.weights[1].assign(biases)
    if not stacked:
        x = inputs
        for block in stack.unstack():
            x = block(x)
    return keras.Model(inputs, x)


def mlp(scheme="scaled_residual", count=3, **kwargs):
    options = {"input_shape": (5,), "classes": 3, "seed": 0} | kwargs
    return fixinit.models.ResidualMLP(count, 8, scheme=scheme, **options)


@pytest.mark.parametrize("stacked", [False, True])
def test_dropped_blocks_pass_their_shortcut_on(stacked):
    injure = Lesion(shifting(stacked), batch_size=4)
    np.testing.assert_allclose(injure(X), X + 15, rtol=1e-5)
    np.testing.assert_allclose(injure(X, drop=[1, 3]), X + 5, rtol=1e-5)
    np.testing.assert_allclose(injure(X, drop=range(4)), X, rtol=1e-5)


def test_what_is_dropped_may_be_infinite():
    model = shifting()
    model.layers[2].weights[1].assign(np.full(5, np.inf))
    np.testing.assert_allclose(Lesion(model)(X, drop=[1]), X + 13, rtol=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize("stacked", [False, True])
def test_a_new_order_is_that_of_a_model_built_so(stacked):
    order = [2, 0, 3, 1]
    model = mlp(count=4, stacked=stacked)
    found = Lesion(model)(X, order=order)
    names = Lesion(model).names
    if stacked:
        (layer,) = (x for x in model.layers if isinstance(x, fixinit.layers.Stack))
        for weight in layer.weights:
            weight.assign(keras.ops.convert_to_numpy(weight)[order])
    else:
        weights = [model.get_layer(name).get_weights() for name in names]
        for name, index in zip(names, order, strict=True):
            model.get_layer(name).set_weights(weights[index])
    np.testing.assert_allclose(found, model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)


def test_blocks_in_stacks_and_outside_change_places():
    stack = fixinit.layers.Stack(
        fixinit.layers.Stack(fixinit.layers.ResidualBlock([keras.layers.Dense(5)]), 2),
        2,
    )
    single = fixinit.layers.ResidualBlock([keras.layers.Dense(5)])
    inputs = keras.Input((5,))
    model = keras.Model(inputs, single(stack(inputs)))
    injure = Lesion(model)
    assert injure.groups == [[0, 1, 2, 3, 4]]
    kernels = keras.ops.convert_to_numpy(stack.weights[0]).reshape(4, 5, 5)
    kernels = [*kernels, keras.ops.convert_to_numpy(single.weights[0])]
    order, expected = [4, 2, 1, 0, 3], X
    for index in order:
        expected = expected + expected @ kernels[index]
    np.testing.assert_allclose(injure(X, order=order), expected, rtol=1e-4, atol=1e-5)


def test_every_block_is_dropped_once():
    found = lesion(shifting(), X, X, {"error": keras.losses.MeanAbsoluteError()})
    np.testing.assert_allclose(found.measured["error"], 15 - SHIFTS, rtol=1e-5)
    assert found.intact["error"] == pytest.approx(15, rel=1e-5)
    assert found.drop.tolist() == [[0], [1], [2], [3]]


def test_metrics_do_not_add_up_over_lesions():
    model = mlp()
    metric = keras.metrics.SparseCategoricalAccuracy()
    metric.update_state([0], [[0.0, 1.0, 0.0]])
    before = [keras.ops.convert_to_numpy(v) for v in metric.variables]
    measures = {"metric": metric, "name": "sparse_categorical_accuracy"} | ACCURACY
    found = lesion(model, X, Y, measures)
    assert found.intact["metric"] == pytest.approx(found.intact["accuracy"])
    for kind in ("metric", "name"):
        np.testing.assert_allclose(
            found.measured[kind], found.measured["accuracy"], rtol=1e-6
        )
    for old, v in zip(before, metric.variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(v))


def test_several_at_once_are_drawn():
    error = {"error": keras.losses.MeanAbsoluteError()}
    found = lesion(shifting(), X, X, error, drop=2, num_samples=20)
    left = 15 - SHIFTS[found.drop].sum(axis=1)
    np.testing.assert_allclose(found.measured["error"], left, rtol=1e-5)
    assert all(len(set(row)) == 2 for row in found.drop.tolist())
    again = lesion(shifting(), X, X, error, drop=2, num_samples=20)
    np.testing.assert_array_equal(found.drop, again.drop)


def test_swaps_permute_and_drop_nothing():
    error = {"error": keras.losses.MeanAbsoluteError()}
    found = lesion(shifting(relu=True), X, X, error, drop=0, swap=1, num_samples=8)
    assert found.drop.shape == (8, 0)
    moved = (found.order != np.arange(4)).sum(axis=1)
    np.testing.assert_array_equal(moved, 2)
    # Additions commute.
    np.testing.assert_allclose(found.measured["error"], 15, rtol=1e-5)


def test_blocks_of_different_shapes_do_not_change_places():
    model = fixinit.models.ResNet1D((2, 2), (4, 8), input_shape=(8, 1), seed=0)
    injure = Lesion(model)
    assert injure.groups == [[0, 1], [2], [3]]
    with pytest.raises(ValueError, match="cannot change places"):
        injure(np.ones((2, 8, 1), "float32"), order=[0, 2, 1, 3])


@slow_on_tensorflow
@pytest.mark.every_backend
@pytest.mark.parametrize("stacked", [False, True])
def test_nothing_changes_and_new_weights_are_seen(untouched, stacked):
    model = mlp("batch_norm", dropout_rate=0.5, stacked=stacked)
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    injure = Lesion(model)
    with untouched(model):
        before = injure(X, drop=[0], order=[1, 0, 2])
        lesion(model, X, Y, ACCURACY)
    model.get_layer("head").bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_allclose(
        injure(X, drop=[0], order=[1, 0, 2]) - before, [[1, 2, 3]] * 10, rtol=1e-4
    )


def test_several_inputs_and_outputs_keep_their_structure():
    inputs = {"a": keras.Input((5,), name="a"), "b": keras.Input((5,), name="b")}
    x = keras.layers.Add()([inputs["a"], keras.layers.Dense(5)(inputs["a"])])
    model = keras.Model(inputs, {"sum": x + inputs["b"], "same": x})
    found = Lesion(model)({"a": X, "b": 2 * X}, drop=[0])
    np.testing.assert_allclose(found["sum"], 3 * X, rtol=1e-5)
    np.testing.assert_allclose(found["same"], X, rtol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"drop": [4]}, "from 0 to 3"),
        ({"drop": [-1]}, "from 0 to 3"),
        ({"order": [0, 1]}, "every index from 0 to 3"),
        ({"order": [0, 1, 1, 2]}, "every index from 0 to 3"),
    ],
)
def test_refuses_blocks_that_are_not_there(arguments, message):
    with pytest.raises(ValueError, match=message):
        Lesion(shifting())(X, **arguments)


def test_refuses_more_than_there_is():
    with pytest.raises(ValueError, match="at most 4"):
        lesion(shifting(), X, X, {}, drop=5)
    with pytest.raises(ValueError, match="two residual blocks"):
        lesion(mlp(count=1), X, Y, ACCURACY, swap=1)
    with pytest.raises(ValueError, match="which kind.*acc='accuracy'"):
        lesion(shifting(), X, Y, {"acc": "accuracy"})
    with pytest.raises(TypeError, match="get_config.*incomplete="):
        lesion(shifting(), X, Y, {"incomplete": Incomplete(2)})
    with pytest.raises(TypeError, match="floating-point"):
        lesion(shifting(), X.astype("int32"), Y, {})

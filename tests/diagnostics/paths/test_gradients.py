import dataclasses
import itertools
import math

import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics import PathGradients, path_gradients
from fixinit.diagnostics.paths.gradients import log_binomial
from tests.marks import rest_on_torch, slow_on_tensorflow

X = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
Y = np.random.default_rng(1).normal(size=(6, 2)).astype("float32")


def linear(count, stacked=False):
    """Linear residual blocks: their paths are products of matrices."""
    rng = np.random.default_rng(0)
    kernels = rng.normal(scale=0.4, size=(count, 5, 5)).astype("float32")
    inputs = keras.Input((5,))

    def block(value=None):
        return fixinit.layers.ResidualBlock(
            [keras.layers.Dense(5, use_bias=False)], name=None if value else "block"
        )

    blocks = [block(i + 1) for i in range(count)]
    if stacked:
        stack = fixinit.layers.Stack(block(), count, name="stack")
        x = stack(inputs)
        stack.weights[0].assign(kernels)
    else:
        x = inputs
        for layer in blocks:
            x = layer(x)
        for layer, kernel in zip(blocks, kernels, strict=True):
            layer.weights[0].assign(kernel)
    outputs = keras.layers.Dense(2, use_bias=False)
    model = keras.Model(inputs, outputs(x))
    head = rng.normal(size=(5, 2)).astype("float32")
    outputs.kernel.assign(head)
    return model, kernels, head


def expected_norms(kernels, head, samples):
    """Mean norm over all paths of each length of 2 (output - y) / 2 times the path."""
    count = len(kernels)
    whole = X.astype("float64")
    for kernel in kernels:
        whole = whole + whole @ kernel
    upstream = (whole @ head - Y) @ head.T
    norms = [[] for _ in range(count + 1)]
    for mask in itertools.product([0, 1], repeat=count):
        g = upstream
        for kernel, on in reversed(list(zip(kernels, mask, strict=True))):
            g = g @ kernel.T if on else g
        norms[sum(mask)].append(np.linalg.norm(g, axis=1)[:samples])
    return [np.array(n) for n in norms]


@pytest.mark.parametrize("stacked", [False, True])
def test_single_paths_are_products_of_their_branches(stacked):
    model, kernels, head = linear(3, stacked)
    # Every sample 40 times, each on a path of its own.
    x, y = np.tile(X, (40, 1)), np.tile(Y, (40, 1))
    found = PathGradients(model, "mean_squared_error")(x, y, num_samples=1200)
    for k, norms in enumerate(expected_norms(kernels, head, 6)):
        # Samples are all met equally often, paths are drawn.
        by_path = norms.mean(axis=1)
        error = 5 * norms.std() / math.sqrt(1200)
        assert found.norm[k] == pytest.approx(by_path.mean(), abs=error + 1e-5)
    # One path alone goes through none, and one through all.
    ends = expected_norms(kernels, head, 6)
    np.testing.assert_allclose(
        found.norm[[0, 3]], [ends[0].mean(), ends[3].mean()], rtol=1e-4
    )


@slow_on_tensorflow
@pytest.mark.every_backend
def test_stacked_and_separate_blocks_give_the_same():
    found = [
        path_gradients(linear(4, stacked)[0], X, Y, "mse", num_samples=50)
        for stacked in (False, True)
    ]
    for one, two in zip(*map(dataclasses.astuple, found), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4)


def test_totals_are_norms_times_the_number_of_paths():
    found = path_gradients(linear(4)[0], X, Y, "mse", num_samples=40)
    np.testing.assert_allclose(np.exp(found.log_paths), [1, 4, 6, 4, 1])
    total = found.norm * [1, 4, 6, 4, 1]
    np.testing.assert_allclose(np.exp(found.log_total), total)
    np.testing.assert_allclose(found.share, total / total.sum())


def test_numbers_of_paths_do_not_overflow():
    assert log_binomial(5000, 2500) == pytest.approx(
        math.log(math.comb(5000, 2500)), rel=1e-12
    )
    model = fixinit.models.ResidualMLP(
        60, 4, scheme="scaled_residual", input_shape=(5,), seed=0, stacked=True
    )
    found = path_gradients(model, X, lengths=[0, 1, 30, 60], num_samples=6)
    assert found.length.tolist() == [0, 1, 30, 60]
    assert np.isfinite(found.share).all()


def test_gradients_of_the_forward_pass_as_usual():
    # Branches that are dropped in the backward pass still decide which units are on.
    x = inputs = keras.Input((1,))
    for shift in (-3.0, 1.0):
        layer = keras.layers.Dense(
            1,
            activation="relu",
            kernel_initializer="ones",
            bias_initializer=keras.initializers.Constant(shift),
        )
        x = keras.layers.Add()([x, layer(x)])
    model = keras.Model(inputs, x)
    model.compile(loss="mae")
    x, y = np.float32([[2.0]]), np.float32([[9.0]])
    # The first unit is off at 2, the second on, whatever path is taken.
    found = path_gradients(model, x, y, num_samples=64)
    assert found.norm[0] == 1
    assert found.norm[1] == pytest.approx(0.5, abs=4 * 0.5 / 8)
    assert found.norm[2] == 0 and found.share[2] == 0


@slow_on_tensorflow
@pytest.mark.every_backend
@rest_on_torch("stacked", [False, True], quick=1)
def test_nothing_changes(untouched, stacked):
    model = fixinit.models.ResidualMLP(
        2,
        4,
        scheme="batch_norm",
        dropout_rate=0.5,
        input_shape=(5,),
        classes=2,
        seed=0,
        stacked=stacked,
    )
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    with untouched(model):
        first = path_gradients(model, X, Y, num_samples=6)
    second = path_gradients(model, X, Y, num_samples=6)
    np.testing.assert_array_equal(first.norm, second.norm)


def test_new_weights_are_seen():
    model, kernels, _ = linear(2, stacked=True)
    measure = PathGradients(model, "mse")
    before = measure(X, Y, num_samples=6)
    model.get_layer("stack").weights[0].assign(2 * kernels)
    assert (measure(X, Y, num_samples=6).norm > before.norm).all()


def test_several_inputs_and_outputs_and_integers():
    tokens = keras.Input((3,), dtype="int32", name="tokens")
    other = keras.Input((4,), name="other")
    x = keras.layers.Embedding(7, 4)(tokens)
    x = keras.layers.Add()([x, keras.layers.Dense(4, "relu")(x)])
    pooled = keras.layers.GlobalAveragePooling1D()(x)
    ends = [keras.layers.Dense(2)(pooled), keras.layers.Dense(1)(pooled + other)]
    model = keras.Model({"tokens": tokens, "other": other}, ends)
    x = {"tokens": np.ones((2, 3), "int32"), "other": np.ones((2, 4), "float32")}
    y = [np.zeros(2, "int32"), np.zeros((2, 1), "float32")]
    for targets in (None, y):
        found = path_gradients(model, x, targets, num_samples=4)
        assert (found.norm > 0).all()


@pytest.mark.every_backend
def test_float16_is_measured():
    keras.config.set_dtype_policy("mixed_float16")
    model = fixinit.models.ResidualMLP(
        2, 8, scheme="scaled_residual", input_shape=(5,), seed=0
    )
    assert (path_gradients(model, X, num_samples=6).norm > 0).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"lengths": [5]}, "from 0 to 4"),
        ({"lengths": [0.5]}, "integers"),
        ({"lengths": []}, "list of integers"),
        ({"num_samples": 0}, "num_samples"),
        ({"x": np.full_like(X, np.nan)}, "NaN"),
        ({"x": X[:, :3]}, "shape"),
    ],
)
def test_refuses(arguments, message):
    measure = PathGradients(linear(4)[0])
    with pytest.raises(ValueError, match=message):
        measure(**{"x": X, **arguments})


def test_refuses_integers_and_models_that_have_diverged():
    model, kernels, _ = linear(2)
    with pytest.raises(TypeError, match="floating-point"):
        path_gradients(model, X.astype("int64"))
    model.layers[1].weights[0].assign(np.nan * kernels[0])
    with pytest.raises(ValueError, match="not finite at its first block"):
        path_gradients(model, X)


def test_one_sample_will_do():
    found = path_gradients(linear(2)[0], X[:1], num_samples=3)
    assert found.norm.shape == (3,) and np.isfinite(found.norm_error).all()

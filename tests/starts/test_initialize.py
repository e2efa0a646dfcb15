"""Initialization by data and by gradients, against formulas on small problems."""

import keras
import numpy as np
import pytest

import fixinit
from fixinit import initialize_from_data
from tests.marks import slow_on_tensorflow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 12)).astype("float32")
Y = np.arange(32) % 10


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def mlp(**options):
    options = {"scheme": "unnormalized", "stacked": False, **options}
    return fixinit.models.ResidualMLP(4, 16, input_shape=(12,), seed=0, **options)


def plain(*layers, shape=(12,)):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape), *layers])


def deviations(model, x, kinds):
    """|std - 1| of what layers give in front of their activations."""
    found = []
    for layer in model.layers:
        if isinstance(layer, kinds):
            y = numpy(keras.Model(model.inputs[0], layer.output)(x))
            found.append(abs(y.std() - 1))
    return found


@pytest.mark.every_backend
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_lsuv_gives_unit_variance(dimension):
    conv = getattr(keras.layers, f"Conv{dimension}D")
    layers = []
    for _ in range(3):
        layers += [conv(6, 3, padding="same"), keras.layers.ReLU()]
    model = plain(*layers, shape=(*(5,) * dimension, 2))
    x = 3 * RNG.normal(size=(8, *(5,) * dimension, 2)).astype("float32")
    start = initialize_from_data(model, x, seed=0)
    found = deviations(model, x, conv)
    assert len(found) == 3 and max(found) < 0.1
    assert start.after == pytest.approx(max(found), abs=1e-4) and start.before > 0.5
    assert len(start.factors) == 3
    # Orthonormal times the factor.
    layer = next(x for x in model.layers if isinstance(x, conv))
    kernel = numpy(layer.kernel).reshape(-1, 6) / start.factors[layer.kernel.path]
    gram = kernel.T @ kernel if len(kernel) >= 6 else kernel @ kernel.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5)


@slow_on_tensorflow
@pytest.mark.every_backend
@pytest.mark.parametrize("method", ["lsuv", "metainit", "gradinit"])
def test_stacks_start_as_separate_blocks(method):
    starts = []
    for stacked in (False, True):
        model = mlp(stacked=stacked)
        model.compile(keras.optimizers.SGD(0.1))
        y = None if method == "lsuv" else Y
        starts.append(initialize_from_data(model, X, y, method, steps=3, seed=0))
    separate, stacked = starts
    for index, factor in enumerate(stacked.factors["blocks/weight1/kernel"]):
        expected = separate.factors[f"block{index + 1}/weight1/kernel"]
        assert factor == pytest.approx(expected, rel=1e-3)
    assert stacked.before == pytest.approx(separate.before, rel=1e-3)
    assert stacked.after == pytest.approx(separate.after, rel=1e-3)


def test_lsuv_measures_in_front_of_activations_and_keeps_them():
    model = plain(keras.layers.Dense(16, "relu"), keras.layers.Dense(4, "tanh"))
    initialize_from_data(model, 5 * X, seed=0)
    first, second = model.layers
    y = 5 * X @ numpy(first.kernel)
    assert abs(y.std() - 1) < 0.1
    assert abs((np.maximum(y, 0) @ numpy(second.kernel)).std() - 1) < 0.1
    assert first.activation is keras.activations.relu
    assert second.activation is keras.activations.tanh


def test_same_seed_same_weights():
    one, other, third = (mlp() for _ in range(3))
    for model, seed in ((one, 3), (other, 3), (third, 4)):
        initialize_from_data(model, X, seed=seed)
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))
    kernel = "block1/weight1/kernel"
    pair = ([w for w in m.weights if w.path == kernel][0] for m in (one, third))
    assert not np.array_equal(*map(numpy, pair))


def test_zeros_stay():
    model = mlp(scheme="fixup")
    start = initialize_from_data(model, X, seed=0)
    assert "block1/weight2/kernel" in start.kept
    weights = {w.path: numpy(w) for w in model.weights}
    assert not any(weights[path].any() for path in start.kept)


def test_layers_inside_of_others_are_reached():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.Sequential([keras.layers.Dense(8, "relu")])
            self.last = keras.layers.Dense(4)

        def call(self, x):
            return self.last(self.inner(x))

    keras.utils.set_random_seed(0)
    model = Own()
    model(X)
    start = initialize_from_data(model, 9 * X, seed=0)
    assert len(start.factors) == 2
    assert abs(numpy(model(9 * X)).std() - 1) < 0.1


def transformer():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((5, 8))
    x = keras.layers.Add()([x, keras.layers.MultiHeadAttention(2, 4, name="mha")(x, x)])
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Dense(8, "relu")(x))
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def test_lsuv_says_which_layers_it_leaves():
    with pytest.warns(UserWarning, match="as they were drawn: mha"):
        start = initialize_from_data(transformer(), RNG.normal(size=(8, 5, 8)))
    assert len(start.factors) == 2


@pytest.mark.slow
@pytest.mark.every_backend
@pytest.mark.parametrize("method", ["metainit", "gradinit"])
def test_attention_has_second_derivatives(method):
    # Of its own: which tests have drawn before depends on the worker.
    x, y = np.random.default_rng(0).normal(size=(8, 5, 8)), np.arange(8) % 3
    start = initialize_from_data(
        transformer(), x, y, method, optimizer="adam", steps=3, gradient_norm=100.0
    )
    # The best step is kept, and three may not be enough to better the draw.
    assert np.isfinite(start.before) and start.after <= start.before
    assert len(start.factors) == (6 if method == "metainit" else len(start.factors))


def linear(seed=1):
    keras.utils.set_random_seed(seed)
    return plain(keras.layers.Dense(1, use_bias=False), shape=(3,))


DATA = RNG.normal(size=(16, 3)).astype("float32")
TARGET = RNG.normal(size=(16, 1)).astype("float32")


def loss_and_gradient(w):
    """Mean squared error of a linear model."""
    error = DATA @ w - TARGET
    return np.mean(error**2), 2 / 16 * DATA.T @ error


def quotient(w):
    _, g = loss_and_gradient(w)
    product = 2 / 16 * DATA.T @ (DATA @ g)
    return np.mean(np.abs((g - product) / (g + 1e-5 * np.sign(g)) - 1))


@pytest.mark.every_backend
def test_metainit_lessens_the_gradient_quotient():
    model = linear()
    w = numpy(model.layers[0].kernel).copy()
    start = initialize_from_data(model, DATA, TARGET, "metainit", "mse", steps=30)
    assert start.before == pytest.approx(quotient(w), rel=1e-3)
    factor = start.factors[model.layers[0].kernel.path]
    np.testing.assert_allclose(numpy(model.layers[0].kernel), factor * w, rtol=1e-5)
    assert start.after == pytest.approx(quotient(factor * w), rel=1e-2)
    assert start.after < start.before


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("optimizer", "step"),
    [(keras.optimizers.SGD, lambda g: g), (keras.optimizers.Adam, np.sign)],
)
def test_gradinit_lessens_the_loss_behind_a_step(optimizer, step):
    def behind(w):
        return loss_and_gradient(w - 0.1 * step(loss_and_gradient(w)[1]))[0]

    model = linear()
    w = numpy(model.layers[0].kernel).copy()
    start = initialize_from_data(
        model,
        DATA,
        TARGET,
        "gradinit",
        "mse",
        optimizer=optimizer(0.1),
        steps=40,
        gradient_norm=100.0,
    )
    factor = start.factors[model.layers[0].kernel.path]
    assert start.before == pytest.approx(behind(w), rel=1e-4)
    assert start.after == pytest.approx(behind(factor * w), rel=1e-4)
    assert start.after < start.before


def test_gradinit_bounds_the_gradient_first():
    model = linear()
    kernel = model.layers[0].kernel
    kernel.assign(10 * kernel.value)
    norms = [np.linalg.norm(loss_and_gradient(numpy(kernel))[1])]
    initialize_from_data(
        model,
        DATA,
        TARGET,
        "gradinit",
        "mse",
        optimizer="sgd",
        steps=80,
        gradient_norm=norms[0] / 2,
    )
    norms.append(np.linalg.norm(loss_and_gradient(numpy(kernel))[1]))
    assert norms[1] < 0.55 * norms[0]


def dead():
    model = plain(keras.layers.Dense(8, "relu"), keras.layers.Dense(4, name="behind"))
    model.layers[0].bias.assign(-100 * np.ones(8))
    return model


def overflowing():
    huge = keras.layers.Rescaling(1e30)
    return plain(huge, keras.layers.Rescaling(1e30), keras.layers.Dense(4, name="last"))


def biased():
    """Its deviation is that of biases, which the kernel does not set."""
    model = plain(keras.layers.Dense(8, name="biased"))
    model.layers[0].bias.assign(100 * np.arange(8.0))
    return model


@pytest.mark.parametrize(
    ("make", "x", "arguments", "message"),
    [
        (mlp, np.ones((8, 12)), {}, "`x` must hold different samples"),
        (mlp, X[:1], {}, "`x` must hold different samples"),
        (dead, X, {}, "`behind` gives the same for all samples: the units"),
        (overflowing, X, {}, "`last` gives NaN or infinity"),
        (biased, X, {}, "`biased` gives a standard deviation of .*bias"),
        (mlp, X, {"method": "msra"}, "`method`"),
        (mlp, X, {"method": "metainit"}, "`y` is needed"),
        (mlp, X, {"method": "gradinit", "y": Y}, "`optimizer` is needed"),
        (mlp, X, {"steps": 0}, "`steps` must be"),
        (mlp, X, {"gradient_norm": 0}, "`gradient_norm` must be"),
        (overflowing, X, {"method": "metainit", "y": Y % 4}, "is not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_input_changes_nothing(make, x, arguments, message):
    model = make()
    before = [numpy(w).copy() for w in model.weights]
    with pytest.raises(ValueError, match=message):
        initialize_from_data(model, x, **arguments)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, numpy(new))


def test_errors_inside_of_stacks_name_block_and_stack():
    model = mlp(stacked=True)
    (bias,) = (w for w in model.weights if w.path == "blocks/weight1/bias")
    values = numpy(bias).copy()
    values[2] = 100 * np.arange(16)
    bias.assign(values)
    with pytest.raises(ValueError, match="In block 2 of stack `blocks`: Layer"):
        initialize_from_data(model, X)

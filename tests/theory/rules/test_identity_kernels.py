import keras
import pytest

from fixinit import theory
from fixinit.initializers import IDInit, Rescaled, ZerO


@pytest.mark.parametrize(
    ("units", "initializer"),
    [
        (8, ZerO()),
        (5, ZerO()),
        (12, IDInit(0.5)),
        (8, Rescaled(IDInit(noise=0.0), 3.0)),
        (8, keras.initializers.Identity(2.0)),
    ],
)
def test_dense_layers_take_channels(units, initializer):
    x = inputs = keras.Input((8,))
    x = keras.layers.Dense(8, "relu", kernel_initializer="he_normal")(x)
    x = keras.layers.Dense(units, "relu", kernel_initializer=initializer)(x)
    model = keras.Model(inputs, x)
    before, after = theory.predict(model).layers[-2:]
    gain = {"Rescaled": 3.0, "Identity": 2.0}.get(
        type(initializer).__name__, getattr(initializer, "gain", 1.0)
    )
    # A ReLU passes on what has been through one.
    assert after.mean_square == pytest.approx(gain**2 * before.mean_square)
    assert after.variance == pytest.approx(gain**2 * before.variance)


def test_convolutions_read_their_centre_alone():
    conv = keras.layers.Conv2D
    model = keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            conv(4, 3, 2, "same", kernel_initializer=ZerO(), bias_initializer="ones"),
        ]
    )
    row = theory.predict(model, input_variance=3.0).layers[-1]
    assert row.mean_square == pytest.approx(3.0 + 1)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Dense(16, kernel_initializer=ZerO()),
        keras.layers.Dense(4, kernel_initializer=IDInit()),
        keras.layers.Conv1D(8, 1, groups=2, kernel_initializer=ZerO(groups=2)),
        keras.layers.EinsumDense("abc,cd->abd", (6, 8), kernel_initializer=ZerO()),
        keras.layers.Dense(16, kernel_initializer=Rescaled(ZerO(), 2.0)),
    ],
)
def test_kernels_of_dependent_weights_have_no_rule(layer):
    layer = type(layer).from_config(layer.get_config())
    model = keras.Sequential([keras.Input((6, 8)), layer])
    with pytest.raises(theory.NoRuleError, match='unknown="measure"'):
        theory.predict(model)
    assert theory.predict(model, unknown="measure").layers[-1].mean_square > 0

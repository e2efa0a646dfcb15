"""`keras.models.clone_model` draws anew, unless the model was made with a seed."""

import itertools

import keras
import numpy as np
import pytest

import fixinit
from tests.marks import mostly_slow, slow_on_tensorflow


def residual_mlp(scheme="skip_init", **kwargs):
    return fixinit.models.ResidualMLP(
        3, units=4, scheme=scheme, input_shape=(4,), classes=4, **kwargs
    )


def network(dense=keras.layers.Dense):
    x = inputs = keras.Input((4,))
    for _ in range(2):
        branch = keras.layers.BatchNormalization()(dense(4)(x))
        x = keras.layers.Add()([x, dense(4)(keras.layers.ReLU()(branch))])
    return keras.Model(inputs, dense(4)(x))


def einsum_dense(units):
    return keras.layers.EinsumDense("ab,bc->ac", units, bias_axes="c")


def converted(**kwargs):
    return fixinit.convert(network(), "skip_init", **kwargs)


def converted_stack(**kwargs):
    """Of a stack, whose initializers are rescaled."""
    return fixinit.convert(residual_mlp(stacked=True, seed=5), "skip_init", **kwargs)


MAKERS = {
    "blocks": residual_mlp,
    "stack": lambda **kwargs: residual_mlp(stacked=True, **kwargs),
    "stack of blocks that differ": lambda **kwargs: residual_mlp(
        fixinit.schemes.ScaledResidual("decreasing"), stacked=True, **kwargs
    ),
    "dropout": lambda **kwargs: fixinit.models.WideResNet(
        10, 1, input_shape=(8, 8, 3), dropout_rate=0.5, **kwargs
    ),
    "converted": converted,
    "converted stack": converted_stack,
    "converted EinsumDense": lambda **kwargs: fixinit.convert(
        network(einsum_dense), "skip_init", **kwargs
    ),
}


def drawn(model):
    """The kernels that are drawn, one for each block of a stack."""
    kernels = []
    for variable in model.trainable_variables:
        value = keras.ops.convert_to_numpy(variable)
        if "kernel" in variable.path and np.std(value) > 0:
            kernels += list(value) if value.ndim == 3 else [value]
    assert kernels
    return kernels


def equal(first, second):
    """Which kernels are the same draws: rescaled ones differ in the last bit."""
    pairs = zip(drawn(first), drawn(second), strict=True)
    return [np.allclose(a, b, rtol=1e-6, atol=0) for a, b in pairs]


@slow_on_tensorflow
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_without_a_seed_clones_draw_anew(make):
    model = make()
    clone = keras.models.clone_model(model)
    assert not any(equal(model, clone))
    for kernels in (drawn(model), drawn(clone)):
        for a, b in itertools.combinations(kernels, 2):
            assert a.shape != b.shape or not np.array_equal(a, b)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_with_a_seed_clones_repeat_the_draw(make):
    model = make(seed=3)
    assert all(equal(model, keras.models.clone_model(model)))


@mostly_slow("make", MAKERS.values(), quick=2, ids=MAKERS)
def test_without_a_seed_the_global_seed_decides(make):
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        models.append(make())
    assert all(equal(*models))


def test_stacks_draw_what_blocks_draw_without_a_seed():
    models = []
    for stacked in (True, False):
        keras.utils.set_random_seed(7)
        models.append(residual_mlp(stacked=stacked))
    stacked, separate = (sorted(map(np.sum, drawn(model))) for model in models)
    np.testing.assert_allclose(stacked, separate, rtol=1e-5)

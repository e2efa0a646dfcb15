"""Statistics behind weight layers that are called several times, as in towers."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from tests.conversion.test_fold import check, normal, trained
from tests.marks import on_torch


def tower(**options):
    """An image network with a residual block, to be called on several inputs."""
    x = inputs = keras.Input((8, 8, 3))
    for kind in (layers.Conv2D, layers.DepthwiseConv2D):
        args = (6, 3) if kind is layers.Conv2D else (3,)
        x = kind(*args, padding="same", use_bias=False, **options)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.BatchNormalization()(layers.Conv2D(6, 1, **options)(x))
    x = layers.GlobalAveragePooling2D()(layers.add([x, y]))
    outputs = layers.BatchNormalization()(layers.Dense(5, **options)(x))
    return keras.Model(inputs, outputs, name="tower")


def siamese(shared):
    pair = [keras.Input((8, 8, 3)) for _ in range(2)]
    first, second = map(shared, pair)
    return keras.Model(pair, layers.Dense(2)(ops.abs(first - second)))


@pytest.mark.every_backend
def test_siamese_towers():
    folded = check(siamese(tower()), [normal(2, 8, 8, 3), -normal(2, 8, 8, 3)], 0)
    inner = folded.get_layer("tower")
    assert len(inner._inbound_nodes) == 2


@on_torch
def test_training_of_folded_towers_goes_on():
    folded = check(siamese(tower()), [normal(2, 8, 8, 3)] * 2, 0)
    folded.compile("sgd", "mse")
    x = [normal(8, 8, 8, 3), -normal(8, 8, 8, 3)]
    losses = folded.fit(x, normal(8, 2), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_towers_in_a_model_that_is_called_twice_and_by_another():
    pair = [keras.Input((8, 8, 3)) for _ in range(2)]
    shared = tower()
    both = keras.Model(pair, layers.add([shared(pair[0]), shared(pair[1])]))
    quad = [keras.Input((8, 8, 3)) for _ in range(4)]
    x = [both(quad[:2]), both(quad[2:]), shared(quad[0])]
    model = keras.Model(quad, layers.Concatenate()(x))
    check(model, [normal(2, 8, 8, 3) * (1 + i) for i in range(4)], affine=0)


def test_one_head_on_every_level():
    """The head of a detector: convolutions shared by all levels of a pyramid."""
    head = [layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()]
    inputs = [keras.Input((size, size, 4)) for size in (8, 4, 2)]
    outputs = []
    for x in inputs:
        for layer in head:
            x = layer(x)
        outputs.append(layers.Flatten()(layers.ReLU()(x)))
    model = keras.Model(inputs, layers.Concatenate()(outputs))
    check(model, [normal(2, size, size, 4) for size in (8, 4, 2)], affine=0)


def test_weights_inside_of_a_tower_and_statistics_behind_it():
    x = keras.Input((6,))
    dense = keras.Model(x, layers.Dense(4)(layers.Dense(5, "relu")(x)))
    norm, pair = layers.BatchNormalization(), [keras.Input((6,)) for _ in range(2)]
    model = keras.Model(pair, layers.Concatenate()([norm(dense(x)) for x in pair]))
    check(model, [normal(2, 6), 2 * normal(2, 6)], affine=0)


def test_two_in_a_row():
    dense = layers.Dense(4, use_bias=False)
    norms = [layers.BatchNormalization(scale=False), layers.BatchNormalization()]
    inputs = keras.Input((4,))
    outputs = [norms[1](norms[0](dense(x))) for x in (inputs, 2 * inputs)]
    check(keras.Model(inputs, layers.add(outputs)), normal(3, 4), affine=0)


def test_recurrence_through_shared_layers():
    x = inputs = keras.Input((4,))
    dense, norm = layers.Dense(4), layers.BatchNormalization()
    for _ in range(3):
        x = layers.ReLU()(norm(dense(x)))
    check(keras.Model(inputs, x), normal(3, 4), affine=0)


def test_spectral_normalization_in_front_of_shared_statistics():
    wrapped = layers.SpectralNormalization(layers.Dense(4))
    norm, inputs = layers.BatchNormalization(), keras.Input((4,))
    outputs = [norm(wrapped(x)) for x in (inputs, 3 * inputs)]
    check(keras.Model(inputs, layers.add(outputs)), normal(3, 4), affine=0)


def test_residual_blocks_of_the_library_that_are_called_twice():
    branch = [layers.Dense(4), layers.BatchNormalization(), layers.ReLU()]
    block = fixinit.layers.ResidualBlock([*branch, layers.Dense(4)])
    inputs = keras.Input((4,))
    check(keras.Model(inputs, block(block(inputs))), normal(3, 4), affine=0)


def of_different_producers(x, norm):
    return layers.add([norm(layers.Dense(4)(x)), norm(layers.Dense(4)(x))])


def of_the_input_once(x, norm):
    return layers.add([norm(layers.Dense(4)(x)), norm(x)])


def raw_once(x, norm):
    dense = layers.Dense(4)
    return layers.add([norm(dense(x)), norm(dense(2 * x)), dense(3 * x)])


def read_besides_once(x, norm):
    dense = layers.Dense(4)
    second = dense(2 * x)
    return layers.add([norm(dense(x)), norm(second), second])


def activated_once(x, norm):
    dense = layers.Dense(4)
    return layers.add([norm(dense(x)), norm(layers.ReLU()(dense(2 * x)))])


def of_its_own_outputs(x, norm):
    dense = layers.Dense(4)
    return layers.add([norm(norm(dense(x))), dense(2 * x)])


@pytest.mark.parametrize(
    "outputs",
    [
        of_different_producers,
        of_the_input_once,
        raw_once,
        read_besides_once,
        activated_once,
        of_its_own_outputs,
    ],
)
def test_statistics_stay_where_calls_differ(outputs):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, outputs(inputs, layers.BatchNormalization()))
    check(model, normal(3, 4), affine=1)


def test_statistics_of_two_domains_stay():
    """One weight layer, with statistics of its own for every domain."""
    dense, inputs = layers.Dense(4), keras.Input((4,))
    outputs = [layers.BatchNormalization()(dense(x)) for x in (inputs, 2 * inputs)]
    check(keras.Model(inputs, layers.add(outputs)), normal(3, 4), affine=2)


def test_towers_without_a_choice_of_frozen_layers():
    shared = tower()
    for layer in shared.layers:
        is_norm = isinstance(layer, layers.BatchNormalization)
        layer.trainable = is_norm and layer.name == shared.layers[2].name
    x = [normal(2, 8, 8, 3)] * 2
    folded = check(siamese(shared), x, affine=1)
    free = folded.get_layer("tower").trainable_variables
    assert len(free) == 2


def test_as_many_layers_as_for_one_call():
    alone, inputs = trained(tower()), keras.Input((8, 8, 3))
    once = fixinit.convert(alone, weights="fold")
    twice = fixinit.convert(
        keras.Model(inputs, layers.add([alone(inputs), alone(-inputs)])),
        weights="fold",
    )
    pairs = zip(once.weights, twice.weights, strict=True)
    for first, second in pairs:
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (first, second)))

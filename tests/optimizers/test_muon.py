"""Zero kernels and scalars under Keras's optimizers beyond Adam."""

import re

import keras
import numpy as np
import pytest

import fixinit
from fixinit.optimizers import muon_exclusions
from tests.marks import slow_on_tensorflow

GRADIENT = np.random.default_rng(0).normal(size=(64, 32)).astype("float32")
DRAWN = np.random.default_rng(1).normal(size=(64, 32)).astype("float32") / 8


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def step(optimizer, value, gradient):
    """The first step of a variable."""
    value, gradient = (np.asarray(a, "float32") for a in (value, gradient))
    variable = keras.Variable(value, name="kernel")
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    return numpy(variable.value) - value


def size(x):
    return float(np.sqrt(np.mean(np.square(x))))


def muon(**arguments):
    options = {"weight_decay": None, "adam_weight_decay": None, **arguments}
    return keras.optimizers.Muon(0.01, **options)


@pytest.mark.every_backend
def test_a_zero_matrix_moves_at_full_size_at_once():
    drawn = step(muon(), DRAWN, GRADIENT)
    for gradient in (GRADIENT, 1e-3 * GRADIENT):
        moved = step(muon(), 0 * DRAWN, gradient)
        np.testing.assert_allclose(moved, drawn, rtol=1e-2, atol=1e-6)
    # All singular values are near rate * 0.2 * sqrt(64), whatever the gradient's.
    values = np.linalg.svd(drawn, compute_uv=False) / (0.01 * 0.2 * 8)
    assert 0.6 < values.min() and values.max() < 1.3


def test_scalars_and_vectors_are_not_orthogonalized():
    # Adam's first step is of the size of its rate.
    for shape in ((), (5,)):
        moved = step(muon(), np.zeros(shape), np.full(shape, 1e-3))
        np.testing.assert_allclose(np.abs(moved), 0.01, rtol=1e-2)


@pytest.mark.parametrize(
    ("name", "of_zeros", "of_nearly_zeros"),
    [
        ("Adam", 1.0, 1.0),
        ("Lion", 1.0, 1.0),
        ("ScheduleFreeAdamW", 1.0, 1.0),
        # Its steps are of the size of the weights, but for zeros.
        ("Lamb", 1.0, 1e-6),
        # Of weights below 1e-3 as of 1e-3.
        ("Adafactor", 1e-3, 1e-3),
    ],
)
def test_other_optimizers_move_zeros(name, of_zeros, of_nearly_zeros):
    kind = getattr(keras.optimizers, name)
    for value, expected in ((0.0, of_zeros), (1e-6, of_nearly_zeros)):
        moved = step(kind(0.01), np.full((8, 8), value), np.ones((8, 8)))
        assert size(moved) / 0.01 == pytest.approx(expected, rel=0.05)


def model(stacked, scheme="fixup"):
    return fixinit.models.ResidualMLP(
        3, 8, scheme=scheme, stacked=stacked, input_shape=(6,), classes=3, seed=0
    )


def orthogonalized(model):
    """Paths of the variables that Muon makes orthogonal steps of."""
    optimizer = muon(exclude_layers=muon_exclusions(model))
    optimizer.build(model.trainable_variables)
    pairs = zip(model.trainable_variables, optimizer.adam_velocities, strict=True)
    return {variable.path for variable, velocity in pairs if velocity is None}


@pytest.mark.parametrize("scheme", ["fixup", "layer_scale", "batch_norm"])
def test_kernels_alone_are_orthogonalized(scheme):
    found = orthogonalized(model(False, scheme))
    kernels = {f"block{b}/weight{w}/kernel" for b in (1, 2, 3) for w in (1, 2)}
    assert found == {"stem/kernel", *kernels}


@pytest.mark.parametrize("scheme", ["fixup", "layer_scale", "skip_init"])
def test_vectors_of_stacked_blocks_are_no_matrices(scheme):
    made = model(True, scheme)
    matrices = {v.path for v in made.trainable_variables if len(v.shape) == 2}
    assert any(path.startswith("blocks/") for path in matrices) or scheme == "fixup"
    assert orthogonalized(made) == {"stem/kernel"}


def test_embeddings_heads_and_slopes_are_excluded():
    made = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Embedding(9, 4, name="tokens"),
            keras.layers.PReLU(name="slopes"),
            keras.layers.Dense(4, name="inner"),
            keras.layers.Dense(3, name="classes"),
        ]
    )
    paths = {layer.name: layer.weights[0].path for layer in made.layers}
    patterns = muon_exclusions(made)
    for name, path in paths.items():
        matched = any(re.search(pattern, path) for pattern in patterns)
        assert matched == (name != "inner")
    by_hand = muon_exclusions(made, head=[made.get_layer("inner")])
    assert any(re.search(pattern, paths["inner"]) for pattern in by_hand)
    assert not any(re.search(pattern, paths["classes"]) for pattern in by_hand)


@slow_on_tensorflow
@pytest.mark.every_backend
def test_a_network_of_zero_branches_trains_with_muon():
    made = model(False)
    made.compile(
        muon(exclude_layers=muon_exclusions(made)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x = np.random.default_rng(0).normal(size=(24, 6)).astype("float32")
    losses = [float(made.train_on_batch(x, np.arange(24) % 3)) for _ in range(25)]
    assert losses[-1] < 0.8 * losses[0]

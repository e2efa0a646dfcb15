import functools

import keras
import pytest

import fixinit
from tests.diagnostics.doctor.rules.programs import (
    BINARY,
    CLASSES,
    NUMBERS,
    RNG,
    X,
    claims,
    compiled,
    found,
    layers,
    mended,
    net,
)
from tests.marks import ON_TORCH

pytestmark = ON_TORCH


def mlp(*kernels, last="glorot_uniform", activation="relu", shape=(6,), **options):
    """A network whose hidden kernels are drawn as given."""
    hidden = [
        layers.Dense(16, activation, kernel_initializer=k, name=f"h{i}", **options)
        for i, k in enumerate(kernels)
    ]
    head = layers.Dense(1, kernel_initializer=last, name="head")
    return compiled(keras.Sequential([keras.Input(shape), *hidden, head]), "mse")


@pytest.mark.parametrize("kernel", ["zeros", "ones", keras.initializers.Constant(0.1)])
def test_units_that_start_equal(kernel):
    model = mlp("he_normal", kernel)
    after, _, _ = mended("initialization", model, X, NUMBERS, severity="error")
    kernel = keras.ops.convert_to_numpy(after.get_layer("h1").kernel)
    assert 1 < kernel.std() * 4 < 2
    assert claims(mlp("he_normal", "he_normal"), X, NUMBERS) == []


def test_heads_of_zeros_are_no_finding():
    model = mlp("he_normal", "he_normal", last="zeros")
    assert claims(model, X, NUMBERS) == []


def test_branches_of_zeros_are_no_finding():
    for scheme in ("fixup", "skip_init"):
        model = fixinit.models.ResidualMLP(
            3, 16, scheme=scheme, input_shape=(6,), classes=1, seed=0
        )
        model = compiled(model, "mse", keras.optimizers.SGD(0.01))
        assert claims(model, X, NUMBERS) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_layers_that_share_a_draw(seed):
    # Remedies have seeds of their own, which may be that of the draw.
    same = keras.initializers.HeNormal(seed)
    model = mlp("he_normal", same, same)
    mended("initialization", model, X, NUMBERS, severity="warning", where="h1")
    assert not found("initialization", mlp(*["he_normal"] * 3), X, NUMBERS)


def normal(size):
    return keras.initializers.RandomNormal(stddev=size, seed=0)


@pytest.mark.parametrize("size, gain", [(5.0, 20.0), (0.02, 0.08)])
def test_kernels_of_wrong_sizes(size, gain):
    (finding,) = found("initialization", mlp("he_normal", normal(size)), X, NUMBERS)
    assert finding.value == pytest.approx(gain, rel=0.2)
    model = mlp("he_normal", normal(size))
    mended("initialization", model, X, NUMBERS, severity="warning", where="h1")


@pytest.mark.parametrize("kernel", ["random_normal", "lecun_normal", "orthogonal"])
def test_kernels_of_ordinary_sizes(kernel):
    # Keras's random_normal, of deviation 0.05, multiplies what 16 units give by 0.2.
    assert not found("initialization", mlp(kernel, kernel), X, NUMBERS)


def test_the_draw_fits_the_activation():
    for activation, draw in (("tanh", "Glorot"), ("selu", "Lecun"), ("relu", "He")):
        model = mlp("he_normal", "ones", activation=activation)
        (finding,) = found("initialization", model, X, NUMBERS)
        assert draw in finding.remedy


def test_a_size_does_not_matter_in_front_of_normalization():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(16, kernel_initializer=normal(5.0)),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dense(1),
        ]
    )
    assert not found("initialization", compiled(model, "mse"), X, NUMBERS)


def test_convolutions():
    def model(size):
        network = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Conv2D(8, 3, activation="relu", name="first"),
                layers.Conv2D(
                    8, 3, activation="relu", kernel_initializer=normal(size), name="c"
                ),
                layers.GlobalAveragePooling2D(),
                layers.Dense(1, "sigmoid"),
            ]
        )
        return compiled(network, "binary_crossentropy")

    x = RNG.normal(size=(32, 8, 8, 3)).astype("float32")
    y = BINARY[:32]
    mended("initialization", model(2.0), x, y, severity="warning", where="c")
    assert not found("initialization", model(0.15), x, y)


def test_frozen_kernels_are_no_claim():
    model = mlp("he_normal", keras.initializers.Constant(0.1))
    model.get_layer("h1").trainable = False
    model.compile("adam", "mse")
    assert not found("initialization", model, X, NUMBERS)


def embedded(size, *between):
    draw = keras.initializers.RandomNormal(stddev=size, seed=0)
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(50, 16, embeddings_initializer=draw, name="table"),
            *between,
            layers.GlobalAveragePooling1D(),
            layers.Dense(16, "relu"),
            layers.Dense(1, "sigmoid"),
        ]
    )
    return compiled(model, "binary_crossentropy")


TOKENS = RNG.integers(0, 50, (64, 5)).astype("int32")


@pytest.mark.parametrize("size", [1e-3, 40.0])
def test_embeddings_of_wrong_sizes(size):
    model = embedded(size)
    (finding,) = found("embedding_scale", model, TOKENS, BINARY)
    assert finding.value == pytest.approx(size, rel=0.1)
    mended("embedding_scale", model, TOKENS, BINARY, severity="warning", where="table")


@pytest.mark.parametrize("size", [0.02, 1.0])
def test_embeddings_of_ordinary_sizes(size):
    assert not found("embedding_scale", embedded(size), TOKENS, BINARY)
    normalized = embedded(1e-3, layers.LayerNormalization())
    assert not found("embedding_scale", normalized, TOKENS, BINARY)


@pytest.mark.parametrize("seed", range(3))
def test_large_kernels_are_mended_before_the_rate_that_they_make_too_high(seed):
    layer = functools.partial(layers.Dense, 128, "relu")
    kernels = [keras.initializers.RandomNormal(0, 1, 3 * seed + i) for i in range(3)]
    model = net(
        *(layer(kernel_initializer=kernel) for kernel in kernels),
        layers.Dense(4, "softmax"),
        loss="sparse_categorical_crossentropy",
        optimizer=keras.optimizers.SGD(0.05),
    )
    assert found("initialization", model, X, CLASSES)[0].severity == "error"
    assert claims(model, X, CLASSES)[0] == "initialization"

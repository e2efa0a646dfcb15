"""Networks in which it is easy to take one thing for another."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit

FREE = ("fixup", "scaled_residual", "skip_init", "rezero", "normalized_sum")


def dense(units=8, **kwargs):
    return layers.Dense(units, **kwargs)


def residual(x, last=dense):
    return x + last()(layers.ReLU()(dense()(x)))


def convert(model, scheme="fixup", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fixinit.convert(model, scheme, seed=0, **options)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def zeros(free):
    """How the branches of a model start at zero."""
    blocks = free.conversion["blocks"]
    return [branch["zero"] for block in blocks for branch in block["branches"]]


def still(model, x, y):
    """The trainable variables that four steps of Adam do not move."""
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    model.compile(keras.optimizers.Adam(1e-3), "mse", run_eagerly=True)
    for _ in range(4):
        model.train_on_batch(x, y)
    pairs = zip(before, model.trainable_variables, strict=True)
    return [v.path for old, v in pairs if np.array_equal(old, ops.convert_to_numpy(v))]


@pytest.mark.parametrize("scheme", FREE)
def test_conditions_are_no_shortcuts(scheme):
    """`x + W e`, where the stream x depends on e as well, as in diffusion models."""
    a, c = keras.Input((8,)), keras.Input((8,))
    e, x = dense(activation="relu")(c), residual(a)
    for _ in range(3):
        x = residual(x + dense()(e))
    free = convert(keras.Model([a, c], x), scheme)
    assert free.conversion["num_branches"] == 4
    one, other = (free([normal(2, 8, seed=s), np.ones((2, 8))]) for s in (0, 1))
    assert float(ops.max(ops.abs(one - other))) > 0.1


def test_what_else_is_read_is_no_head():
    inputs = keras.Input((8,))
    z = dense(4, name="latent")(layers.ReLU()(dense()(inputs)))
    y = dense(name="decoded")(layers.ReLU()(dense()(z)))
    free = convert(keras.Model(inputs, [z, y]))
    roles = {other["name"]: other["role"] for other in free.conversion["others"]}
    assert roles["latent"] == "trunk" and roles["decoded"] == "head"
    assert np.any(ops.convert_to_numpy(free.get_layer("latent").kernel))


def test_frozen_layers_are_not_zeroed():
    x = inputs = keras.Input((8,))
    x = residual(x, lambda: dense(trainable=False, name="frozen"))
    x = dense(4, trainable=False, name="head")(x)
    with pytest.warns(UserWarning, match="Frozen.*frozen"):
        free = fixinit.convert(keras.Model(inputs, x), "fixup", seed=0)
    assert zeros(free) == ["multiplier"]
    for name in ("frozen", "head"):
        assert np.any(ops.convert_to_numpy(free.get_layer(name).kernel))
    assert not still(free, normal(8, 8), normal(8, 4))


def test_frozen_models_stay_frozen():
    inner = keras.Sequential([keras.Input((8,)), dense(), dense()], name="inner")
    inner.trainable = False
    inputs = keras.Input((8,))
    free = convert(keras.Model(inputs, dense(2)(inputs + inner(inputs))))
    assert not free.get_layer("inner").trainable_variables


@pytest.mark.parametrize(
    "end",
    [
        lambda h: dense()(h) * dense()(h),
        lambda h: (lambda y: y * y)(dense()(h)),
        lambda h: ops.divide(np.ones(8, "float32"), 1.5 + ops.tanh(dense()(h))),
        lambda h: ops.square(dense()(h)),
        lambda h: ops.abs(dense()(h)),
        lambda h: layers.LayerNormalization(name="kept")(dense()(h)),
    ],
    ids=["product", "own product", "quotient", "square", "absolute", "normalized"],
)
def test_zeros_that_could_not_be_trained_away(end):
    inputs = keras.Input((8,))
    outputs = inputs + end(layers.ReLU()(dense()(inputs)))
    model = keras.Model(inputs, outputs)
    keep = [x.name for x in model.layers if x.name == "kept"]
    free = convert(model, keep=keep)
    assert zeros(free) == ["multiplier"]
    assert not still(free, normal(16, 8), normal(16, 8, seed=1))


def test_gates_that_are_shorter_than_what_they_gate():
    def conv(**kwargs):
        return layers.Conv2D(4, 3, padding="same", **kwargs)

    inputs = keras.Input((8, 8, 4))
    y = conv(name="second")(layers.ReLU()(conv(name="first")(inputs)))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    gate = dense(4, activation="sigmoid", name="gate")(gate)
    model = keras.Model(inputs, inputs + y * gate)
    for scheme in ("fixup", "scaled_residual"):
        free = convert(model, scheme)
        (branch,) = free.conversion["blocks"][0]["branches"]
        assert branch["weights"] == ["first", "second"]
        assert np.std(ops.convert_to_numpy(free.get_layer("gate").kernel)) < 1


def test_shared_layers_are_scaled_once():
    a, b = keras.Input((256,)), keras.Input((256,))
    shared = dense(64, activation="relu")
    outputs = [layers.Dropout(0.1)(shared(x)) for x in (a, b)]
    free = convert(keras.Model([a, b], outputs), "unnormalized")
    for y in free([normal(64, 256), normal(64, 256, seed=1)]):
        assert 0.5 < float(ops.mean(y**2)) < 2


def test_one_layer_in_two_places_is_not_zeroed():
    x = inputs = keras.Input((8,))
    shared = dense(name="shared")
    for _ in range(3):
        x = x + shared(layers.ReLU()(shared(x)))
    free = convert(keras.Model(inputs, x))
    assert zeros(free) == ["multiplier"] * 3
    np.testing.assert_allclose(free.predict(normal(2, 8)), normal(2, 8), rtol=1e-6)


@pytest.mark.parametrize("scheme", FREE)
def test_sums_that_are_broadcast_are_no_blocks(scheme):
    x = inputs = keras.Input((4, 4, 8))
    x = x + dense()(ops.mean(x, (1, 2), keepdims=True))
    with pytest.warns(UserWarning, match="Additions"):
        free = fixinit.convert(keras.Model(inputs, x), scheme)
    assert not free.conversion["blocks"]


def test_what_is_added_twice_is_added_twice():
    inputs = keras.Input((8,))
    y = dense()(inputs)
    free = convert(keras.Model(inputs, layers.add([inputs, y, inputs])), "rezero")
    assert not free.conversion["blocks"]


def test_factors_beside_additions_are_named():
    x = inputs = keras.Input((8,))
    x = (x + dense()(layers.ReLU()(dense()(x)))) * 0.5**0.5
    with pytest.warns(UserWarning, match="Factors.*multiply"):
        fixinit.convert(keras.Model(inputs, x))


def test_softmax_has_nothing_in_front_of_it():
    inputs = keras.Input((6, 8))
    scores = ops.softmax(ops.matmul(dense()(inputs), ops.transpose(inputs, (0, 2, 1))))
    x = inputs + dense()(ops.matmul(scores, dense()(inputs)))
    free = convert(keras.Model(inputs, x), "batch_norm")
    assert not [x.name for x in free.layers if "softmax" in x.name and "norm" in x.name]


def test_calls_of_nested_models_keep_their_arguments():
    inner = keras.Sequential([keras.Input((8,)), layers.Dropout(0.9)], name="inner")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, residual(inner(inputs, training=False)))
    free = convert(model)
    x = np.ones((4, 8), "float32")
    outputs = ops.convert_to_numpy(free(x, training=None))
    np.testing.assert_allclose(outputs, x, rtol=1e-6)


def test_keeps_spectral_normalization():
    wrapper = layers.SpectralNormalization(dense(name="dense"), name="spectral")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, inputs + wrapper(layers.ReLU()(dense()(inputs))))
    free = convert(model, keep=("SpectralNormalization",))
    assert isinstance(free.get_layer("spectral"), layers.SpectralNormalization)
    removed = convert(model).conversion["removed"]
    assert removed == {"SpectralNormalization": ["spectral"]}


def test_names_that_are_taken():
    x = inputs = keras.Input((8,))
    x = x + dense(name="fc_activation")(dense(activation="relu", name="fc")(x))
    names = [layer.name for layer in convert(keras.Model(inputs, x)).layers]
    assert len(set(names)) == len(names)


def test_precision_of_operators():
    inputs, half = keras.Input((8,), dtype="bfloat16"), {"dtype": "mixed_bfloat16"}
    y = dense(**half)(layers.ReLU(**half)(dense(**half)(inputs)))
    free = convert(keras.Model(inputs, inputs + y))
    added = [x for x in free.layers if isinstance(x, fixinit.layers.ScalarMultiplier)]
    assert [x.compute_dtype for x in added] == ["bfloat16"]
    assert {v.dtype for v in free.variables} == {"float32"}


def test_masks_pass_sums():
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 8, mask_zero=True)(inputs)
    x = layers.add([x, dense()(layers.ReLU()(dense()(x)))])
    free = convert(keras.Model(inputs, x), "normalized_sum")
    outputs = free(np.array([[1, 2, 0, 0, 0]]))
    mask = keras.src.backend.get_keras_mask(outputs)
    assert ops.convert_to_numpy(mask).tolist() == [[True, True, False, False, False]]


def test_an_addition_that_is_called_again():
    x = inputs = keras.Input((8,))
    add = layers.Add(name="sum")
    for _ in range(3):
        branch = dense()(layers.ReLU()(dense()(layers.BatchNormalization()(x))))
        x = add([x, branch])
    for scheme in FREE:
        free = convert(keras.Model(inputs, x), scheme)
        assert free.conversion["num_branches"] == 3
        assert not still(free, normal(16, 8), normal(16, 8, seed=1))


def test_parallel_branches_in_double_precision():
    inputs = keras.Input((8,), dtype="float64")
    branches = [dense(dtype="float64")(inputs) for _ in range(2)]
    x = layers.Add(dtype="float64")([inputs, *branches])
    free = convert(keras.Model(inputs, x), "normalized_sum")
    assert {layer.compute_dtype for layer in free.layers[1:]} == {"float64"}


@keras.saving.register_keras_serializable("tests")
class Standardized(layers.Dense):
    """A weight layer with a kernel of its own making."""

    def call(self, x):
        kernel = self.kernel - ops.mean(self.kernel, axis=0)
        return x @ (kernel / (ops.std(self.kernel, axis=0) + 1e-3)) + self.bias


@keras.saving.register_keras_serializable("tests")
class OwnNorm(layers.Layer):
    """Normalization that nobody can know."""

    def call(self, x):
        return x / (ops.std(x, axis=-1, keepdims=True) + 1e-3)


def test_layers_of_ones_own_are_named():
    inputs = keras.Input((8,))
    x = OwnNorm(name="own_norm")(Standardized(8, name="standardized")(inputs))
    with pytest.warns(UserWarning) as warned:
        fixinit.convert(keras.Model(inputs, residual(x)))
    said = "\n".join(str(warning.message) for warning in warned)
    assert "kind that the converter does not know" in said and "standardized" in said
    assert "also if they normalize: own_norm" in said


def test_normalization_of_the_data_is_named():
    inputs = keras.Input((8,))
    x = residual(layers.BatchNormalization(name="of_data")(inputs))
    with pytest.warns(UserWarning, match=r"keep=\['of_data'\]"):
        fixinit.convert(keras.Model(inputs, x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fixinit.convert(keras.Model(inputs, x), keep=["of_data"])


def test_frozen_embeddings_keep_what_they_know():
    inputs = keras.Input((5,), dtype="int32")
    embedding = layers.Embedding(10, 8, name="embedding")
    x = residual(layers.GlobalAveragePooling1D()(embedding(inputs)))
    model = keras.Model(inputs, dense(2)(x))
    table = normal(10, 8)
    embedding.set_weights([table])
    for frozen in (True, False):
        embedding.trainable = not frozen
        (got,) = convert(model).get_layer("embedding").get_weights()
        assert np.array_equal(got, table) == frozen

import inspect
import itertools
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit import models
from fixinit.conversion import explain
from tests.conversion.helpers import FOR_BATCH_NORM, NORMALIZATIONS
from tests.marks import on_torch, rest_on_torch, slow_on_tensorflow

IMAGE = (8, 8, 3)


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def residual(x, depth=2, width=8, norm=layers.BatchNormalization):
    """A block of a user's own."""
    y = x
    for _ in range(depth):
        y = layers.Dense(width)(layers.ReLU()(norm()(y)))
    return layers.add([y, x])


def network(blocks=3, **kwargs):
    x = inputs = keras.Input((6,))
    x = layers.Dense(8, name="stem")(x)
    for _ in range(blocks):
        x = residual(x, **kwargs)
    return keras.Model(inputs, layers.Dense(3, name="head")(x), name="mine")


def normalizations(model):
    return [x for x in model._flatten_layers() if isinstance(x, NORMALIZATIONS)]


def same_function(first, second, seed=0):
    """Whether two models compute the same with the same, arbitrary weights."""
    shapes = [tuple(v.shape) for v in first.weights]
    assert shapes == [tuple(v.shape) for v in second.weights]
    rng = np.random.default_rng(seed)
    values = [
        np.ones(shape) if "moving" in v.path else 0.3 * rng.normal(size=shape)
        for v, shape in zip(first.weights, shapes, strict=True)
    ]
    x = normal((2, *first.input_shape[1:]))
    outputs = []
    for model in (first, second):
        model.set_weights(values)
        outputs.append(ops.convert_to_numpy(model(x)))
    scale = np.abs(outputs[0]).max()
    return scale > 0 and np.abs(outputs[0] - outputs[1]).max() <= 1e-6 * scale


@slow_on_tensorflow
@pytest.mark.every_backend
@rest_on_torch(
    "scheme",
    # The others leave biases as the model has them.
    [s for s in FOR_BATCH_NORM if fixinit.schemes.get(s).use_bias is not None],
    quick=2,
)
@pytest.mark.parametrize("preactivation", [False, True])
def test_gives_the_networks_of_the_library(scheme, preactivation):
    options = {"preactivation": preactivation, "input_shape": IMAGE, "shortcut": "B"}
    model = models.CifarResNet(8, scheme="batch_norm", **options)
    free = fixinit.convert(model, scheme)
    assert same_function(models.CifarResNet(8, scheme=scheme, **options), free)


@on_torch
@pytest.mark.parametrize(
    "block, shortcut, preactivation",
    list(itertools.product(["basic", "bottleneck"], "ABC", [False, True])),
)
def test_gives_fixup_as_it_is_published(block, shortcut, preactivation):
    depth = {"basic": 8, "bottleneck": 11}[block]
    options = {
        "block": block,
        "shortcut": shortcut,
        "preactivation": preactivation,
        "input_shape": IMAGE,
    }
    model = models.CifarResNet(depth, scheme="batch_norm", **options)
    published = models.CifarResNet(depth, scheme="fixup", **options)
    free = fixinit.convert(model, "fixup")
    assert same_function(published, free)
    shapes = [[v.shape for v in m.trainable_variables] for m in (published, free)]
    assert shapes[0] == shapes[1]


@slow_on_tensorflow
@pytest.mark.every_backend
@rest_on_torch("scheme", ["fixup", "scaled_residual", "skip_init"], quick=1)
def test_gives_stacks_for_stacks(scheme):
    options = {"num_blocks": 5, "units": 8, "stacked": True}
    model = models.ResidualMLP(scheme="batch_norm", **options)
    free = fixinit.convert(model, scheme, seed=0)
    assert same_function(models.ResidualMLP(scheme=scheme, **options), free)
    assert free.conversion["num_branches"] == 5


@on_torch
def test_stacks_of_blocks_that_differ():
    scheme = fixinit.schemes.ScaledResidual("decreasing")
    options = {"num_blocks": 4, "units": 8, "stacked": True}
    model = models.ResidualMLP(scheme="batch_norm", **options)
    free = fixinit.convert(model, scheme)
    assert same_function(models.ResidualMLP(scheme=scheme, **options), free)


def test_converts_between_schemes():
    model = models.ResidualMLP(2, units=8, scheme="fixup")
    free = fixinit.convert(model, "scaled_residual")
    assert same_function(models.ResidualMLP(2, units=8, scheme="scaled_residual"), free)


@on_torch
@pytest.mark.parametrize("scheme", FOR_BATCH_NORM)
def test_a_users_own_network(scheme):
    free = fixinit.convert(network(), scheme, seed=0)
    assert bool(normalizations(free)) == fixinit.schemes.get(scheme).normalizes
    assert free.conversion["num_branches"] == 3
    assert free.input_shape == (None, 6) and free.output_shape == (None, 3)
    free.compile("sgd", "mse", run_eagerly=True)
    assert np.isfinite(free.train_on_batch(normal((4, 6)), normal((4, 3))))


def test_draws_kernels_as_fixup_does():
    wide = {"width": 64, "depth": 3}
    x = inputs = keras.Input((64,))
    for _ in range(4):
        x = residual(x, **wide)
    free = fixinit.convert(keras.Model(inputs, x), "fixup", seed=0)
    kernels = [
        ops.convert_to_numpy(v) for v in free.weights if v.path.endswith("kernel")
    ]
    for first, second, third in zip(*[iter(kernels)] * 3, strict=True):
        # Rule 2: He's 2 / fan times L^(-1 / (m - 1)), L = 4 and m = 3.
        for kernel in (first, second):
            size = 64 * np.mean(kernel**2)
            # Mean of 4096 squares of normals: standard deviation sqrt(2 / 4096).
            assert abs(size / (2 * 4**-0.5) - 1) < 5 * np.sqrt(2 / 64**2)
        assert not np.any(third)
    drawn = [kernel for kernel in kernels if np.any(kernel)]
    assert all(not np.allclose(a, b) for a, b in itertools.combinations(drawn, 2))


@slow_on_tensorflow
@pytest.mark.every_backend
def test_same_seed_same_weights():
    first, again, other = (fixinit.convert(network(), seed=s) for s in (1, 1, 2))
    pairs = zip(first.get_weights(), again.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    pairs = zip(first.get_weights(), other.get_weights(), strict=True)
    assert not all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.every_backend
def test_leaves_the_model_as_it_is():
    model = network()
    before, weights = model.get_config(), model.get_weights()
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    fixinit.convert(model, "fixup")
    explain(model)
    assert model.get_config() == before
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@on_torch
def test_layers_keep_their_names_and_the_record_is_saved(tmp_path):
    model = network()
    free = fixinit.convert(model, "fixup", seed=0)
    names = {layer.name for layer in free.layers}
    kept = {x.name for x in model.layers if not isinstance(x, NORMALIZATIONS)}
    assert kept <= names
    free.save(tmp_path / "free.keras")
    loaded = keras.models.load_model(tmp_path / "free.keras")
    assert loaded.conversion == free.conversion
    x = normal((2, 6))
    np.testing.assert_array_equal(loaded.predict(x), free.predict(x))
    assert type(keras.models.clone_model(free)) is type(free)


def test_frozen_layers_stay_frozen():
    model = network(blocks=1)
    model.get_layer("stem").trainable = False
    free = fixinit.convert(model)
    assert not free.get_layer("stem").trainable
    assert free.get_layer("head").trainable


def test_shared_layers_and_models_stay_shared():
    inner = keras.Sequential(
        [keras.Input((8,)), layers.BatchNormalization(), layers.Dense(8, "relu")],
        name="tower",
    )
    shared = layers.Dense(8, name="shared")
    a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
    x = layers.concatenate([shared(inner(a)), shared(inner(b))])
    model = keras.Model({"a": a, "b": b}, {"sum": layers.Dense(1)(x), "x": x})
    with pytest.warns(UserWarning, match="no residual branches"):
        free = fixinit.convert(model, "skip_init")
    assert not normalizations(free)
    assert len([x for x in free.layers if x.name == "shared"]) == 1
    assert len([x for x in free.layers if x.name == "tower"]) == 1
    outputs = free({"a": normal((2, 8)), "b": normal((2, 8))})
    assert set(outputs) == {"sum", "x"}
    np.testing.assert_array_equal(*ops.convert_to_numpy(ops.split(outputs["x"], 2, 1)))


def test_branches_that_are_models_of_their_own():
    x = inputs = keras.Input((8,))
    for _ in range(2):
        branch = keras.Sequential(
            [
                layers.LayerNormalization(),
                layers.Dense(16, "gelu"),
                layers.Dense(8),
            ]
        )
        x = x + branch(x)
    free = fixinit.convert(keras.Model(inputs, x), "fixup")
    assert free.conversion["num_branches"] == 2
    data = normal((2, 8))
    np.testing.assert_allclose(free.predict(data), data, rtol=1e-6)


def test_gates_are_no_weight_layers_of_the_branch():
    x = inputs = keras.Input((8, 8, 4))
    y = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
    gate = layers.Conv2D(2, 1, activation="relu", name="squeeze")(gate)
    gate = layers.Conv2D(4, 1, activation="sigmoid", name="excite")(gate)
    y = layers.Conv2D(4, 3, padding="same", name="last")(y * gate)
    free = fixinit.convert(keras.Model(inputs, x + y), "fixup")
    (branch,) = free.conversion["blocks"][0]["branches"]
    assert branch["depth"] == 2 and branch["zero"] == "kernel"
    roles = {other["name"]: other["role"] for other in free.conversion["others"]}
    assert roles == {"squeeze": "gate", "excite": "gate"}
    again = fixinit.convert(keras.Model(inputs, x + y), "fixup", seed=1)
    other = fixinit.convert(keras.Model(inputs, x + y), "fixup", seed=1)
    kernels = [m.get_layer("squeeze").kernel for m in (again, other)]
    np.testing.assert_array_equal(*map(ops.convert_to_numpy, kernels))
    assert free.get_layer("squeeze").use_bias
    assert not np.any(ops.convert_to_numpy(free.get_layer("last").kernel))


def gradients_vanish(model, x):
    """The names of trainable variables that no two steps of training move."""
    y = normal((len(x), *model.output_shape[1:]), seed=5)
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    model.compile(keras.optimizers.SGD(0.05), "mse", run_eagerly=True)
    for _ in range(3):
        model.train_on_batch(x, y)
    pairs = zip(before, model.trainable_variables, strict=True)
    return [v.path for old, v in pairs if np.array_equal(old, ops.convert_to_numpy(v))]


@pytest.mark.parametrize("fused", [False, True])
def test_branches_that_end_in_relu_do_not_die(fused):
    x = inputs = keras.Input((8,))
    for _ in range(2):
        y = layers.Dense(8, "relu")(x)
        y = layers.Dense(8, "relu" if fused else None)(y)
        x = layers.add([x, y if fused else layers.ReLU()(y)])
    free = fixinit.convert(keras.Model(inputs, x), "fixup", seed=0)
    data = normal((16, 8))
    np.testing.assert_allclose(free.predict(data), data, rtol=1e-6)
    branches = [b for block in free.conversion["blocks"] for b in block["branches"]]
    assert [b["zero"] for b in branches] == ["multiplier"] * 2
    assert not gradients_vanish(free, data)


def test_weights_that_something_else_reads_do_not_become_zero():
    x = inputs = keras.Input((8,))
    y = layers.Dense(8, name="last")(layers.Dense(8, "relu")(x))
    free = fixinit.convert(keras.Model(inputs, [layers.add([x, y]), y]), "fixup")
    assert np.any(ops.convert_to_numpy(free.get_layer("last").kernel))
    data = normal((2, 8))
    np.testing.assert_allclose(free.predict(data)[0], data, rtol=1e-6)


def test_parallel_branches():
    x = inputs = keras.Input((64,))
    y = layers.Dense(64)(layers.Dense(64, "relu")(x))
    z = layers.Dense(64)(layers.Dense(64, "relu")(x))
    model = keras.Model(inputs, layers.add([y, x, z]))
    assert fixinit.convert(model, "fixup").conversion["num_branches"] == 2
    free = fixinit.convert(model, fixinit.schemes.NormalizedSum(), seed=0)
    data = normal((64, 64))
    assert 0.7 < np.var(free.predict(data)) / np.var(data) < 1.4


def test_scales_of_the_architecture_are_taken_over():
    x = inputs = keras.Input((8,))
    y = layers.Dense(8)(layers.Dense(8, "relu")(x))
    y = fixinit.layers.ScalarMultiplier("zeros")(y)
    model = keras.Model(inputs, fixinit.layers.ScaledAdd(0.5, 0.1)([x, y]))
    free = fixinit.convert(model, "scaled_residual")
    merge = [x for x in free.layers if isinstance(x, fixinit.layers.ScaledAdd)][0]
    assert (merge.shortcut_scale, merge.branch_scale) == (1.0, 1.0)
    assert not [x for x in free.layers if "multiplier" in x.name]


@pytest.mark.parametrize(
    "make, fans",
    [
        (lambda: layers.DepthwiseConv1D(3, padding="same"), (3, 3)),
        (lambda: layers.Conv1D(32, 3, padding="same", groups=4), (24, 24)),
        (lambda: layers.Conv1DTranspose(32, 4, padding="same"), (128, 128)),
        (lambda: layers.EinsumDense("abc,cde->abde", (16, 4, 8)), (32, 32)),
    ],
    ids=["depthwise", "grouped", "transposed", "einsum"],
)
def test_fans_are_counted_by_what_is_added_up(make, fans):
    from fixinit.conversion.kernels import real_fans

    layer = make()
    layer.build((None, 16, 32))
    (argument,) = fixinit.conversion.kinds.kernel_arguments(layer)
    assert real_fans(layer, argument) == fans


@on_torch
def test_keeps_signals_as_large_as_the_input_outside_of_branches():
    x = inputs = keras.Input((16, 16, 64))
    for width in (128, 128, 128):
        x = layers.DepthwiseConv2D(3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Conv2D(width, 1)(layers.Activation("silu")(x))
        x = layers.Activation("gelu")(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D()(x)
    model = keras.Model(inputs, x)
    with pytest.warns(UserWarning, match="no residual"):
        free = fixinit.convert(model, "unnormalized", seed=0)
    outputs = free.predict(normal((8, 16, 16, 64)))
    assert 0.5 < np.mean(outputs**2) < 2


def test_where_sizes_do_not_fit_he_takes_the_place_of_the_predictor():
    inputs = keras.Input((None, 3))
    x = layers.BatchNormalization()(layers.Conv1D(8, 3)(inputs))
    y = layers.add([x, layers.Conv1D(8, 1)(layers.ReLU()(x))])
    # Right for inputs of 8 steps, and not of those in `graph.with_sizes`.
    model = keras.Model(inputs, layers.Reshape((2, 3, 8))(y))
    with pytest.warns(UserWarning, match="cannot be predicted"):
        free = fixinit.convert(model, "rezero")
    assert np.all(np.isfinite(ops.convert_to_numpy(free(normal((1, 8, 3))))))


@on_torch
def test_deeper_than_keras_allows(tmp_path):
    """Keras follows graphs by recursion, which the limit of 1,000 frames ends."""
    x = inputs = keras.Input((4,))
    for _ in range(250):
        x = layers.ReLU()(x)
    model = keras.Model(inputs, residual(x, width=4))
    before = sys.getrecursionlimit()
    # 250 calls and a limit below that stand for 1,000 of each.
    limit = len(inspect.stack()) + 200
    sys.setrecursionlimit(limit)
    try:
        with pytest.raises(RecursionError):
            keras.models.clone_model(model)
        free = fixinit.convert(model, "rezero", seed=0)
        free.save(tmp_path / "free.keras")
        loaded = keras.models.load_model(tmp_path / "free.keras")
        assert sys.getrecursionlimit() == limit
    finally:
        sys.setrecursionlimit(before)
    data = normal((1, 4))
    np.testing.assert_array_equal(free.predict(data), loaded.predict(data))


@pytest.mark.every_backend
def test_mixed_precision_stays():
    x = inputs = keras.Input((8,))
    for _ in range(2):
        y = layers.BatchNormalization(dtype="mixed_bfloat16")(x)
        y = layers.Dense(8, dtype="mixed_bfloat16")(layers.ReLU(dtype="bfloat16")(y))
        x = layers.Add(dtype="mixed_bfloat16")([x, y])
    free = fixinit.convert(keras.Model(inputs, x), "fixup")
    added = [x for x in free.layers if isinstance(x, fixinit.layers.ScalarBias)]
    assert added and {x.compute_dtype for x in added} == {"bfloat16"}


def test_statistics_of_the_data_stay():
    data = 3 + 5 * normal((64, 8))
    standardize = layers.Normalization(name="standardize")
    standardize.adapt(data)
    x = inputs = keras.Input((8,))
    x = residual(layers.Dense(8)(standardize(x)))
    free = fixinit.convert(keras.Model(inputs, x), "fixup")
    outputs = ops.convert_to_numpy(free.get_layer("standardize")(data))
    np.testing.assert_allclose(outputs.std(axis=0), 1, rtol=1e-4)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="strings are TensorFlow's"
)
def test_vocabularies_stay():
    words = layers.TextVectorization(output_sequence_length=4, name="words")
    words.adapt(["a b c"])
    inputs = keras.Input((1,), dtype="string")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(8, 8)(words(inputs)))
    free = fixinit.convert(keras.Model(inputs, residual(x)), "fixup")
    assert free.get_layer("words").get_vocabulary() == words.get_vocabulary()

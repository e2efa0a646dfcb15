import keras
import numpy as np
import pytest
from keras import ops

from fixinit import layers, theory
from fixinit.diagnostics.report import loss_and_gradients
from fixinit.layers import standardized
from tests.marks import on_torch, slow_on_tensorflow

EQUATION = "abc,cde->abde"
PLAIN = {
    "dense": (lambda: keras.layers.Dense(5), (4, 6), (0,)),
    "conv1d": (lambda: keras.layers.Conv1D(5, 3), (4, 8, 6), (0, 1)),
    "conv2d": (lambda: keras.layers.Conv2D(4, 3, groups=2), (4, 8, 8, 6), (0, 1, 2)),
    "conv3d": (lambda: keras.layers.Conv3D(5, 3), (2, 5, 5, 5, 3), (0, 1, 2, 3)),
    "depthwise1d": (lambda: keras.layers.DepthwiseConv1D(3), (4, 8, 6), (0,)),
    "depthwise2d": (
        lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
        (4, 8, 8, 6),
        (0, 1),
    ),
    "transposed": (
        lambda: keras.layers.Conv2DTranspose(5, 3, strides=2),
        (4, 6, 6, 3),
        (0, 1, 3),
    ),
    "einsum": (
        lambda: keras.layers.EinsumDense(EQUATION, (None, 2, 3)),
        (4, 7, 6),
        (0,),
    ),
}
EVERY_LAYER = pytest.mark.parametrize("name", PLAIN)


def made(name):
    make, shape, axes = PLAIN[name]
    keras.utils.set_random_seed(1)
    layer = standardized(make())
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    return layer, x, layer(x), axes


@pytest.mark.every_backend
@EVERY_LAYER
def test_computes_as_the_plain_layer_with_the_standardized_kernel(name):
    layer, x, y, axes = made(name)
    gain = np.random.default_rng(1).uniform(0.5, 2, layer.gain.shape)
    layer.gain.assign(gain)
    w = ops.convert_to_numpy(layer.raw_kernel).astype("float64")
    fan_in = np.prod([w.shape[axis] for axis in axes])
    centred = w - w.mean(axes, keepdims=True)
    expected = centred / np.sqrt(fan_in * w.var(axes, keepdims=True))
    expected *= np.expand_dims(gain, axes)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.kernel), expected, atol=1e-6)
    plain = PLAIN[name][0]()
    plain.build(x.shape)
    plain.weights[0].assign(expected)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(plain(x)), atol=1e-5
    )


@EVERY_LAYER
def test_scale_and_mean_of_the_weights_do_not_matter(name):
    layer, x, y, _ = made(name)
    layer.raw_kernel.assign(3 * layer.raw_kernel + 0.5)
    after = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(after, ops.convert_to_numpy(y), atol=2e-5)


@pytest.mark.every_backend
def test_is_saved_and_loaded_with_its_weights(tmp_path):
    x = keras.Input((8, 8, 3))
    h = standardized(keras.layers.Conv2D(4, 3, activation="relu"))(x)
    h = standardized(keras.layers.DepthwiseConv2D(3))(h)
    y = standardized(keras.layers.Dense(2), gain_initializer="zeros")(h)
    model = keras.Model(x, y)
    for variable in model.weights:
        variable.assign(np.random.default_rng(0).standard_normal(variable.shape))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images = np.ones((1, 8, 8, 3), "float32") * np.arange(3)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded(images)), ops.convert_to_numpy(model(images))
    )
    model.save_weights(tmp_path / "a.weights.h5")
    loaded.load_weights(tmp_path / "a.weights.h5")


@pytest.mark.every_backend
def test_stacked_blocks_equal_blocks():
    blocks = [
        layers.ResidualBlock(
            [keras.layers.ReLU(), standardized(keras.layers.Dense(6))], name=f"b{i}"
        )
        for i in range(3)
    ]
    x = np.random.default_rng(0).standard_normal((4, 6)).astype("float32")
    expected = x
    for block in blocks:
        expected = block(expected)
    stack = layers.Stack.from_blocks(blocks)
    np.testing.assert_allclose(
        ops.convert_to_numpy(stack(x)), ops.convert_to_numpy(expected), atol=1e-5
    )


@pytest.mark.every_backend
def test_half_precision_standardizes_in_single():
    kernel = np.random.default_rng(0).standard_normal((512, 8))
    kernels = []
    for dtype in ("float32", "mixed_float16"):
        layer = standardized(keras.layers.Dense(8, dtype=dtype))
        layer.build((None, 512))
        layer.raw_kernel.assign(kernel + 5)
        y = layer(np.ones((2, 512), "float32"))
        assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
        kernels.append(ops.convert_to_numpy(layer.kernel).astype("float32"))
    np.testing.assert_allclose(*kernels, atol=2e-4)


def test_is_a_layer_of_keras_with_its_facts():
    layer = standardized(keras.layers.Conv2D(4, 3))
    assert isinstance(layer, (keras.layers.Conv2D, layers.StandardizedKernel))
    assert standardized(layer) is layer
    facts = layers.facts_of(layer)
    assert facts.kernels == ("kernel_initializer",)
    assert facts.kernels_scale == "gain_initializer"


def test_a_subclass_keeps_what_it_computes():
    @keras.saving.register_keras_serializable("test_standardized")
    class Doubled(keras.layers.Dense):
        def call(self, x):
            return 2 * super().call(x)

    layer = standardized(Doubled(3, name="doubled"))
    x = np.random.default_rng(0).standard_normal((4, 6)).astype("float32")
    y = ops.convert_to_numpy(layer(x))
    expected = 2 * x @ ops.convert_to_numpy(layer.kernel)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    again = type(layer).from_config(layer.get_config())
    assert type(again) is type(layer) and again.name == "doubled"


@pytest.mark.parametrize("layer", [keras.layers.LSTM(2), keras.layers.Embedding(8, 2)])
def test_other_layers_are_refused(layer):
    assert not layers.can_be_standardized(layer)
    with pytest.raises(TypeError, match="`layer` must be one whose kernel"):
        standardized(layer)


def test_quantization_is_refused_with_what_to_do():
    layer = standardized(keras.layers.Dense(2))
    layer.build((None, 4))
    with pytest.raises(ValueError, match="weights='fold'"):
        layer.quantize("int8")


@pytest.mark.parametrize("epsilon", [-1.0, float("nan"), "1"])
def test_epsilon_is_checked(epsilon):
    kind = type(standardized(keras.layers.Dense(2)))
    with pytest.raises((ValueError, TypeError), match="epsilon"):
        kind(2, epsilon=epsilon)


@on_torch
@EVERY_LAYER
def test_predicted_as_measured(name):
    """Means over draws of inputs with a common mean, within five standard errors."""
    make, shape, _ = PLAIN[name]
    rng = np.random.default_rng(0)
    x = keras.Input(shape[1:])
    predicted = None
    squares = []
    batch = (1 + rng.standard_normal((64, *shape[1:]))).astype("float32")
    for seed in range(200):
        keras.utils.set_random_seed(seed)
        model = keras.Model(x, standardized(make())(x))
        if predicted is None:
            found = theory.predict(model, input_mean=1.0)
            predicted = list(found)[-1].mean_square
        y = ops.convert_to_numpy(model(batch))
        squares.append(np.mean(y**2))
    error = np.std(squares) / np.sqrt(len(squares))
    # The batch has moments of its own.
    assert abs(np.mean(squares) - predicted) < 5 * error + 0.05 * predicted


@slow_on_tensorflow
@pytest.mark.every_backend
def test_gradients_of_stacked_kernels_are_those_of_blocks():
    """They are standardized once for all blocks, outside of the loop."""
    x = np.random.default_rng(0).standard_normal((8, 6)).astype("float32")
    y = np.zeros(8, "int64")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = []
    for remat in (None, "block"):
        blocks = [
            layers.ResidualBlock(
                [
                    keras.layers.ReLU(),
                    standardized(
                        keras.layers.Dense(
                            6, kernel_initializer=keras.initializers.HeNormal(seed)
                        )
                    ),
                ],
                name=f"b{seed}",
            )
            for seed in range(3)
        ]
        inputs = keras.Input((6,))
        h = inputs
        for block in blocks:
            h = block(h)
        plain = keras.Model(inputs, h)
        stack = layers.Stack.from_blocks(blocks, remat=remat)
        assert not any(
            getattr(part, "is_prepared", False) for part in stack._flatten_layers()
        )
        stacked = keras.Model(inputs, stack(inputs))
        _, expected = loss_and_gradients(plain, loss)(x, y)
        _, gradients = loss_and_gradients(stacked, loss)(x, y)
        expected = [ops.convert_to_numpy(g) for g in expected]
        for index, gradient in enumerate(map(ops.convert_to_numpy, gradients)):
            rows = np.stack(expected[index :: len(gradients)])
            np.testing.assert_allclose(gradient, rows, atol=1e-6)
            found.append(np.max(np.abs(gradient)))
    assert min(found) > 1e-4

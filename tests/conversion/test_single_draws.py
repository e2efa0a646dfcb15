"""Single draws are made up for where activations and gates amplify them."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.conversion import batches
from fixinit.graph import trace
from tests.conversion.helpers import assert_close, convert, normal, said
from tests.marks import ON_TORCH, mostly_on_torch, on_torch, slow_on_tensorflow

MADE_UP = "amplify what single draws of kernels deviate by"
DRAWS = 8


def inverted(x, channels, stride):
    """An inverted bottleneck with squeeze-and-excitation, of four times the width."""
    y = x
    for layer in (
        layers.Conv2D(4 * x.shape[-1], 1, use_bias=False),
        layers.DepthwiseConv2D(3, stride, "same", use_bias=False),
    ):
        y = layers.Activation("silu")(layers.BatchNormalization()(layer(y)))
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(y)
    squeezed = layers.Conv2D(x.shape[-1] // 4, 1, activation="silu")(squeezed)
    y = y * layers.Conv2D(y.shape[-1], 1, activation="sigmoid")(squeezed)
    y = layers.BatchNormalization()(layers.Conv2D(channels, 1, use_bias=False)(y))
    return y if stride > 1 else x + y


def efficient():
    """A narrow stem, and three stages of a transition and a residual block."""
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.Activation("silu")(layers.BatchNormalization()(x))
    for width in (16, 24, 40):
        x = inverted(inverted(x, width, 2), width, 1)
    return keras.Model(inputs, x)


def dense(activation, splits=True):
    """Narrow gated layers without shortcuts, and a residual block behind them."""

    def active(x, units):
        held = None if splits else activation
        x = layers.Dense(units, held, use_bias=False)(x)
        return layers.Activation(activation)(x) if splits else x

    x = inputs = keras.Input((8,))
    for _ in range(6):
        x = active(active(x, 8), 8)
        if activation != "relu":
            x = x * layers.Dense(8, "sigmoid")(x)
    x = layers.Dense(8, use_bias=False, name="trunk")(x)
    return keras.Model(inputs, x + layers.Dense(8)(active(x, 8)))


@pytest.fixture(scope="module")
def silu():
    """Narrow gated layers, whose draws are made up for."""
    return convert(dense("silu"))


def size(free):
    """The mean square of what the last block gives, for inputs not seen before."""
    samples = 8 if len(free.input_shape) > 2 else 512
    y = ops.convert_to_numpy(free(normal(samples, *free.input_shape[1:], seed=1)))
    return float(np.mean(y**2))


def gains(free):
    """What the variances of all kernels are multiplied by, whatever the draw."""
    found = {}
    for layer in free.layers:
        for name in ("kernel_initializer", "depthwise_initializer"):
            initializer = getattr(layer, name, None)
            if isinstance(initializer, fixinit.initializers.Rescaled):
                found[layer.name] = initializer.gain
    return found


@pytest.mark.parametrize(
    "scheme",
    [
        pytest.param("fixup", marks=ON_TORCH),
        *(
            pytest.param(scheme, marks=pytest.mark.evidence)
            for scheme in ("scaled_residual", "skip_init", "rezero")
        ),
    ],
)
def test_every_draw_of_an_efficient_network_keeps_its_size(scheme):
    model = efficient()
    sizes = [size(convert(model, scheme, seed=seed)) for seed in range(DRAWS)]
    assert 1 / 3 <= min(sizes) <= max(sizes) <= 3


@mostly_on_torch("seed", range(3), slow=1)
def test_the_check_by_one_pass_raises_no_alarm_where_draws_are_made_up_for(seed):
    text = said(efficient(), "scaled_residual", seed=seed)
    assert MADE_UP in text and "differ from the prediction" not in text


@on_torch
@pytest.mark.parametrize(
    ("draws", "splits"),
    [
        (2, False),
        pytest.param(DRAWS, False, marks=ON_TORCH),
        pytest.param(DRAWS, True, marks=ON_TORCH),
    ],
)
def test_every_draw_of_narrow_gated_layers_keeps_its_size(draws, splits):
    model = dense("silu", splits)
    sizes = [size(convert(model, "skip_init", seed=seed)) for seed in range(draws)]
    assert 1 / 3 <= min(sizes) <= max(sizes) <= 3


@on_torch
def test_what_amplifies_nothing_starts_as_the_scheme_draws_it():
    model = dense("relu")
    assert MADE_UP not in said(model)
    first, second = (gains(convert(model, seed=seed)) for seed in (0, 1))
    assert first == second


@pytest.mark.every_backend
@slow_on_tensorflow
def test_kernels_that_are_scaled_are_drawn_again_from_the_config(silu):
    free, again = silu, convert(dense("silu"))
    for layer, other in zip(free.layers, again.layers, strict=True):
        for old, new in zip(layer.weights, other.weights, strict=True):
            assert_close(old, new, rtol=0, atol=0)
    trunk = free.get_layer("trunk")
    assert isinstance(trunk.kernel_initializer, fixinit.initializers.Corrected)
    drawn = trunk.kernel_initializer(trunk.kernel.shape)
    assert_close(drawn, trunk.kernel)


@on_torch
def test_predictions_hold_where_draws_are_made_up_for(silu):
    """The factors of kernels are no part of their variance over draws."""
    predicted = fixinit.theory.predict(silu).layers[-1].mean_square
    assert 2 / 3 < size(silu) / predicted < 3 / 2


def test_activations_that_amplify_settle():
    """Twice as large a kernel makes 64 times the mean square of a cube."""

    def cube(x):
        return x**3

    x = inputs = keras.Input((8,))
    x = layers.Dense(8, cube, use_bias=False)(x)
    model = keras.Model(inputs, x + layers.Dense(8)(x))
    assert 2 / 3 < size(convert(model, "skip_init")) < 3 / 2


@on_torch
def test_draws_are_measured_on_more_than_a_few_small_images():
    """Single images differ by far more than kernels where layers amplify."""
    batches_seen = []

    class Spy(layers.Layer):
        fixinit_facts = fixinit.layers.Facts(linear=True)

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

        def call(self, x):
            batches_seen.append(x.shape[0])
            return x

    inputs = keras.Input((64, 64, 3))
    x = layers.GlobalAveragePooling2D()(Spy()(inputs))
    for _ in range(8):
        x = layers.Dense(8, "silu")(x)
    assert MADE_UP in said(keras.Model(inputs, x))
    assert max(batches_seen) >= 32


def test_indices_that_are_cast_are_of_the_whole_table():
    ids = keras.Input((6,), dtype="int32")
    x = layers.Embedding(50, 8)(ops.reshape(ops.cast(ids, "int64"), (-1, 6)))
    model = keras.Model(ids, x)
    (drawn,) = batches.inputs(model, trace(model), None, np.random.default_rng(0))
    assert drawn.min() >= 0 and 1 < drawn.max() < 50


@on_torch
def test_a_network_that_takes_no_random_inputs_stays_as_balanced():
    class Strict(layers.Layer):
        """Refuses numbers above 1, as nothing declared says."""

        fixinit_facts = fixinit.layers.Facts(linear=True)

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

        def call(self, x):
            raise ValueError("No random numbers here.")

    x = inputs = keras.Input((8,))
    for _ in range(6):
        x = layers.Dense(8, "silu")(Strict()(x))
    model = keras.Model(inputs, x)
    text = said(model)
    assert MADE_UP not in text
    assert "could not be compared" in text

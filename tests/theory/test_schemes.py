"""The closed forms of the schemes, the predictions and the networks themselves."""

import keras
import numpy as np
import pytest
from scipy import stats

import fixinit
from fixinit import layers, schemes, theory
from tests.marks import ON_TORCH, on_torch, rest_on_torch, slow_on_tensorflow

SCHEMES = {
    **{name: name for name in schemes.names()},
    "skip_init at 0.3": schemes.SkipInit(0.3),
    "idinit at 0.5": schemes.IDInit(0.5),
    "layer_scale at 0.5": schemes.LayerScale(0.5),
    "decreasing": schemes.ScaledResidual("decreasing"),
    "folded": schemes.ScaledResidual("inverse", mode="folded"),
    "trainable": schemes.ScaledResidual(0.2, mode="trainable"),
}


def mlp(scheme, blocks, width, seed=0, **options):
    return fixinit.models.ResidualMLP(
        blocks,
        width,
        scheme=scheme,
        input_shape=(width,),
        seed=seed,
        stacked=False,
        **{"classes": width, **options},
    )


def after_blocks(prediction):
    """The mean square of the first block's input and of every block's output."""
    # Where a sum is normalized, what is behind.
    behind = [x for x in prediction if "/merge_" in x.name]
    merges = behind or [x for x in prediction if "/merge" in x.name]
    return np.array([prediction["stem"].mean_square, *(x.mean_square for x in merges)])


def closed_forms():
    """All schemes at 6 blocks, and at 100 some kinds; the others are the long form."""
    for name in SCHEMES:
        yield pytest.param(name, 6, marks=ON_TORCH)
        kinds = ("batch_norm", "scaled_residual", "normalizer_free", "t_fixup")
        marks = ON_TORCH if name in kinds else pytest.mark.evidence
        yield pytest.param(name, 100, marks=marks)


@pytest.mark.parametrize(("name", "blocks"), closed_forms())
def test_closed_forms_are_predicted_exactly(name, blocks):
    scheme = schemes.get(SCHEMES[name])
    prediction = theory.predict(mlp(scheme, blocks, 16), training=True)
    found = after_blocks(prediction)
    expected = scheme.predicted_variance(blocks, found[0])
    # The normalizations add their epsilon to a variance of at least one.
    rtol = 1e-4 if hasattr(scheme, "epsilon") else 1e-9
    np.testing.assert_allclose(found, expected, rtol=rtol)


def convolutional(scheme, width, seed=0, blocks=4, shape=(8, 8, 16), **options):
    return fixinit.models.ResNet(
        (blocks,),
        (width,),
        scheme=scheme,
        input_shape=shape,
        seed=seed,
        **{"stacked": False, "preactivation": True, "classes": width, **options},
    )


@pytest.mark.parametrize(("name", "blocks"), closed_forms())
def test_closed_forms_are_predicted_exactly_without_padding(name, blocks):
    scheme = schemes.get(SCHEMES[name])
    model = convolutional(scheme, 16, blocks=blocks, shape=(4, 16), kernel_size=1)
    found = after_blocks(theory.predict(model, training=True))
    expected = scheme.predicted_variance(blocks, found[0])
    rtol = 1e-4 if hasattr(scheme, "epsilon") else 1e-9
    np.testing.assert_allclose(found, expected, rtol=rtol)


@on_torch
def test_padding_takes_less_the_larger_the_image():
    missing = []
    for size in (8, 32):
        model = convolutional(
            "scaled_residual", 16, blocks=20, shape=(size, size, 16), stacked=True
        )
        found = after_blocks(theory.predict(model))
        scheme = schemes.get("scaled_residual")
        missing.append(1 - found[-1] / scheme.predicted_variance(20, found[0])[-1])
    # As documented. A border of one position is 1 / size of the image.
    assert missing[0] == pytest.approx(0.174, abs=2e-3)
    assert missing[1] == pytest.approx(0.044, abs=2e-3)


@pytest.mark.parametrize(
    "scheme", ["fixup", "rezero", "skip_init", schemes.BatchNorm(zero_gamma=True)]
)
def test_branches_that_start_at_zero_keep_the_variance_in_both_orders(scheme):
    for make in (mlp, convolutional):
        model = make(scheme, blocks=3, width=16, preactivation=False)
        prediction = theory.predict(model, training=True)
        found = [x.mean_square for x in prediction if x.name.endswith("/activation")]
        start = prediction["stem_activation"].mean_square
        expected = schemes.get(scheme).predicted_variance(3, start)[1:]
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def measured(make, seeds, shape, batch=16):
    """Mean squares after the blocks of networks: array `(seeds, blocks + 1)`."""
    rng, found = np.random.default_rng(0), []
    for seed in range(seeds):
        model = make(seed)
        blocks = [x for x in model.layers if isinstance(x, layers.ResidualBlock)]
        tap = keras.Model(model.inputs, [blocks[0].input, *(x.output for x in blocks)])
        x = rng.standard_normal((batch, *shape)).astype("float32")
        outputs, _ = tap.stateless_call(
            [v.value for v in tap.trainable_variables],
            [v.value for v in tap.non_trainable_variables],
            keras.ops.convert_to_tensor(x),
            training=True,
        )
        found.append([float(keras.ops.mean(y**2)) for y in outputs])
    return np.array(found)


def agree(found, expected):
    """No block is further off than chance has it in one test of a thousand."""
    seeds, blocks = found.shape
    check(found, expected, stats.t.isf(0.5e-3 / blocks, seeds - 1), outside=0)


def agree_closely(found, expected):
    """Within three standard errors, at nine blocks in ten.

    Blocks share what came before them, so they leave the band together or hardly.
    """
    check(found, expected, 3, outside=0.1)


def check(found, expected, standard_errors, outside):
    mean = found.mean(axis=0)
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    off = np.abs(mean - expected) > standard_errors * error + 1e-5 * expected
    assert np.mean(off) <= outside, (mean / expected - 1, error / expected)


@slow_on_tensorflow
@pytest.mark.every_backend
@rest_on_torch("name", ["unnormalized", "scaled_residual", "fixup"], quick=1)
def test_networks_agree_with_both(name):
    width, blocks = 128, 4
    found = measured(lambda seed: mlp(name, blocks, width, seed), 10, (width,))
    prediction = theory.predict(mlp(name, blocks, width), training=True)
    agree(found, after_blocks(prediction))


# Those whose variance changes from block to block.
CHANGING = ("unnormalized", "batch_norm", "scaled_residual", "skip_init at 0.3")


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        pytest.param("batch_norm", 10, marks=ON_TORCH),
        pytest.param("skip_init at 0.3", 10, marks=ON_TORCH),
        *(
            pytest.param(name, blocks, marks=pytest.mark.evidence)
            for name in CHANGING
            for blocks in (10, 100)
        ),
    ],
)
def test_wide_networks_agree_with_both(name, blocks):
    width, scheme = 512, schemes.get(SCHEMES[name])
    found = measured(lambda seed: mlp(scheme, blocks, width, seed), 20, (width,))
    prediction = after_blocks(theory.predict(mlp(scheme, blocks, width), training=True))
    agree_closely(found, prediction)
    agree_closely(found, scheme.predicted_variance(blocks, prediction[0]))


@on_torch
@pytest.mark.parametrize("name", ["batch_norm", "scaled_residual", "normalized_sum"])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_convolutional_networks_agree(name, kernel_size):
    shape, options = (8, 8, 16), {"blocks": 3, "kernel_size": kernel_size}
    found = measured(lambda seed: convolutional(name, 64, seed, **options), 8, shape)
    model = convolutional(name, 64, **options)
    prediction = after_blocks(theory.predict(model, training=True, batch_size=16))
    agree(found, prediction)
    if kernel_size == 1 and name != "batch_norm":
        agree(found, schemes.get(name).predicted_variance(3, prediction[0]))


@pytest.mark.evidence
@pytest.mark.parametrize("name", ["batch_norm", "unnormalized", "scaled_residual"])
def test_wide_convolutional_networks_agree(name):
    found = measured(lambda seed: convolutional(name, 512, seed), 20, (8, 8, 16))
    prediction = theory.predict(convolutional(name, 512), training=True, batch_size=16)
    agree_closely(found[:, 1:], after_blocks(prediction)[1:])


@pytest.mark.evidence
@pytest.mark.parametrize(
    ("name", "kernel_size"),
    [("unnormalized", 1), ("scaled_residual", 3), ("batch_norm", 3)],
)
def test_wide_and_deep_convolutional_networks_agree_with_both(name, kernel_size):
    # One spatial axis: 100 blocks of 3x3 kernels of this width take 2 GB.
    scheme, shape = schemes.get(SCHEMES[name]), (8, 512)

    def make(seed=0):
        options = {"blocks": 100, "shape": shape, "kernel_size": kernel_size}
        return convolutional(scheme, 512, seed, **options)

    found = measured(make, 20, shape)
    prediction = after_blocks(theory.predict(make(), training=True, batch_size=16))
    agree_closely(found, prediction)
    if kernel_size == 1:
        agree_closely(found, scheme.predicted_variance(100, prediction[0]))


@on_torch
def test_stacks_are_predicted_like_separate_blocks():
    for scheme in ("scaled_residual", schemes.ScaledResidual("decreasing")):
        one, other = (
            theory.predict(
                fixinit.models.ResidualMLP(4, 16, scheme=scheme, stacked=stacked)
            )
            for stacked in (False, True)
        )
        for index in range(4):
            a, b = one[f"block{index + 1}/merge"], other[f"blocks/merge[{index}]"]
            assert a.mean_square == pytest.approx(b.mean_square, rel=1e-12)
            assert a.variance == pytest.approx(b.variance, rel=1e-12)
            assert a.gradient == pytest.approx(b.gradient, rel=1e-12)
            assert other[f"blocks[{index}]"].variance == b.variance


@on_torch
def test_gradients_agree_with_measured_ones():
    """Mean squares of gradients at the input, for random gradients at the output."""
    from fixinit import backend

    width, seeds, found = 128, 12, []
    rng = np.random.default_rng(0)

    x = inputs = keras.Input((width,))
    x = keras.layers.Dense(width, kernel_initializer="he_normal")(x)
    for _ in range(3):
        y = keras.layers.Activation("tanh")(x)
        y = keras.layers.Dense(width, kernel_initializer="he_normal")(y)
        x = keras.layers.Add()([x, y])
    model = keras.Model(inputs, keras.layers.Dense(width, "relu")(x))
    keras.utils.set_random_seed(0)
    for _ in range(seeds):
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dense):
                initializer = type(layer.kernel_initializer)()
                layer.kernel.assign(initializer(layer.kernel.shape))
        x, g = rng.standard_normal((2, 16, width)).astype("float32")

        def loss(x, model=model, g=g):
            return keras.ops.sum(model(x) * keras.ops.convert_to_tensor(g))

        _, (gradient,) = backend.value_and_gradients(
            lambda values, _, loss=loss: loss(values[0])
        )([keras.ops.convert_to_tensor(x)], [])
        found.append(np.mean(keras.ops.convert_to_numpy(gradient) ** 2))
    predicted = theory.predict(model).layers[0].gradient
    error = np.std(found, ddof=1) / np.sqrt(seeds)
    assert abs(np.mean(found) - predicted) < 4 * error + 0.05 * predicted

"""Rules for weight layers, against layers that are run."""

import keras
import pytest

import fixinit
from fixinit import theory
from tests.marks import on_torch
from tests.theory.measuring import SIZE, WIDTH, check, he, network

layers = keras.layers


@on_torch
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "valid"},
        {"strides": 2},
        {"strides": 3, "size": 5},
        {"dilation_rate": 2},
        {"groups": 4},
        {"activation": "relu"},
        {"activation": "gelu"},
        {"bias_initializer": keras.initializers.RandomNormal(0.5, 0.3)},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_convolutions(options):
    size = options.pop("size", 3) if "size" in options else 3
    check(network(he(), layers.ReLU, he(size=size, **options)), (SIZE, SIZE, 16), 0.03)


@on_torch
@pytest.mark.parametrize(
    "middle, shape",
    [
        ([lambda: layers.Conv1D(WIDTH, 3, padding="causal")], (SIZE, 16)),
        ([lambda: layers.Conv1D(WIDTH, 4, padding="same", strides=2)], (11, 16)),
        ([lambda: layers.Conv3D(WIDTH, 3, padding="same")], (4, 5, 4, 16)),
        ([lambda: layers.DepthwiseConv2D(3, padding="same")], (SIZE, SIZE, 64)),
        ([lambda: layers.DepthwiseConv1D(3, depth_multiplier=3)], (SIZE, 64)),
        ([lambda: layers.SeparableConv2D(WIDTH, 3)], (SIZE, SIZE, 64)),
        ([lambda: layers.Conv1DTranspose(WIDTH, 3, strides=2)], (SIZE, 16)),
        (
            [lambda: layers.Conv2DTranspose(WIDTH, 3, strides=2, padding="same")],
            (6, 5, 16),
        ),
        ([lambda: layers.EinsumDense("ab,bc->ac", (WIDTH,))], (64,)),
        ([lambda: layers.EinsumDense("abc,cd->abd", (None, WIDTH))], (5, 64)),
        (
            [
                lambda: layers.EinsumDense(
                    "abc,cd->abd",
                    (None, WIDTH),
                    bias_axes="d",
                    bias_initializer=keras.initializers.RandomNormal(stddev=0.5),
                )
            ],
            (5, 64),
        ),
        ([lambda: layers.Dense(WIDTH, "relu")], (5, 64)),
    ],
    ids=lambda value: None,
)
def test_other_weight_layers(middle, shape):
    check(network(*middle, shape=shape), shape, 0.02)
    with_mean = dict(mean=0.7, variance=0.5)
    check(network(*middle, shape=shape), shape, 0.05, seeds=12, **with_mean)


@on_torch
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": 2},
        {"kernel_size": 4},
        {"padding": "valid"},
        {"dilation_rate": 2},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_delta_orthogonal_kernels_read_their_centre(options):
    def delta():
        initializer = fixinit.initializers.DeltaOrthogonal(gain=1.5)
        given = {"kernel_size": 3, "padding": "same", **options}
        return layers.Conv2D(128, kernel_initializer=initializer, **given)

    row = check(network(he(), layers.ReLU, delta), (SIZE, SIZE, 16), 0.03)
    if not options:
        # Nothing is lost at borders: 1.5^2 * 64 / 128 of what a ReLU passes.
        before = theory.predict(network(he(), layers.ReLU, delta)()).layers[-2]
        assert row.mean_square == pytest.approx(1.125 * before.mean_square)


@pytest.mark.parametrize(
    "kernel", ["orthogonal", fixinit.initializers.DeltaOrthogonal()], ids=["o", "delta"]
)
def test_looks_linear_networks_are_linear(kernel):
    def looks_linear():
        initializer = fixinit.initializers.LooksLinear(kernel)
        return layers.Conv2D(64, 3, padding="same", kernel_initializer=initializer)

    middle = [fixinit.layers.CReLU, looks_linear] * 3
    row = check(network(he(), *middle), (SIZE, SIZE, 16), 0.03)
    # Unlike a network of ReLUs, it has no part that all inputs have in common.
    assert row.correlation == pytest.approx(0, abs=1e-9)
    dense = network(
        fixinit.layers.CReLU,
        lambda: layers.Dense(
            8, kernel_initializer=fixinit.initializers.LooksLinear("he_normal")
        ),
        shape=(8,),
    )
    prediction = theory.predict(dense(), input_mean=1.0, input_variance=3.0)
    # W draws 2 / 8 and reads x: 2 * (1 + 3), of which 2 are common to all inputs.
    assert prediction.layers[-1].mean_square == pytest.approx(8.0)
    assert prediction.layers[-1].correlation == pytest.approx(1 / 4)


def test_looks_linear_elsewhere_is_refused():
    kernel = fixinit.initializers.LooksLinear()
    model = network(lambda: layers.Conv2D(8, 3, kernel_initializer=kernel))()
    with pytest.raises(theory.NoRuleError, match="right behind a fixinit.layers.CReLU"):
        theory.predict(model)

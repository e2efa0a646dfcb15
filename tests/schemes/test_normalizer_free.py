import keras
import numpy as np
import pytest

import fixinit
from fixinit import layers, models, schemes, theory
from fixinit.schemes import NormalizerFree, Site
from fixinit.schemes.normalizer_free import PUBLISHED_GAINS
from tests.marks import ON_TORCH, slow_where_compiled

SCHEME = NormalizerFree()
INNER = Site(1, 4, stream_sums=3)


def test_answers():
    assert SCHEME.start(INNER).total_scale == 0
    merge = SCHEME.merge(INNER)
    assert (merge.shortcut_scale, merge.branch_scale) == (1.0, 0.2)
    (scale,) = SCHEME.before_weight(INNER)
    assert scale.scale == pytest.approx(1 / np.sqrt(1 + 3 * 0.04))
    assert SCHEME.before_weight(Site(1, 4, layer=1, stream_sums=3)) == []
    assert SCHEME.before_weight(Site(0, 4))[0].scale == 1
    (gain,) = SCHEME.branch_end(INNER)
    assert isinstance(gain, layers.ScalarMultiplier)
    weight = SCHEME.weight_layer(INNER, keras.layers.Conv2D(4, 3))
    assert isinstance(weight, layers.StandardizedKernel)
    head = keras.layers.Dense(4)
    assert SCHEME.weight_layer(Site(0, 4, role="head"), head) is head
    embedding = keras.layers.Embedding(4, 8)
    assert SCHEME.weight_layer(Site(0, 4, role="embedding"), embedding) is embedding


def test_activations_of_sums_are_scaled_where_the_shape_changes():
    relu = keras.layers.Activation("relu")
    last = Site(0, 4, layer=1)
    assert SCHEME.activation(last, relu) is relu
    changed = SCHEME.activation(Site(0, 4, layer=1, changes_shape=True), relu)
    assert changed.gain == pytest.approx(1.71285855)
    for site in (Site(0, 4), Site(0, 4, layer=1, preactivation=True)):
        assert SCHEME.activation(site, relu).gain == pytest.approx(1.71285855)


@pytest.mark.parametrize("name", PUBLISHED_GAINS)
def test_published_gains_are_those_of_a_sample(name):
    """Of 65,536 numbers or so: our computed ones agree to a percent."""
    if name in ("log_softmax", "linear"):
        return  # over the channels of theirs; none
    function = {
        "gelu_tanh": layers.gelu_tanh,
        "leaky_relu": keras.layers.LeakyReLU(0.01),
    }.get(name, name)
    computed = theory.variance_gain(keras.layers.Activation(function))
    assert computed == pytest.approx(PUBLISHED_GAINS[name], rel=2e-3)


def test_published_gains_by_name():
    scheme = NormalizerFree(activation_gains="published")
    relu = scheme.activation(Site(0, 4), keras.layers.Activation("relu"))
    assert relu.gain == 1.7139588594436646
    with pytest.raises(ValueError, match="`activation` must be one of"):
        scheme.activation(Site(0, 4), keras.layers.Activation("mish"))


def test_a_nonlinearity_without_a_finite_variance_is_refused():
    site, flat = Site(0, 4), keras.layers.Activation(lambda x: 0 * x)
    with pytest.raises(ValueError, match="positive and finite variance"):
        SCHEME.activation(site, flat)


@pytest.mark.parametrize("gain", [0.0, 0.5, 1.0])
def test_predicted_variance_is_that_of_the_closed_form(gain):
    scheme = NormalizerFree(initial_gain=gain)
    model = models.ResidualMLP(6, 64, preactivation=True, scheme=scheme, seed=0)
    predicted = theory.predict(model)
    found = [predicted[f"block{i + 1}/merge"].variance for i in range(6)]
    expected = scheme.predicted_variance(6)[1:]
    np.testing.assert_allclose(found, expected, rtol=2e-2)
    if gain == 1:
        np.testing.assert_allclose(expected, 1 + 0.04 * np.arange(1, 7))


def test_is_saved_and_made_again():
    scheme = NormalizerFree(0.3, 0.1, "published", None)
    assert schemes.get(schemes.serialize(scheme)) == scheme


@pytest.mark.parametrize(
    "arguments",
    [
        {"alpha": np.inf},
        {"initial_gain": "a"},
        {"activation_gains": "sampled"},
        {"clipping": 0.0},
    ],
)
def test_arguments_are_checked(arguments):
    with pytest.raises((ValueError, TypeError), match=next(iter(arguments))):
        NormalizerFree(**arguments)


# Variances over batch and space, by mean squares, of the last map behind BatchNorm.
NORMALIZED = {"VGG16": 0.28, "ResNet50": 0.55, "ConvNeXtTiny": 0.86}
OTHERS = (
    *("InceptionV3", "DenseNet121", "ResNet50V2", "MobileNetV2", "EfficientNetB0"),
)
NORMALIZED |= dict.fromkeys(OTHERS, 0.68)


def networks():
    """One of each kind; the others are the long form."""
    for name in NORMALIZED:
        is_quick = name in ("VGG16", "MobileNetV2", "ConvNeXtTiny")
        yield pytest.param(name, marks=ON_TORCH if is_quick else pytest.mark.evidence)


@pytest.mark.parametrize("name", networks())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_inputs_stay_apart_in_converted_networks(name):
    """Variance over mean square at the last block within 3 of the normalized one's."""
    size = 75 if name == "InceptionV3" else 64
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10
    )
    free = fixinit.convert(model, "normalizer_free", seed=0)
    x = np.random.default_rng(0).standard_normal((32, size, size, 3))
    # What stands in front of the stem standardizes these.
    scale, shift = {"EfficientNetB0": (255, 0), "ConvNeXtTiny": (58, 120)}.get(
        name, (1, 0)
    )
    maps = [layer.output for layer in free.layers if len(layer.output.shape) == 4]
    y = keras.Model(free.inputs, maps[-1])((scale * x + shift).astype("float32"))
    y = keras.ops.convert_to_numpy(y)
    share = np.mean(np.var(y, (0, 1, 2))) / np.mean(y**2)
    assert NORMALIZED[name] / 3 < share < 3 * NORMALIZED[name]


@slow_where_compiled
@pytest.mark.every_backend
def test_optimizer_clips_standardized_kernels_by_unit_and_leaves_the_head():
    model = models.NFResNet(
        stages=(1, 1, 1, 1), filters=(8, 8, 8, 8), input_shape=(32, 32, 3), seed=0
    )
    optimizer = SCHEME.optimizer("sgd", model)
    assert optimizer.units["stem/kernel"] == (3,)
    assert optimizer.units["stem/gain"] == optimizer.units["stem/bias"] == ()
    assert optimizer.units["head/kernel"] is None
    plain = NormalizerFree(clipping=None).optimizer("sgd")
    assert isinstance(plain, keras.optimizers.SGD)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(True))
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    assert np.isfinite(model.train_on_batch(x, np.array([0, 1])))

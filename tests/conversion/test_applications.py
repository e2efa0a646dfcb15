"""The architectures of `keras.applications`, the smallest of each family."""

import warnings

import keras
import numpy as np
import pytest

import fixinit
from recipes.common.data.standard_inputs import standard_inputs
from recipes.common.training import applications
from tests.conversion.helpers import FOR_BATCH_NORM, NORMALIZATIONS
from tests.marks import ON_TORCH, mostly_on_torch

SMALLEST = (
    "MobileNetV2",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "DenseNet121",
    "MobileNet",
    "MobileNetV3Small",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "ConvNeXtTiny",
    "InceptionV3",
    "InceptionResNetV2",
    "Xception",
    "VGG16",
)
# Residual branches of the whole network.
BRANCHES = {
    "ResNet50": 16,
    "ResNet50V2": 16,
    "MobileNetV2": 10,
    "MobileNetV3Small": 6,
    "EfficientNetB0": 9,
    "EfficientNetV2B0": 15,
    "ConvNeXtTiny": 18,
    "InceptionResNetV2": 40,
    "Xception": 12,
}


# What takes longest; those are networks of the kinds of others.
LONG = ("DenseNet121", "EfficientNetV2B0", "InceptionV3", "InceptionResNetV2")
QUICK = [name for name in SMALLEST if name not in LONG]


def build(name):
    if name == "NASNetMobile" and keras.backend.backend() == "torch":
        pytest.skip("Keras does not build it on PyTorch.")
    return applications.build(name, applications.smallest_size(name), classes=10)


def converted(model, scheme, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fixinit.convert(model, scheme, seed=0, **options)


def check(name, model, scheme, path=None):
    free = converted(model, scheme)
    left = [x for x in free._flatten_layers() if isinstance(x, NORMALIZATIONS)]
    assert bool(left) == fixinit.schemes.get(scheme).normalizes
    assert free.output_shape == model.output_shape
    assert free.input_shape == model.input_shape
    expected = BRANCHES.get(name, free.conversion["num_branches"])
    assert free.conversion["num_branches"] == expected
    x = standard_inputs(free, 2)
    if path is not None:
        free.save(path)
        loaded = keras.models.load_model(path)
        outputs = [keras.ops.convert_to_numpy(m(x)) for m in (loaded, free)]
        np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-6)
    # For comparison only: activations of `unnormalized` may overflow, and two samples
    # are no batch to normalize by.
    if scheme not in ("unnormalized", "batch_norm"):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        # Small steps: SiLU makes deep sums of equal parts sensitive (`normalized_sum`).
        free.compile(keras.optimizers.SGD(1e-5), loss, run_eagerly=True)
        for _ in range(3):
            assert np.isfinite(free.train_on_batch(x, np.array([0, 1])))


@mostly_on_torch("name", QUICK, slow=2)
def test_families_convert_with_fixup(name, tmp_path):
    check(name, build(name), "fixup", tmp_path / "free.keras")


@pytest.mark.evidence
@pytest.mark.parametrize("name", LONG)
def test_large_families_convert_with_fixup(name, tmp_path):
    check(name, build(name), "fixup", tmp_path / "free.keras")


@pytest.mark.parametrize(
    "name",
    [
        # The shortest to build; the others are built for 7 schemes each.
        pytest.param("MobileNetV3Small", marks=ON_TORCH),
        *(
            pytest.param(name, marks=pytest.mark.evidence)
            for name in SMALLEST
            if name != "MobileNetV3Small"
        ),
    ],
)
def test_every_family_converts_with_the_other_schemes(name):
    model = build(name)
    for scheme in sorted(set(FOR_BATCH_NORM) - {"fixup"}):
        if fixinit.schemes.get(scheme).normalizes and scheme != "batch_norm":
            continue  # normalizations of tokens
        check(name, model, scheme)
        keras.utils.clear_session()


@mostly_on_torch("name", SMALLEST, slow=2)
def test_every_family_can_be_folded(name):
    keras.utils.set_random_seed(0)
    model = build(name)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.path.endswith("moving_variance"):
            variable.assign(rng.uniform(0.5, 2.0, variable.shape))
        if variable.path.endswith(("moving_mean", "beta")):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    keep = ("LayerNormalization",) if name == "ConvNeXtTiny" else ()
    folded = converted(model, "fixup", weights="fold", keep=keep)
    x = standard_inputs(model, 2)
    expected, got = (
        keras.ops.convert_to_numpy(m(x, training=False)) for m in (model, folded)
    )
    assert np.abs(expected - got).max() <= 1e-4 * np.abs(expected).max()

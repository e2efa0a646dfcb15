"""No claim on what is healthy: networks that train, as published and of our own."""

import operator

import keras
import numpy as np
import pytest
from keras import applications

import fixinit
from benchmarks.doctor.asking import ask, claims, diagnosed, kinds
from benchmarks.doctor.cases import CASES, HEALTHY
from tests.marks import mostly_on_torch, on_torch

ORDINARY = [case for case in HEALTHY if case["group"] == "ordinary"]
OTHERS = [case for case in HEALTHY if case["group"] != "ordinary"]
# One of each family, at the smallest size that its `include_top=True` takes, and the
# deepest one with normalization behind each layer.
FAMILIES = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 224,
    "ResNet50": 32,
    "ResNet152": 64,
    "ResNet50V2": 32,
    "VGG16": 32,
    "VGG19": 32,
    "Xception": 71,
}
# These preprocess images of 0 to 255 themselves.
PREPROCESS = ("ConvNeXt", "EfficientNet", "MobileNetV3")


def claimed(make):
    keras.utils.set_random_seed(0)
    model, x, y = make()
    return claims(ask(diagnosed, model, x, y))


NAME = operator.itemgetter("name")
QUICK = ("iris_mlp", "xor_adam", "cancer_logreg")


@on_torch
@pytest.mark.parametrize("name", QUICK)
def test_of_healthy_programs(name):
    (case,) = [case for case in HEALTHY if case["name"] == name]
    assert claimed(case["make"]) == []


@mostly_on_torch(
    "case", [x for x in ORDINARY if x["name"] not in QUICK], slow=0, ids=NAME
)
def test_of_all_healthy_programs(case):
    assert claimed(case["make"]) == []


@mostly_on_torch("case", CASES, slow=7, ids=NAME)
def test_of_repaired_programs_and_what_is_found_in_faulty_ones(case):
    assert claimed(case["repaired"]) == []
    if case["visible"]:
        keras.utils.set_random_seed(0)
        found = kinds(ask(diagnosed, *case["faulty"]()))
        assert found, case["name"]


@pytest.mark.evidence
@pytest.mark.parametrize("case", OTHERS, ids=NAME)
def test_of_our_networks_and_conversions(case):
    assert claimed(case["make"]) == []


@pytest.mark.evidence
@pytest.mark.parametrize("name", FAMILIES)
def test_of_applications_as_published(name):
    if name.startswith("NASNet") and keras.backend.backend() == "torch":
        pytest.skip("Keras refuses NASNet on PyTorch.")
    size = FAMILIES[name]
    keras.utils.set_random_seed(0)
    model = getattr(applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, size, size, 3)).astype("float32")
    if name.startswith(PREPROCESS):
        x = (127.5 + 60 * x).clip(0, 255)
    assert claims(ask(diagnosed, model, x, np.arange(16) % 10)) == []


@mostly_on_torch("scheme", fixinit.schemes.names(), slow=2)
def test_of_every_scheme(scheme):
    # Without normalization deep networks explode, which is no false alarm.
    depth = 4 if scheme == "unnormalized" else 12
    model = fixinit.models.ResidualMLP(
        depth, 32, scheme=scheme, input_shape=(8,), seed=0
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    assert claims(ask(diagnosed, model, x, np.arange(64) % 10)) == []

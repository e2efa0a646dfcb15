"""`load` on every source but MNIST-1D, which test_mnist_1d.py draws once for all."""

import dataclasses
import random
import subprocess
import sys

import keras
import numpy as np
import pytest

from recipes.common.data import datasets


@pytest.fixture
def small_cifar10(monkeypatch):
    """A small CIFAR-10 in the place of what Keras would load."""
    rng = np.random.default_rng(0)
    # Three channels with means and ranges of their own.
    high = [64, 128, 256]
    split = [
        (
            rng.integers(0, high, (num, 32, 32, 3)).astype("uint8"),
            np.arange(num, dtype="uint8")[:, None] % 4,
        )
        for num in (20, 4)
    ]
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: split)


def write_npz(path, dtype="float32", sample_shape=(3,), **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (6, *sample_shape)).astype(dtype),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": rng.integers(0, 256, (2, *sample_shape)).astype(dtype),
        "y_test": np.array([0, 1]),
    }
    np.savez(path, **(arrays | changes))
    return f"npz:{path}"


def assert_well_formed(dataset):
    assert dataset.x_train.dtype == dataset.x_test.dtype == np.float32
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.int32
    assert dataset.x_train.shape == (len(dataset.y_train), *dataset.input_shape)
    assert dataset.x_test.shape == (len(dataset.y_test), *dataset.input_shape)
    assert dataset.y_train.ndim == dataset.y_test.ndim == 1
    for labels in (dataset.y_train, dataset.y_test):
        assert 0 <= labels.min() and labels.max() < dataset.num_classes
    assert dataset.x_train.flags.c_contiguous and dataset.x_test.flags.c_contiguous


def assert_same(first, second):
    for field in dataclasses.fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        np.testing.assert_array_equal(a, b)


def random_state():
    return random.getstate(), [str(part) for part in np.random.get_state()]


def test_digits():
    digits = datasets.load("digits")
    assert_well_formed(digits)
    assert digits.input_shape == (8, 8, 1) and digits.is_image
    assert digits.num_classes == 10
    assert (len(digits.y_train), len(digits.y_test)) == (1437, 360)


def test_digits_are_standardized_by_the_training_images():
    digits = datasets.load("digits")
    np.testing.assert_allclose(digits.x_train.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(digits.x_train.std(), 1, atol=1e-5)
    # Blank pixels are 0 and full ones 16: both splits share the scale of the first.
    assert digits.x_test.min() == digits.x_train.min()
    assert digits.x_test.max() == digits.x_train.max()


def test_digits_split_is_stratified():
    digits = datasets.load("digits")
    train, test = np.bincount(digits.y_train), np.bincount(digits.y_test)
    np.testing.assert_allclose(test / (train + test), 0.2, atol=0.005)


def test_digits_split_depends_on_the_seed_only():
    first = datasets.load("digits")
    np.random.seed(1)
    assert_same(first, datasets.load("digits"))
    assert_same(first, datasets.load("digits", seed=0))
    other = datasets.load("digits", seed=1)
    assert not np.array_equal(first.y_train, other.y_train)


@pytest.mark.usefixtures("small_cifar10")
def test_cifar10_is_standardized_per_channel():
    cifar10 = datasets.load("cifar10")
    assert_well_formed(cifar10)
    assert cifar10.input_shape == (32, 32, 3) and cifar10.is_image
    # Ten even when a small sample shows four.
    assert cifar10.num_classes == 10
    assert (len(cifar10.y_train), len(cifar10.y_test)) == (20, 4)
    x_train = cifar10.x_train.astype("float64")
    np.testing.assert_allclose(x_train.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(x_train.std(axis=(0, 1, 2)), 1, atol=1e-6)


def test_npz_float_features_are_taken_as_they_are(tmp_path):
    x = np.arange(18.0).reshape(6, 3)
    dataset = datasets.load(write_npz(tmp_path / "mine.npz", x_train=x))
    assert_well_formed(dataset)
    assert dataset.num_classes == 3
    np.testing.assert_array_equal(dataset.x_train, x)


def test_npz_uint8_images_are_standardized_per_channel(tmp_path):
    name = write_npz(tmp_path / "mine.npz", dtype="uint8", sample_shape=(5, 4, 2))
    dataset = datasets.load(name)
    assert_well_formed(dataset)
    assert dataset.input_shape == (5, 4, 2) and dataset.is_image
    np.testing.assert_allclose(dataset.x_train.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(dataset.x_train.std(axis=(0, 1, 2)), 1, atol=1e-6)


def test_test_samples_are_scaled_by_the_training_samples(tmp_path):
    x_train = np.array([[0, 2], [4, 2], [0, 2], [4, 2], [4, 4], [0, 0]], "uint8")
    x_test = np.array([[2, 4], [0, 255]], "uint8")
    name = write_npz(tmp_path / "mine.npz", x_train=x_train, x_test=x_test)
    mean, std = x_train.mean(), x_train.std()
    expected = (x_test - mean) / std
    np.testing.assert_allclose(datasets.load(name).x_test, expected, rtol=1e-6)


def test_constant_channel_becomes_zero(tmp_path):
    x = np.full((6, 4, 4, 1), 7, "uint8")
    name = write_npz(tmp_path / "mine.npz", x_train=x, x_test=x[:2])
    np.testing.assert_array_equal(datasets.load(name).x_train, 0.0)


@pytest.mark.usefixtures("small_cifar10")
@pytest.mark.parametrize("source", ["digits", "cifar10", "npz"])
def test_loading_is_repeatable_and_leaves_random_state(source, tmp_path):
    name = write_npz(tmp_path / "mine.npz") if source == "npz" else source
    before = random_state()
    first = datasets.load(name)
    assert random_state() == before
    assert_same(first, datasets.load(name))


def test_dataset_is_frozen_and_prints_no_arrays(tmp_path):
    dataset = datasets.load(write_npz(tmp_path / "mine.npz"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"
    assert repr(dataset) == f"Dataset(name={dataset.name!r}, num_classes=3)"


@pytest.mark.parametrize(
    "name, suggestion",
    [
        ("cifar", "cifar10"),
        ("CIFAR-100", "cifar100"),
        ("mnist", "mnist1d"),
        ("digit", "digits"),
        ("my/data.npz", "npz:my/data.npz"),
    ],
)
def test_unknown_name_lists_the_names_and_suggests_the_nearest(name, suggestion):
    with pytest.raises(ValueError) as info:
        datasets.load(name)
    message = str(info.value)
    assert f"name={name!r}" in message
    assert all(valid in message for valid in datasets.names())
    assert message.endswith(f"Did you mean {suggestion!r}?")


def test_unknown_name_with_nothing_near_suggests_nothing():
    with pytest.raises(ValueError, match="npz:PATH.$"):
        datasets.load("qqq")


def test_name_that_is_no_string():
    with pytest.raises(TypeError, match="must be a string.*NoneType"):
        datasets.load(None)


def test_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install -e "\.\[recipes\]"'):
        datasets.load("digits")


def test_import_is_light():
    code = (
        "import sys, recipes.common.data.datasets; "
        "heavy = {'keras', 'tensorflow', 'sklearn', 'mnist1d', 'matplotlib'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

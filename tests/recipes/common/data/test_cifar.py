"""CIFAR through Keras's own loader, from a small archive of the original format."""

import hashlib
import os
import pickle
import socket
import tarfile

import keras
import numpy as np
import pytest
from keras.src.backend import config
from keras.src.datasets import cifar100

from recipes.common.data import cifar

ARCHIVE = "cifar-100-python.tar.gz"


def batch(num_images, seed):
    rng = np.random.default_rng(seed)
    return {
        b"data": rng.integers(0, 256, (num_images, 3072), dtype=np.uint8),
        b"fine_labels": rng.integers(0, 100, num_images).tolist(),
        b"coarse_labels": [0] * num_images,
    }


TRAIN, TEST = batch(5, seed=0), batch(3, seed=1)


@pytest.fixture(autouse=True)
def keras_home(tmp_path, monkeypatch):
    """An empty home of Keras, and no network."""
    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path / "keras"))
    (tmp_path / "keras").mkdir()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    return tmp_path / "keras"


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """A directory with a small archive, whose checksum Keras accepts."""
    folder = tmp_path / "elsewhere" / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, content in (("train", TRAIN), ("test", TEST)):
        (folder / name).write_bytes(pickle.dumps(content))
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / ARCHIVE
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()

    def get_file(**arguments):
        return keras.utils.get_file(**arguments | {"file_hash": checksum})

    monkeypatch.setattr(cifar100, "get_file", get_file)
    return path.parent


def check(loaded):
    for (x, y), expected in zip(loaded, (TRAIN, TEST), strict=True):
        # Each row is the red, then the green, then the blue plane, row by row.
        planes = expected[b"data"].reshape(-1, 3, 32, 32)
        assert x.dtype == np.uint8
        np.testing.assert_array_equal(x, planes.transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(y, expected[b"fine_labels"])


@pytest.mark.parametrize("image_data_format", ["channels_last", "channels_first"])
def test_images_are_channels_last_and_labels_fine(
    image_data_format, data_dir, monkeypatch
):
    monkeypatch.setattr(config, "_IMAGE_DATA_FORMAT", image_data_format)
    check(cifar.load_data("cifar100", data_dir))
    check(cifar.load_data("cifar100", str(data_dir)))


def test_archive_is_taken_from_the_cache_and_nothing_is_written_to_data_dir(data_dir):
    before = (data_dir / ARCHIVE).stat().st_mtime_ns
    cifar.load_data("cifar100", data_dir)
    assert os.listdir(data_dir) == [ARCHIVE]
    assert (data_dir / ARCHIVE).stat().st_mtime_ns == before
    (data_dir / ARCHIVE).unlink()
    check(cifar.load_data("cifar100"))


def test_home_directory_is_expanded(data_dir, monkeypatch):
    monkeypatch.setenv("HOME", str(data_dir.parent))
    check(cifar.load_data("cifar100", "~/data"))


@pytest.mark.parametrize("name", cifar.NUM_CLASSES)
def test_no_network_says_where_to_put_which_file(name, keras_home):
    with pytest.raises(FileNotFoundError) as info:
        cifar.load_data(name)
    archive = f"cifar-{name[5:]}-python.tar.gz"
    for part in (f"kriz/{archive} ", "--data_dir", "target_archive", "KERAS_HOME"):
        assert part in str(info.value)
    assert not list((keras_home / "datasets").iterdir())


@pytest.mark.parametrize("name", cifar.NUM_CLASSES)
@pytest.mark.parametrize("exists", [True, False])
def test_data_dir_without_the_archive_is_refused(name, exists, tmp_path):
    data_dir = tmp_path / "empty"
    if exists:
        data_dir.mkdir()
    with pytest.raises(FileNotFoundError, match=f"data_dir={data_dir}. Fetch https"):
        cifar.load_data(name, data_dir)


@pytest.mark.parametrize("kept", [0.001, 0.5, 0.9999])
def test_truncated_archive_is_refused(kept, data_dir):
    contents = (data_dir / ARCHIVE).read_bytes()
    (data_dir / ARCHIVE).write_bytes(contents[: int(kept * len(contents))])
    with pytest.raises(FileNotFoundError, match="no intact archive of cifar100"):
        cifar.load_data("cifar100", data_dir)


def test_archive_with_a_changed_byte_is_refused(data_dir):
    contents = bytearray((data_dir / ARCHIVE).read_bytes())
    contents[len(contents) // 2] ^= 0xFF
    (data_dir / ARCHIVE).write_bytes(contents)
    with pytest.raises(FileNotFoundError, match="no intact archive of cifar100"):
        cifar.load_data("cifar100", data_dir)


def test_timeout_of_sockets_is_restored(data_dir):
    before = socket.getdefaulttimeout()
    cifar.load_data("cifar100", data_dir)
    assert socket.getdefaulttimeout() == before

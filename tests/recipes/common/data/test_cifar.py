"""CIFAR's files, in small copies: four images a batch instead of ten thousand."""

import gzip
import os
import pickle
import re
import struct
import sys
import tarfile
import types

import numpy as np
import pytest

from recipes.common.data import cifar

CIFAR10, CIFAR100 = cifar.VERSIONS["cifar10"], cifar.VERSIONS["cifar100"]


def make_batch(label_key=b"labels", num_images=4, seed=0):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (num_images, 3072), dtype=np.uint8)
    labels = [int(label) for label in rng.integers(0, 10, num_images)]
    return {b"data": data, label_key: labels}


def write_folder(folder, version, **changes):
    """Writes every batch; `changes` maps names of batches to other contents."""
    folder.mkdir(parents=True)
    for seed, name in enumerate(version.batches):
        batch = changes.get(name, make_batch(version.label_key, seed=seed))
        contents = batch if isinstance(batch, bytes) else pickle.dumps(batch)
        (folder / name).write_bytes(contents)
    return folder


def write_archive(directory, version, tmp_path, **changes):
    folder = write_folder(tmp_path / "elsewhere" / version.folder, version, **changes)
    # Files that are in the original archive, and of no interest.
    (folder / "readme.html").write_text("<html>")
    directory.mkdir(exist_ok=True)
    with tarfile.open(directory / version.archive, "w:gz") as archive:
        archive.add(folder, arcname=version.folder)
    return directory / version.archive


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def archive10(data_dir, tmp_path):
    return write_archive(data_dir, CIFAR10, tmp_path)


def assert_same(first, second):
    for (x, y), (other_x, other_y) in zip(first, second, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)


# What is read


def test_cifar10_batches_are_joined_in_order(data_dir):
    write_folder(data_dir / CIFAR10.folder, CIFAR10)
    (x_train, y_train), (x_test, y_test) = cifar.load_data("cifar10", data_dir)
    assert x_train.shape == (20, 32, 32, 3) and x_train.dtype == np.uint8
    assert x_test.shape == (4, 32, 32, 3) and x_test.dtype == np.uint8
    expected = [
        label for seed in range(5) for label in make_batch(seed=seed)[b"labels"]
    ]
    np.testing.assert_array_equal(y_train, expected)
    np.testing.assert_array_equal(y_test, make_batch(seed=5)[b"labels"])


def test_cifar100_has_fine_labels(data_dir):
    train = make_batch(b"fine_labels") | {b"coarse_labels": [19, 18, 17, 16]}
    train[b"fine_labels"] = [99, 98, 97, 0]
    write_folder(data_dir / CIFAR100.folder, CIFAR100, train=train)
    (x_train, y_train), (x_test, _) = cifar.load_data("cifar100", data_dir)
    assert x_train.shape == x_test.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(y_train, [99, 98, 97, 0])


def test_rows_are_channels_then_height_then_width(data_dir):
    batch = make_batch()
    batch[b"data"][:] = 0
    # Image 1: red at row 0, column 31; green at row 2, column 5; blue at the end.
    batch[b"data"][1, 31] = 10
    batch[b"data"][1, 1024 + 2 * 32 + 5] = 20
    batch[b"data"][1, 3071] = 30
    write_folder(data_dir / CIFAR10.folder, CIFAR10, test_batch=batch)
    _, (x_test, _) = cifar.load_data("cifar10", data_dir)
    lit = {
        tuple(map(int, where)): x_test[tuple(where)] for where in np.argwhere(x_test)
    }
    assert lit == {(1, 0, 31, 0): 10, (1, 2, 5, 1): 20, (1, 31, 31, 2): 30}


def test_batches_may_differ_in_length(data_dir):
    folder = data_dir / CIFAR10.folder
    write_folder(folder, CIFAR10, data_batch_2=make_batch(num_images=1))
    (x_train, y_train), _ = cifar.load_data("cifar10", data_dir)
    assert len(x_train) == len(y_train) == 17


def python2_pickle(batch):
    """Pickles a batch with the opcodes of Python 2 and NumPy 1, as the authors did."""

    def string(value):
        return b"T" + struct.pack("<i", len(value)) + value

    def integer(value):
        return b"J" + struct.pack("<i", value)

    data, labels = batch[b"data"], batch[b"labels"]
    dtype = b"cnumpy\ndtype\n(" + string(b"u1") + integer(0) + integer(1) + b"tR"
    dtype += b"(" + integer(3) + string(b"|") + b"NNN"
    dtype += integer(-1) + integer(-1) + integer(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n"
    array += b"(cnumpy\nndarray\n(" + integer(0) + b"t" + string(b"b") + b"tR("
    array += integer(1) + b"(" + b"".join(map(integer, data.shape)) + b"t"
    array += dtype + b"I00\n" + string(data.tobytes()) + b"tb"
    items = string(b"data") + array
    items += string(b"labels") + b"](" + b"".join(map(integer, labels)) + b"e"
    return b"\x80\x02}(" + items + b"u."


@pytest.mark.filterwarnings("error")
def test_pickles_of_the_original_format(data_dir):
    batch = make_batch(seed=9)
    contents = python2_pickle(batch)
    write_folder(data_dir / CIFAR10.folder, CIFAR10, test_batch=contents)
    _, (x_test, y_test) = cifar.load_data("cifar10", data_dir)
    expected = batch[b"data"].reshape(4, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(x_test, expected)
    np.testing.assert_array_equal(y_test, batch[b"labels"])


# Where it is read from


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_archive_folder_and_batches_give_the_same(name, data_dir, tmp_path):
    version = cifar.VERSIONS[name]
    write_archive(data_dir, version, tmp_path)
    folder = write_folder(tmp_path / "extracted" / version.folder, version)
    from_archive = cifar.load_data(name, data_dir)
    assert_same(from_archive, cifar.load_data(name, folder.parent))
    assert_same(from_archive, cifar.load_data(name, folder))
    assert_same(from_archive, cifar.load_data(name, str(folder)))


def test_folder_of_another_name(data_dir):
    write_folder(data_dir, CIFAR10)
    assert cifar.load_data("cifar10", data_dir)


def test_members_may_be_named_with_a_leading_dot(data_dir, tmp_path):
    folder = write_folder(tmp_path / CIFAR10.folder, CIFAR10)
    data_dir.mkdir()
    with tarfile.open(data_dir / CIFAR10.archive, "w:gz") as archive:
        archive.add(folder, arcname=f"./{CIFAR10.folder}")
    assert cifar.load_data("cifar10", data_dir)


def test_home_directory_is_expanded(archive10, monkeypatch):
    monkeypatch.setenv("HOME", str(archive10.parent.parent))
    assert cifar.load_data("cifar10", "~/data")


def test_nothing_is_written_to_data_dir(archive10):
    before = archive10.stat()
    cifar.load_data("cifar10", archive10.parent)
    assert os.listdir(archive10.parent) == [archive10.name]
    assert archive10.stat().st_mtime_ns == before.st_mtime_ns


# What is missing


@pytest.mark.parametrize("version", [CIFAR10, CIFAR100], ids=lambda v: v.title)
def test_empty_data_dir_says_what_to_put_there(version, tmp_path):
    with pytest.raises(FileNotFoundError) as info:
        name = version.title.lower().replace("-", "")
        cifar.load_data(name, tmp_path)
    for part in (str(tmp_path), version.archive, version.folder, "https://"):
        assert part in str(info.value)


def test_data_dir_that_does_not_exist(data_dir):
    with pytest.raises(FileNotFoundError, match=rf"{data_dir}, which does not exist"):
        cifar.load_data("cifar10", data_dir)


def test_data_dir_that_is_the_archive(archive10):
    with pytest.raises(ValueError, match=f"Give the directory.*: {archive10.parent}$"):
        cifar.load_data("cifar10", archive10)


@pytest.mark.parametrize("inside", [True, False])
def test_folder_without_a_batch(inside, data_dir):
    folder = write_folder(data_dir / CIFAR10.folder, CIFAR10)
    (folder / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{folder} lacks data_batch_3\."):
        cifar.load_data("cifar10", folder if inside else data_dir)


# What is damaged


def refusal(data_dir, name="cifar10"):
    with pytest.raises(ValueError) as info:
        cifar.load_data(name, data_dir)
    return str(info.value)


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.9999])
def test_truncated_archive(kept, archive10):
    contents = archive10.read_bytes()
    archive10.write_bytes(contents[: int(kept * len(contents))])
    message = refusal(archive10.parent)
    assert str(archive10) in message and "truncated" in message


@pytest.mark.parametrize("num_cut", range(1, 12))
def test_archive_truncated_by_a_few_bytes(num_cut, archive10):
    archive10.write_bytes(archive10.read_bytes()[:-num_cut])
    assert "truncated" in refusal(archive10.parent)


def test_archive_whose_tar_was_truncated_before_compression(archive10):
    tar = gzip.decompress(archive10.read_bytes())
    archive10.write_bytes(gzip.compress(tar[: len(tar) // 2]))
    message = refusal(archive10.parent)
    assert str(archive10) in message and "no readable tar archive" in message


@pytest.mark.parametrize("where", [0.2, 0.5, 0.8])
def test_archive_with_a_changed_byte(where, archive10):
    contents = bytearray(archive10.read_bytes())
    contents[int(where * len(contents))] ^= 0xFF
    archive10.write_bytes(contents)
    assert str(archive10) in refusal(archive10.parent)


def test_archive_whose_checksum_alone_tells(archive10):
    contents = bytearray(archive10.read_bytes())
    contents[-8] ^= 0xFF
    archive10.write_bytes(contents)
    assert "CRC check failed" in refusal(archive10.parent)


@pytest.mark.parametrize(
    "contents, reason",
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "not a gzip archive"),
        (gzip.compress(b"no tar" * 1000, mtime=0), "no readable tar archive"),
        (gzip.compress(b"", mtime=0), "no readable tar archive"),
    ],
    ids=["empty", "html", "no tar", "empty gzip"],
)
def test_archive_that_is_none(contents, reason, data_dir):
    data_dir.mkdir()
    path = data_dir / CIFAR10.archive
    path.write_bytes(contents)
    message = refusal(data_dir)
    assert message.startswith(f"Cannot read {path}: ") and reason in message


def test_archive_of_the_other_data_set(data_dir, tmp_path):
    archive = write_archive(data_dir, CIFAR100, tmp_path)
    archive.rename(data_dir / CIFAR10.archive)
    assert "lacks data_batch_1, data_batch_2" in refusal(data_dir)


DAMAGED = {
    "it holds a list, not a dict": [1, 2],
    "it lacks the key b'data'": {b"labels": [1]},
    "it lacks the key b'labels'": {b"data": make_batch()[b"data"]},
    "b'data' is not a uint8 array": make_batch() | {b"data": np.zeros((4, 3072))},
    "b'data' has shape (4, 3071), expected (num_images, 3072)": make_batch()
    | {b"data": make_batch()[b"data"][:, 1:]},
    "b'data' has shape (0, 3072)": make_batch(num_images=0),
    "b'data' holds 4 rows, but there are 3 labels": make_batch()
    | {b"labels": [0, 1, 2]},
    "b'labels' is not a list of integers": make_batch() | {b"labels": [0, 1, [2], 3]},
    "b'labels' holds labels from 0 to 10, expected 0 to 9": make_batch()
    | {b"labels": [0, 3, 10, 1]},
    "b'labels' holds labels from -1 to 3": make_batch() | {b"labels": [0, 3, -1, 1]},
}


@pytest.mark.parametrize("reason", DAMAGED)
def test_damaged_batch_in_a_folder(reason, data_dir):
    folder = data_dir / CIFAR10.folder
    write_folder(folder, CIFAR10, data_batch_4=DAMAGED[reason])
    message = refusal(data_dir)
    assert message.startswith(f"Cannot read {folder / 'data_batch_4'}: {reason}")


def test_damaged_batch_in_an_archive(data_dir, tmp_path):
    path = write_archive(data_dir, CIFAR10, tmp_path, data_batch_4={})
    source = f"{path} ({CIFAR10.folder}/data_batch_4)"
    assert refusal(data_dir).startswith(f"Cannot read {source}: it lacks the key")


@pytest.mark.parametrize("kept", [0, 1, 50, 5000, -1])
def test_truncated_batch(kept, data_dir):
    contents = pickle.dumps(make_batch())[:kept]
    folder = write_folder(data_dir / CIFAR10.folder, CIFAR10, test_batch=contents)
    message = refusal(data_dir)
    assert str(folder / "test_batch") in message
    assert re.search("truncated|Ran out of input", message)


class RunsProgram:
    """Pickles into a call of a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("in_archive", [True, False])
@pytest.mark.parametrize(
    "function, name",
    [(os.mkdir, "posix.mkdir|nt.mkdir"), (eval, "builtins.eval"), (np.load, "load")],
)
def test_malicious_batch_is_refused(in_archive, function, name, data_dir, tmp_path):
    victim = tmp_path / "victim"
    argument = (
        f"__import__('os').mkdir({str(victim)!r})" if function is eval else victim
    )
    batch = make_batch() | {b"batch_label": RunsProgram(function, str(argument))}
    if in_archive:
        write_archive(data_dir, CIFAR10, tmp_path, data_batch_1=batch)
    else:
        write_folder(data_dir / CIFAR10.folder, CIFAR10, data_batch_1=batch)
    message = refusal(data_dir)
    assert re.search(rf"asks for \S*({name}), which .* may be malicious", message)
    assert "data_batch_1" in message
    assert not victim.exists()


# Through Keras


@pytest.fixture
def keras_loader(monkeypatch):
    """Stands in for Keras, which takes seconds to import; returns its data sets."""
    loaders = types.SimpleNamespace()
    for name in ("cifar10", "cifar100"):
        setattr(loaders, name, types.SimpleNamespace(load_data=None))
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(datasets=loaders))
    return loaders


@pytest.mark.parametrize("channels_first", [False, True])
def test_keras_loader(channels_first, keras_loader):
    images = np.arange(2 * 32 * 32 * 3).reshape(2, 32, 32, 3).astype("uint8")
    theirs = images.transpose(0, 3, 1, 2) if channels_first else images
    labels = np.array([[3], [4]], "uint8")  # Keras keeps them in a column.
    split = (theirs, labels)
    keras_loader.cifar100.load_data = lambda: (split, split)
    (x_train, y_train), (x_test, y_test) = cifar.load_data("cifar100")
    np.testing.assert_array_equal(x_train, images)
    np.testing.assert_array_equal(x_test, images)
    np.testing.assert_array_equal(y_train, [3, 4])
    np.testing.assert_array_equal(y_test, [3, 4])


@pytest.mark.parametrize(
    "error",
    [
        # What keras.utils.get_file raises, type included.
        Exception("URL fetch failure on https://...: None -- [Errno -2] Name or ..."),
        TimeoutError("timed out"),
    ],
)
def test_no_network_says_where_to_put_which_file(
    error, keras_loader, monkeypatch, tmp_path
):
    def load_data():
        raise error

    keras_loader.cifar10.load_data = load_data
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError) as info:
        cifar.load_data("cifar10")
    cached = tmp_path / "datasets" / "cifar-10-batches-py-target_archive"
    for part in (CIFAR10.archive, "data_dir", "https://", str(cached), str(error)):
        assert part in str(info.value)


def test_damaged_copy_of_keras_is_named(keras_loader, monkeypatch, tmp_path):
    def load_data():
        raise pickle.UnpicklingError("pickle data was truncated")

    keras_loader.cifar100.load_data = load_data
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    copy = tmp_path / "datasets" / "cifar-100-python-target"
    with pytest.raises(ValueError, match=f"{copy} is truncated.*Delete {copy} and"):
        cifar.load_data("cifar100")

import re
import zipfile

import numpy as np
import pytest

from recipes.common.data import npz

GOOD = {
    "x_train": np.arange(12, dtype="float32").reshape(4, 3),
    "y_train": np.array([0, 1, 2, 1]),
    "x_test": np.ones((2, 3)),
    "y_test": np.array([2, 0]),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npz"


def save(path, **changes):
    arrays = GOOD | changes
    np.savez(path, **{key: x for key, x in arrays.items() if x is not None})


def test_good_file(path):
    save(path)
    (x_train, y_train), (x_test, y_test) = npz.load_data(path)
    np.testing.assert_array_equal(x_train, GOOD["x_train"])
    np.testing.assert_array_equal(y_test, GOOD["y_test"])
    assert x_train.dtype == x_test.dtype == np.float32
    assert y_train.dtype == y_test.dtype == np.int32


def test_compressed_file_and_other_keys(path):
    np.savez_compressed(path, **GOOD, names=np.array(["a", "b", "c"]))
    (x_train, _), _ = npz.load_data(path)
    np.testing.assert_array_equal(x_train, GOOD["x_train"])


def test_relative_path_and_home(path, monkeypatch):
    save(path)
    monkeypatch.chdir(path.parent)
    assert npz.load_data("mine.npz")
    monkeypatch.setenv("HOME", str(path.parent))
    assert npz.load_data("~/mine.npz")


def test_label_column_becomes_a_vector(path):
    save(path, y_train=GOOD["y_train"][:, np.newaxis].astype("uint8"))
    (_, y_train), _ = npz.load_data(path)
    np.testing.assert_array_equal(y_train, GOOD["y_train"])


def test_grey_uint8_images_get_a_channel_axis(path):
    save(path, x_train=np.zeros((4, 7, 5), "uint8"), x_test=np.ones((2, 7, 5), "uint8"))
    (x_train, _), (x_test, _) = npz.load_data(path)
    assert x_train.shape == (4, 7, 5, 1) and x_test.shape == (2, 7, 5, 1)
    assert x_train.dtype == x_test.dtype == np.uint8


def test_missing_file_says_how_to_write_one(path):
    with pytest.raises(FileNotFoundError, match=f"{re.escape(str(path))}.*np.savez"):
        npz.load_data(path)


def test_empty_path():
    with pytest.raises(ValueError, match="needs a path"):
        npz.load_data("")


def test_directory(tmp_path):
    with pytest.raises(ValueError, match="is not a file"):
        npz.load_data(tmp_path)


@pytest.mark.parametrize("key", GOOD)
def test_missing_key(path, key):
    save(path, **{key: None})
    with pytest.raises(ValueError, match=rf"mine\.npz lacks {key}\. It must hold"):
        npz.load_data(path)


def test_no_keys_at_all(path):
    np.savez(path)
    with pytest.raises(ValueError, match="it holds nothing"):
        npz.load_data(path)


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"y_train": np.array([0, 1, 2])}, "x_train and y_train .* 4 samples and 3"),
        ({"y_test": np.array([], int)}, "x_test and y_test .* 2 samples and 0 labels"),
        ({"x_train": np.ones((4, 3), "int64")}, "x_train must be .* dtype int64"),
        ({"x_train": np.ones((4, 3), bool)}, "x_train must be .* dtype bool"),
        ({"x_test": np.ones((2, 3), complex)}, "x_test must be .* dtype complex128"),
        ({"x_train": np.ones(4)}, r"x_train must have the shape .* shape \(4,\)"),
        ({"x_train": np.ones((0, 3))}, r"at least one sample .* shape \(0, 3\)"),
        ({"x_test": np.ones((2, 0))}, r"one feature\. .* shape \(2, 0\)"),
        ({"x_test": np.ones((2, 4))}, r"samples of one shape.*\(3,\) and \(4,\)"),
        ({"x_test": np.ones((2, 3), "uint8")}, "both .* float32 and uint8"),
        ({"x_train": np.full((4, 3), np.nan)}, "x_train must be finite .* 12 of its"),
        ({"x_test": np.array([[1, 2, np.inf]] * 2)}, "x_test must be finite .* 2 of"),
        ({"x_test": np.full((2, 3), 1e300)}, "finite in float32"),
        ({"y_train": np.array([0.0, 1, 2, 1])}, "y_train must hold integer"),
        ({"y_test": np.array(["a", "b"])}, "integer class labels.*return_inverse"),
        ({"y_train": np.eye(4, dtype=int)}, r"y_train must have the shape.*argmax"),
        ({"y_train": np.array([0, -1, 2, 1])}, "counted from 0.*from -1 to 2"),
        ({"y_train": np.array([0, 2**40, 2, 1])}, "counted from 0"),
        ({"y_train": np.array([1, 2, 3, 2])}, "labels from 1. Subtract 1"),
        ({"y_test": np.array([3, 0])}, "y_test holds the label 3"),
        ({"y_test": np.array([None, {}])}, "y_test cannot be read: Object arrays"),
    ],
)
def test_unusable_arrays_are_named(path, changes, problem):
    save(path, **changes)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{problem}"):
        npz.load_data(path)


@pytest.mark.parametrize("contents", [b"", b"P", b"<!DOCTYPE html>", b"\x1f\x8b\x08"])
def test_file_of_another_kind(path, contents):
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=r"mine\.npz is not an \.npz file"):
        npz.load_data(path)


def test_single_array_file(path):
    with path.open("wb") as file:
        np.save(file, GOOD["x_train"])
    with pytest.raises(ValueError, match="single .npy array"):
        npz.load_data(path)


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.6, 0.95])
def test_truncated_file(path, fraction):
    save(path)
    contents = path.read_bytes()
    path.write_bytes(contents[: int(fraction * len(contents))])
    with pytest.raises(ValueError, match=r"mine\.npz is truncated or corrupted"):
        npz.load_data(path)


def test_changed_byte_is_found_and_the_array_named(path):
    save(path, x_train=np.full((4, 3), 7.0))
    contents = bytearray(path.read_bytes())
    contents[contents.index(np.full(12, 7.0).tobytes())] ^= 0x01
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=r"mine\.npz: x_train cannot be read: Bad CRC"):
        npz.load_data(path)


def test_damage_anywhere_gives_a_value_error_or_the_same_arrays(path):
    save(path)
    intact = path.read_bytes()
    for position in range(0, len(intact), 7):
        contents = bytearray(intact)
        contents[position] ^= 0xFF
        path.write_bytes(contents)
        try:
            (x_train, y_train), (x_test, y_test) = npz.load_data(path)
        except ValueError as error:
            assert "mine.npz" in str(error)
        else:
            np.testing.assert_array_equal(x_train, GOOD["x_train"])
            np.testing.assert_array_equal(y_train, GOOD["y_train"])
            np.testing.assert_array_equal(x_test, GOOD["x_test"])
            np.testing.assert_array_equal(y_test, GOOD["y_test"])


def test_member_that_is_no_array(path):
    save(path)
    arrays = dict(np.load(path))
    del arrays["y_test"]
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("y_test", "0 1")
    with pytest.raises(ValueError, match="y_test is not a NumPy array"):
        npz.load_data(path)

"""Data sets in `.npz` files, checked before they are used."""

import pathlib

import numpy as np

from recipes.common.data.archives import UNREADABLE, check_expansion

_KEYS = ("x_train", "y_train", "x_test", "y_test")


def load_data(path):
    """Reads and checks the arrays of an `.npz` file.

    The file holds four arrays:

    * `x_train`, `x_test`: features of shapes `(num_train, ...)` and `(num_test, ...)`,
      channels last, both floating point or both uint8. uint8 images without a channel
      axis, `(num_samples, height, width)`, get one.
    * `y_train`, `y_test`: integer labels of shapes `(num_samples,)` or
      `(num_samples, 1)`, counted from 0.

    Nothing is unpickled.

    Example:

    ```python
    np.savez("mine.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    (x_train, y_train), (x_test, y_test) = load_data("mine.npz")
    ```

    Args:
        path: Path of the file, relative to the working directory. `~` is expanded.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: features as float32 or uint8, labels as
        int32 of shape `(num_samples,)`.

    Raises:
        FileNotFoundError: There is no file at `path`.
        ValueError: The file is no `.npz` file, is truncated or corrupted, or its arrays
            break one of the rules above. The message names the file and the array.
    """
    if not str(path):
        raise ValueError("The data set name 'npz:PATH' needs a path. Received: 'npz:'")
    path = pathlib.Path(path).expanduser()
    arrays = _read(path)
    try:
        for split in ("train", "test"):
            x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
            x = _checked_features(f"x_{split}", x)
            y = _checked_labels(f"y_{split}", y)
            _check_lengths(split, x, y)
            arrays[f"x_{split}"], arrays[f"y_{split}"] = x, y
        _check_splits_agree(**arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _read(path):
    if not path.exists():
        raise FileNotFoundError(
            f"No file at {path}. Write one with np.savez(path, x_train=..., "
            "y_train=..., x_test=..., y_test=...), and name it as 'npz:PATH'."
        )
    if not path.is_file():
        raise ValueError(f"{path} is not a file. 'npz:PATH' needs an .npz file.")
    _check_is_zip(path)
    check_expansion(path)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        missing = [key for key in _KEYS if key not in archive]
        if not missing:
            return {key: _read_array(path, archive, key) for key in _KEYS}
        found = ", ".join(archive) or "nothing"
    raise ValueError(
        f"{path} lacks {', '.join(missing)}. It must hold {', '.join(_KEYS)}; "
        f"it holds {found}."
    )


def _check_is_zip(path):
    with path.open("rb") as file:
        start = file.read(6)
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):  # With members, or with none.
        return
    if not start:
        reason = "it is empty"
    elif start == b"\x93NUMPY":
        reason = "it is a single .npy array; write all four arrays with np.savez"
    else:
        reason = f"it starts with {start!r}, not with {b'PK'!r}"
    raise ValueError(f"{path} is not an .npz file: {reason}.")


def _read_array(path, archive, key):
    try:
        array = archive[key]
    except UNREADABLE as error:
        raise ValueError(f"{path}: {key} cannot be read: {error}.") from error
    if not isinstance(array, np.ndarray):  # NumPy hands on other members as bytes.
        raise ValueError(f"{path}: {key} is not a NumPy array.")
    return array


def _checked_features(key, x):
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise ValueError(
            f"{key} must be floating point (taken as it is) or uint8 (standardized). "
            f"Received: dtype {x.dtype}. Convert it with x.astype('float32')."
        )
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(
            f"{key} must have the shape (num_samples, ...), with at least one sample "
            f"and one feature. Received: shape {x.shape}."
        )
    if x.dtype == np.uint8:
        return x[..., np.newaxis] if x.ndim == 3 else x
    with np.errstate(over="ignore"):  # Too large for float32: infinite, seen below.
        x = x.astype(np.float32)
    num_bad = x.size - np.count_nonzero(np.isfinite(x))
    if num_bad:
        raise ValueError(
            f"{key} must be finite in float32, but {num_bad} of its {x.size} values "
            "are NaN or infinite."
        )
    return x


def _checked_labels(key, y):
    if y.dtype.kind not in "iu":
        raise ValueError(
            f"{key} must hold integer class labels. Received: dtype {y.dtype}. "
            "Labels of other kinds become integers with "
            "np.unique(y, return_inverse=True)."
        )
    if y.shape not in ((y.size,), (y.size, 1)):
        raise ValueError(
            f"{key} must have the shape (num_samples,). Received: shape {y.shape}. "
            "One-hot labels become integers with y.argmax(axis=-1)."
        )
    # An array without labels is left to the comparison of lengths.
    if y.size and not 0 <= y.min() <= y.max() < np.iinfo(np.int32).max:
        raise ValueError(
            f"{key} must hold labels counted from 0. Received: labels from {y.min()} "
            f"to {y.max()}."
        )
    return y.ravel().astype(np.int32)


def _check_lengths(split, x, y):
    if len(x) != len(y):
        raise ValueError(
            f"x_{split} and y_{split} must be of one length. Received: {len(x)} "
            f"samples and {len(y)} labels."
        )


def _check_splits_agree(x_train, y_train, x_test, y_test):
    if x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(
            "x_train and x_test must hold samples of one shape. Received: "
            f"{x_train.shape[1:]} and {x_test.shape[1:]}."
        )
    if x_train.dtype != x_test.dtype:
        raise ValueError(
            "x_train and x_test must both be floating point or both uint8. Received: "
            f"{x_train.dtype} and {x_test.dtype}."
        )
    if y_train.min() > 0:
        raise ValueError(
            "y_train must hold labels counted from 0. Received: labels from "
            f"{y_train.min()}. Subtract {y_train.min()} from y_train and y_test."
        )
    if y_test.max() > y_train.max():
        raise ValueError(
            f"y_test holds the label {y_test.max()}, but y_train has no label above "
            f"{y_train.max()}: no model can learn it."
        )

"""CIFAR-10 and CIFAR-100, from Keras's loader or from the original files.

The original release is a gzip archive of pickled batches, one row of 3,072 bytes for
an image. Archives are read in place, and batches by an unpickler that knows NumPy
arrays and nothing else: a pickle from the internet may otherwise run any program.

Reference:

* [Krizhevsky, 2009](https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf)
"""

import dataclasses
import gzip
import io
import os
import pathlib
import pickle
import tarfile
import zlib

import numpy as np

_URL = "https://www.cs.toronto.edu/~kriz/"


@dataclasses.dataclass(frozen=True)
class Version:
    """How one of the two data sets is laid out in its files.

    Attributes:
        title: The name of the data set in messages.
        folder: The folder in the archive.
        train: Names of the training batches in that folder.
        test: Name of the test batch in that folder.
        label_key: The key of the labels in a batch.
        num_classes: Number of classes.
        keras_folder: What Keras calls its extracted copy, in `datasets` of its home.
    """

    title: str
    folder: str
    train: tuple
    test: str
    label_key: bytes
    num_classes: int
    keras_folder: str

    @property
    def archive(self):
        """Name of the original archive."""
        return self.title.lower() + "-python.tar.gz"

    @property
    def batches(self):
        """Names of all batches."""
        return (*self.train, self.test)


VERSIONS = {
    "cifar10": Version(
        title="CIFAR-10",
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{i}" for i in range(1, 6)),
        test="test_batch",
        label_key=b"labels",
        num_classes=10,
        keras_folder="cifar-10-batches-py-target",
    ),
    "cifar100": Version(
        title="CIFAR-100",
        folder="cifar-100-python",
        train=("train",),
        test="test",
        label_key=b"fine_labels",
        num_classes=100,
        keras_folder="cifar-100-python-target",
    ),
}


def load_data(name, data_dir=None):
    """Reads the images and labels of one of the CIFAR data sets.

    Args:
        name: String, `"cifar10"` or `"cifar100"`.
        data_dir: Optional path. In it are looked for, in this order: the extracted
            folder, the original archive, the batches themselves. `None` asks
            `keras.datasets`, which downloads the archive if it does not have it.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: uint8 images of shapes
        `(num_samples, 32, 32, 3)` and integer labels of shapes `(num_samples,)`, the
        fine ones for CIFAR-100.

    Raises:
        FileNotFoundError: The files are not there; the message says where to put which.
        ValueError: A file is truncated, corrupted or inconsistent (it is named), or
            `data_dir` is a file.
    """
    version = VERSIONS[name]
    if data_dir is None:
        return _load_with_keras(name, version)
    batches = _read_batches(version, pathlib.Path(data_dir).expanduser())
    images, labels = zip(*(batches[batch] for batch in version.train), strict=True)
    return (np.concatenate(images), np.concatenate(labels)), batches[version.test]


def _load_with_keras(name, version):
    # Imported here, because it takes seconds.
    import keras

    try:
        train, test = getattr(keras.datasets, name).load_data()
    except Exception as error:
        raise _explained(version, error) from error
    return tuple((_channels_last(x), np.ravel(y)) for x, y in (train, test))


def _channels_last(images):
    # Keras's loader follows `keras.config.image_data_format()`.
    return images if images.shape[-1] == 3 else images.transpose(0, 2, 3, 1)


def _explained(version, error):
    home = os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    copy = os.path.join(os.path.expanduser(home), "datasets", version.keras_folder)
    # Keras raises a bare Exception when a download fails.
    if isinstance(error, OSError) or "URL fetch failure" in str(error):
        return FileNotFoundError(
            f"{version.title} is not on this machine, and Keras could not download it "
            f"({error}). Fetch {_URL}{version.archive} on a machine with a network, "
            f"then either put {version.archive} into a directory of your choice and "
            "give that directory as data_dir, or copy it to Keras's own cache, as "
            f"{copy}_archive"
        )
    return ValueError(
        f"Keras's copy of {version.title} in {copy} is truncated or corrupted "
        f"({type(error).__name__}: {error}). Delete {copy} and {copy}_archive, and "
        "Keras fetches it again."
    )


def _read_batches(version, data_dir):
    """Returns a dict from the name of every batch to its images and labels."""
    if data_dir.is_file():
        raise ValueError(
            f"data_dir must be a directory. Received a file: {data_dir}. Give the "
            f"directory that holds it: {data_dir.parent}"
        )
    folder, archive = data_dir / version.folder, data_dir / version.archive
    if folder.is_dir():
        return _read_folder(version, folder)
    if archive.is_file():
        return _read_archive(version, archive)
    if any((data_dir / batch).is_file() for batch in version.batches):
        return _read_folder(version, data_dir)
    reason = "holds no such files" if data_dir.is_dir() else "does not exist"
    raise FileNotFoundError(
        f"{version.title} was looked for in {data_dir}, which {reason}. Put "
        f"{version.archive} there (from {_URL}{version.archive}), or the folder "
        f"{version.folder} extracted from it."
    )


def _read_folder(version, folder):
    missing = [batch for batch in version.batches if not (folder / batch).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)}. Extract {version.archive} again, so "
            f"that the folder holds {', '.join(version.batches)}."
        )
    return {
        batch: _parse_batch(version, (folder / batch).read_bytes(), folder / batch)
        for batch in version.batches
    }


def _read_archive(version, path):
    wanted = {
        pathlib.PurePosixPath(version.folder, batch): batch for batch in version.batches
    }
    batches = {}
    try:
        # Front to back in one pass, as a gzip file is slow to seek in, and to the very
        # end, where it keeps the checksum of all that came before.
        with gzip.open(path) as file:
            with tarfile.open(fileobj=file, mode="r|") as archive:
                for member in archive:
                    batch = wanted.get(pathlib.PurePosixPath(member.name))
                    if batch is not None and member.isfile():
                        contents = archive.extractfile(member).read()
                        source = f"{path} ({member.name})"
                        batches[batch] = _parse_batch(version, contents, source)
            while file.read(2**20):
                pass
    except EOFError as error:
        raise _corrupted(version, path, "it is truncated") from error
    except (gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise _corrupted(version, path, _archive_damage(path, error)) from error
    missing = [batch for batch in version.batches if batch not in batches]
    if missing:
        reason = f"it lacks {', '.join(missing)} in the folder {version.folder}"
        raise _corrupted(version, path, reason)
    return batches


def _archive_damage(path, error):
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        return "it is empty"
    if not start.startswith(b"\x1f\x8b"):  # gzip's magic number, RFC 1952.
        return f"it is not a gzip archive (it starts with {start!r})"
    if isinstance(error, tarfile.TarError):
        return f"it holds no readable tar archive ({error})"
    return f"it is corrupted ({error})"


def _corrupted(version, source, reason):
    return ValueError(
        f"Cannot read {source}: {reason}. Fetch {_URL}{version.archive} again."
    )


def _dtype(spec, align=False, copy=False):
    # The original files pass 0 and 1 as booleans, which NumPy 2.4 deprecates.
    return np.dtype(spec, align=bool(align), copy=bool(copy))


# The functions that a pickled array of numbers refers to, by the names under which
# NumPy 1 (which wrote the original files) and NumPy 2 pickle them.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
}


class _BatchUnpickler(pickle.Unpickler):
    """Rebuilds built-in containers and NumPy arrays, and refuses everything else."""

    def find_class(self, module, name):
        try:
            return _ALLOWED_GLOBALS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which no CIFAR file needs; it may be "
                "malicious"
            ) from None


def _parse_batch(version, contents, source):
    """Returns uint8 images `(n, 32, 32, 3)` and int64 labels `(n,)` of one batch."""
    try:
        # The original files hold Python 2 strings: bytes, to Python 3.
        batch = _BatchUnpickler(io.BytesIO(contents), encoding="bytes").load()
    except Exception as error:  # "Other exceptions may also be raised", pickle's docs.
        reason = str(error) or type(error).__name__
        raise _corrupted(version, source, reason) from error
    reason = _batch_damage(version, batch)
    if reason:
        raise _corrupted(version, source, reason)
    # Each row is the red, then the green, then the blue plane, and each plane is row
    # by row.
    images = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, np.asarray(batch[version.label_key], dtype=np.int64)


def _batch_damage(version, batch):
    """Returns what is wrong with an unpickled batch, or None."""
    if not isinstance(batch, dict):
        return f"it holds a {type(batch).__name__}, not a dict"
    for key in (b"data", version.label_key):
        if key not in batch:
            return f"it lacks the key {key!r}"
    data, labels = batch[b"data"], batch[version.label_key]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        return f"{b'data'!r} is not a uint8 array"
    if data.ndim != 2 or data.shape[1] != 3 * 32 * 32 or len(data) == 0:
        return f"{b'data'!r} has shape {data.shape}, expected (num_images, 3072)"
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()
    if not isinstance(labels, list) or not all(isinstance(y, int) for y in labels):
        return f"{version.label_key!r} is not a list of integers"
    if len(labels) != len(data):
        return f"{b'data'!r} holds {len(data)} rows, but there are {len(labels)} labels"
    if min(labels) < 0 or max(labels) >= version.num_classes:
        return (
            f"{version.label_key!r} holds labels from {min(labels)} to {max(labels)}, "
            f"expected 0 to {version.num_classes - 1}"
        )
    return None

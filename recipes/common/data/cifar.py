"""CIFAR-10 and CIFAR-100 through `keras.datasets`.

Keras checks the archive's SHA-256 and unpickles nothing but NumPy arrays.

Reference:

* [Krizhevsky, 2009](https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf)
"""

import contextlib
import pathlib
import socket

import numpy as np

NUM_CLASSES = {"cifar10": 10, "cifar100": 100}
_URL = "https://www.cs.toronto.edu/~kriz/"
_ARCHIVES = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}
# The same archives in the `datasets` folder of Keras's home.
_CACHED = {
    "cifar10": "cifar-10-batches-py-target_archive",
    "cifar100": "cifar-100-python-target_archive",
}
# Seconds. A server that does not answer would hold a run up for minutes.
_TIMEOUT = 20


def load_data(name, data_dir=None):
    """Images and labels of one of the CIFAR data sets.

    Args:
        name: `"cifar10"` or `"cifar100"`.
        data_dir: Optional path of the directory that holds the original archive, such
            as `cifar-10-python.tar.gz`. By default Keras takes the archive from its
            cache, or downloads it.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: uint8 images of shape
        `(num_samples, 32, 32, 3)` and integer labels of shape `(num_samples,)`, the
        fine ones for CIFAR-100.

    Raises:
        FileNotFoundError: If there is no intact archive and no network; the message
            says which file to put where.
    """
    import keras  # Here, because it takes seconds.

    if data_dir is not None:
        _copy_to_cache(name, pathlib.Path(data_dir).expanduser().resolve())
    try:
        with _timeout():
            train, test = getattr(keras.datasets, name).load_data()
    # Keras raises a bare `Exception` when a download fails.
    except Exception as error:
        raise FileNotFoundError(
            f"Keras has no intact archive of {name} and cannot download it ({error}). "
            f"{_what_to_do(name)}"
        ) from error
    return tuple((_channels_last(x), np.ravel(y)) for x, y in (train, test))


def _copy_to_cache(name, data_dir):
    import keras

    archive = data_dir / _ARCHIVES[name]
    if not archive.is_file():
        raise FileNotFoundError(
            f"Argument `data_dir` must be a directory that holds {archive.name}. "
            f"Received: data_dir={data_dir}. {_what_to_do(name)}"
        )
    keras.utils.get_file(_CACHED[name], archive.as_uri(), force_download=True)


def _what_to_do(name):
    archive = _ARCHIVES[name]
    return (
        f"Fetch {_URL}{archive} where there is a network, and pass the directory that "
        f"holds it as data_dir (--data_dir), or copy it to ~/.keras/datasets/"
        f"{_CACHED[name]} ($KERAS_HOME/datasets if KERAS_HOME is set)."
    )


@contextlib.contextmanager
def _timeout():
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _channels_last(images):
    # Keras follows `keras.config.image_data_format()`.
    return images if images.shape[-1] == 3 else images.transpose(0, 2, 3, 1)

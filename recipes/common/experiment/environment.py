"""What else than the flags results may depend on: versions and the machine."""

import importlib.metadata
import os
import platform

import keras

import fixinit


def environment():
    """A dict of strings and numbers, as results.json holds it."""
    backend = keras.backend.backend()
    # TensorFlow beside every backend: it feeds the batches of training runs.
    packages = dict.fromkeys(("keras", backend, "tensorflow", "numpy"))
    return {
        "fixinit": fixinit.__version__,
        "backend": backend,
        **{name: version for name in packages if (version := _version(name))},
        "python": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "platform": platform.platform(),
    }


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

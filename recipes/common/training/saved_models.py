"""Models in `.keras` files, checked before Keras reads them."""

import pathlib
import zipfile

import keras

from recipes.common.data.archives import UNREADABLE, check_expansion
from recipes.common.experiment import checksums
from recipes.common.experiment.errors import UnusableFileError
from recipes.common.experiment.files import replacing

_AGAIN = "Save it again from where it comes."
# Keras writes these, whatever else a model has.
_NEEDED = ("config.json", "metadata.json", "model.weights.h5")


def save_model(model, path):
    """Saves a model with a checksum beside it, whole or not at all."""
    with replacing(path, checksum=True) as temporary:
        model.save(temporary)


def load_model(path):
    """Loads a model that is not compiled.

    Raises:
        UnusableFileError: If the file is missing or damaged, or Keras cannot make the
            model; the message is one line that names it.
    """
    check_model(path)
    try:
        return keras.models.load_model(path, compile=False)
    # The file is whole: these are Keras's errors for what it does not know, such as
    # classes that nothing has registered, of many kinds and lines.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnusableFileError(f"{path} cannot be loaded: {reason}") from error


def check_model(path):
    """Refuses a `.keras` file that is missing, cut, or changed since it was written.

    Every part of it has a check value of its own; a file that `save_model` wrote has a
    checksum beside it as well.

    Raises:
        UnusableFileError: If it is one.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UnusableFileError(f"There is no file {str(path)!r}.")
    checksums.check_beside(path, _AGAIN, must_exist=False)
    try:
        names = check_expansion(path)
    except ValueError as error:
        raise UnusableFileError(f"{error} {_AGAIN}") from error
    missing = [f"{name} is missing" for name in _NEEDED if name not in names]
    damaged = [f"{name} cannot be read" for name in _damaged_parts(path)]
    for reason in (*missing, *damaged):
        raise UnusableFileError(f"{path} is damaged: {reason}. {_AGAIN}")


def _damaged_parts(path):
    """Yields the names of the parts of an archive that are not as they were stored."""
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            try:
                with archive.open(part) as file:
                    while file.read(1 << 20):
                        pass
            except UNREADABLE:
                yield part.filename

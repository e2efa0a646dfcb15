"""Files of parameters: `.npz`, and the authors' pickles without their code."""

import os
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

# What a pickle of arrays needs: NumPy makes the arrays from their bytes.
_NUMPY = {
    ("_reconstruct", "numpy.core.multiarray"),
    ("_reconstruct", "numpy._core.multiarray"),
    ("scalar", "numpy.core.multiarray"),
    ("scalar", "numpy._core.multiarray"),
    ("_frombuffer", "numpy.core.numeric"),
    ("_frombuffer", "numpy._core.numeric"),
    ("ndarray", "numpy"),
    ("dtype", "numpy"),
}


def read_file(path: str | os.PathLike) -> Mapping[str, Any]:
    """The parameters in a file, nested or flat.

    Args:
        path: Path of an `.npz`, or of a pickled dict of arrays. The authors' files are
            pickles, though they are named `.npz`.

    Raises:
        ValueError: If a pickle asks for anything but dicts and NumPy's arrays. Nothing
            of it is run.
        OSError: If the file cannot be read.
    """
    if zipfile.is_zipfile(path):
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    with open(path, "rb") as file:
        try:
            return _Unpickler(file).load()
        except (pickle.UnpicklingError, EOFError, IndexError, KeyError) as error:
            raise ValueError(
                f"File {os.fspath(path)!r} is no .npz and no pickled dict of arrays: "
                f"{error}"
            ) from error


class _Unpickler(pickle.Unpickler):
    """Reads dicts and arrays, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if (name, module) in _NUMPY:
            return super().find_class(module, name)
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module.split(".")[0] == "haiku" and name in ("FlatMapping", "frozendict"):
            return dict  # as they are pickled: made of a dict
        raise ValueError(
            f"The pickle asks for {module}.{name}, where dicts and NumPy's arrays are "
            "allowed. Nothing of it was run. Load it where you trust it, and give its "
            "dict."
        )

"""Functional models of any depth: the one place that raises Python's recursion limit.

Keras sorts the calls of a functional model by recursion, one Python frame for each call
in a row, whenever it makes the model: also where it loads or clones one. Python's
default limit ends that near 1,000 calls.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import keras

# Keras recurses in pure Python, which takes no C stack from Python 3.11 on, the lowest
# version that setup.py allows: 20,000 calls in a row are measured.
_LIMIT = 100_000
# The limit is one for all threads: without a lock, the thread that is done first would
# take it from the others.
_LOCK = threading.RLock()


@contextlib.contextmanager
def deep_graphs() -> Iterator[None]:
    """Lets Keras make functional models of nearly 100,000 calls in a row.

    The recursion limit of the process is the old one afterwards.
    """
    with _LOCK:
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(max(before, _LIMIT))
        try:
            yield
        finally:
            sys.setrecursionlimit(before)


class DeepModel(keras.Model):
    """A functional `keras.Model` of any depth, which starts fast."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with deep_graphs():
            super().__init__(*args, **kwargs)

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "DeepModel":
        # The models inside are Keras's own.
        with deep_graphs():
            return super().from_config(config, custom_objects)

    def make_train_function(self, force: bool = False) -> Any:
        # Keras would build the optimizer while TensorFlow traces the training step,
        # which is then traced a second time.
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves the model as `keras.Model.save` does, in the format `.keras`.

        Raises:
            ValueError: If `filepath` ends in `.h5` or `.hdf5`. This format keeps the
                name of a model's class without its package, by which Keras finds it.
        """
        if str(filepath).endswith((".h5", ".hdf5")):
            path = os.fspath(filepath)
            native = os.path.splitext(path)[0] + ".keras"
            raise ValueError(
                "Argument `filepath` must end in .keras. "
                f"Received: filepath={path!r}. Keras could not load an HDF5 file "
                f"again, which holds the class {type(self).__name__} without its "
                f"package. Save {native!r}, or the weights alone by `save_weights`."
            )
        super().save(filepath, *args, **kwargs)

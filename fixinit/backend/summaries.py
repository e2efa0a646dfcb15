"""Scalars for TensorBoard, whose files TensorFlow writes on every backend."""

import os
from collections.abc import Mapping


class SummaryWriter:
    """Writes scalars to a directory that TensorBoard reads.

    Args:
        log_dir: Path of the directory.
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        import tensorflow as tf

        self._tf = tf
        self._writer = tf.summary.create_file_writer(str(log_dir))

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Writes a dict from tags to floats."""
        with self._writer.as_default(step=step):
            for tag, value in scalars.items():
                self._tf.summary.scalar(tag, value)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

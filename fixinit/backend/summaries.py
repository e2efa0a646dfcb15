"""Scalars for TensorBoard, whose files TensorFlow writes on every backend."""


class SummaryWriter:
    """Writes scalars to a directory that TensorBoard reads.

    Args:
        log_dir: Path of the directory.
    """

    def __init__(self, log_dir):
        import tensorflow as tf

        self._tf = tf
        self._writer = tf.summary.create_file_writer(str(log_dir))

    def write(self, scalars, step):
        """Writes a dict from tags to floats."""
        with self._writer.as_default(step=step):
            for tag, value in scalars.items():
                self._tf.summary.scalar(tag, value)
        self._writer.flush()

    def close(self):
        self._writer.close()

"""All visible devices, through Keras's or TensorFlow's own data parallelism."""

import contextlib

import keras
import tensorflow as tf


def leave_gpus_to_backend():
    """Keeps TensorFlow, where it only feeds data, from taking the GPUs' memory."""
    if keras.backend.backend() != "tensorflow":
        with contextlib.suppress(RuntimeError):  # It has started, and has its devices.
            tf.config.set_visible_devices([], "GPU")


def data_parallel():
    """Distributes training over all devices, if there are several.

    Returns:
        `(scope, num_devices)`: the context in which to build, compile and restore the
        model, and the number of devices that share each batch.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        num_devices = len(keras.distribution.list_devices())
        if num_devices > 1:
            keras.distribution.set_distribution(keras.distribution.DataParallel())
        return contextlib.nullcontext(), num_devices
    if backend == "tensorflow":
        devices = tf.config.list_logical_devices("GPU")
        devices = devices or tf.config.list_logical_devices("CPU")
        if len(devices) > 1:
            strategy = tf.distribute.MirroredStrategy([d.name for d in devices])
            return strategy.scope(), len(devices)
    return contextlib.nullcontext(), 1


def jit_compile(choice, num_devices):
    """The `jit_compile` argument of `compile` for `auto`, `on` or `off`."""
    if choice != "auto":
        return choice == "on"
    if keras.backend.backend() == "tensorflow":
        # On the CPU, TensorFlow's own convolutions are faster than XLA's. Across
        # devices, gradients are summed outside of what XLA can compile.
        return bool(tf.config.list_logical_devices("GPU")) and num_devices == 1
    return "auto"


def check(settings, num_devices, accumulates=False):
    """Refuses settings that several devices do not support.

    Args:
        settings: What has `batch_size` and `jit_compile`.
        num_devices: int.
        accumulates: bool. Whether gradients of several batches make one update.

    Raises:
        ValueError: If they do not.
    """
    if num_devices == 1:
        return
    where = f"on {num_devices} devices"
    if settings.batch_size % num_devices:
        raise ValueError(
            f"Flag --batch_size must be a multiple of {num_devices}, the number of "
            f"visible devices. Received: --batch_size={settings.batch_size}"
        )
    if keras.backend.backend() != "tensorflow":
        return
    # TensorFlow cannot wait for the other devices inside a conditional or inside a
    # function that XLA compiles.
    if accumulates:
        raise ValueError(
            f"TensorFlow cannot accumulate gradients {where}. Make one visible, or "
            "set KERAS_BACKEND=jax."
        )
    if settings.jit_compile == "on":
        raise ValueError(
            f"TensorFlow cannot compile a training step {where} with XLA. Pass "
            "--jit_compile=off, make one visible, or set KERAS_BACKEND=jax."
        )

"""Training step by step, and how good a network is whatever its loss."""

import keras
import numpy as np

# Samples that a network is judged by.
JUDGED = 600


def train(model, x, y, batch_size, steps, every, seed, may_raise=False):
    """Trains for so many steps.

    Args:
        may_raise: bool. Whether Keras may refuse the data, which ends the training.

    Returns:
        `(losses, qualities)`: that of every batch before its step; and `quality` before
        the first step and every so many, as far as training got.
    """
    rng = np.random.default_rng(seed)
    order = np.concatenate(
        [rng.permutation(len(x)) for _ in range(1 + batch_size * steps // len(x))]
    )
    losses, qualities = [], [quality(model, x, y)]
    for step in range(steps):
        picked = order[step * batch_size : (step + 1) * batch_size]
        model.reset_metrics()
        try:
            losses.append(float(model.train_on_batch(x[picked], y[picked])))
        except Exception:  # Each backend has its own for labels out of range.
            if may_raise:
                break
            raise
        if (step + 1) % every == 0:
            qualities.append(quality(model, x, y))
    return losses, qualities


def quality(model, x, y):
    """Accuracy of labels, or the share of variance that is explained; at least 0."""
    x, y = x[:JUDGED], np.asarray(y)[:JUDGED]
    outputs = keras.ops.convert_to_numpy(model(x, training=False))
    if not np.isfinite(outputs).all():
        return 0.0
    if outputs.shape[-1] > 1:
        return float(np.mean(outputs.argmax(-1) == y))
    outputs, y = outputs[:, 0], y.reshape(-1).astype("float64")
    if set(np.unique(y)) <= {0.0, 1.0}:
        return float(np.mean((outputs > 0.5) == y))
    return max(0.0, 1 - float(np.mean((y - outputs) ** 2) / np.var(y)))

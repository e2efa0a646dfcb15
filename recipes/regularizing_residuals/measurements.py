"""How much a trained network depends on single blocks, and on noise."""

import numpy as np
from keras import ops

import fixinit

BATCH_SIZE = 128
# Every eighth sample of a batch is one whose logits are watched.
WATCHED = slice(None, None, 8)


def blocks(model):
    return [x for x in model.layers if isinstance(x, fixinit.layers.ResidualBlock)]


def without(model, x, removed=None):
    """The outputs of a model of which one block is left out."""
    for layer in model.layers[1:]:
        if layer is not removed:
            x = layer(x, training=False)
    return x


def accuracy(model, x, y, removed=None):
    """The share of samples that a model, or what is left of it, gets right."""
    logits = ops.convert_to_numpy(without(model, x, removed))
    return float(np.mean(logits.argmax(axis=1) == y))


def branch_ratios(model, x):
    """Root mean square of every branch's part in the sum, over the shortcut's."""
    ratios = []
    for layer in model.layers[1:]:
        before, x = x, layer(x, training=False)
        if isinstance(layer, fixinit.layers.ResidualBlock):
            branch, shortcut = (ops.convert_to_numpy(v) for v in (x - before, before))
            ratios.append(np.sqrt(np.mean(branch**2) / np.mean(shortcut**2)))
    return ratios


def noise(model, x, seed, draws=16):
    """What training adds to the logits of a sample: its deviation over theirs.

    The same samples stand in batches of which all others are drawn.
    """
    rng = np.random.default_rng(seed)
    # Running averages move in training mode.
    weights = model.get_weights()
    found = []
    for _ in range(draws):
        batch = x[rng.choice(len(x), BATCH_SIZE, replace=len(x) < BATCH_SIZE)]
        batch[WATCHED] = x[: len(batch[WATCHED])]
        found.append(ops.convert_to_numpy(model(batch, training=True))[WATCHED])
    model.set_weights(weights)
    found = np.array(found)
    variance = found.mean(axis=0).var()
    # A head of zeros has no logits yet.
    return np.sqrt(found.var(axis=0).mean() / variance) if variance else 0.0

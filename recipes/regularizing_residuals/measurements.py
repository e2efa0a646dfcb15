"""Accuracy of a trained network without a block, sizes of branches, and noise.

The networks are chains of layers, and a block is removed by skipping its layer.
`fixinit.diagnostics.Lesion` drops branches and keeps their shortcuts, which the network
without shortcuts does not have.
"""

import numpy as np
from keras import ops

from recipes.regularizing_residuals.networks import blocks

BATCH_SIZE = 128
# Every eighth sample of a batch is one whose logits are compared.
WATCHED = slice(None, None, 8)


def without(model, x, removed=None):
    """The outputs of a model without one of its layers."""
    for layer in model.layers[1:]:
        if layer is not removed:
            x = layer(x, training=False)
    return x


def accuracy(model, x, y, removed=None):
    """The share of samples that a model without one of its layers classifies right."""
    logits = ops.convert_to_numpy(without(model, x, removed))
    return float(np.mean(logits.argmax(axis=1) == y))


def branch_ratios(model, x):
    """Root mean square of every branch over that of its shortcut."""
    ratios, found = [], blocks(model)
    for layer in model.layers[1:]:
        before, x = x, layer(x, training=False)
        if layer in found:
            branch, shortcut = (ops.convert_to_numpy(v) for v in (x - before, before))
            ratios.append(np.sqrt(np.mean(branch**2) / np.mean(shortcut**2)))
    return ratios


def noise(model, x, seed, draws=16):
    """Standard deviation of a sample's logits in training mode, over that of logits.

    The same samples stand in batches whose other samples are drawn at random.
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

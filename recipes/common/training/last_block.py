"""The end of the last block of a network, and what stands there."""

import keras
import numpy as np

import fixinit


def last_block(model):
    """The call that ends the last block; without, the last weights before the head."""
    graph = fixinit.graph.trace(model)
    blocks = fixinit.graph.find_blocks(graph)
    if blocks:
        return blocks[-1].merge.name
    return [call for call in graph.calls if call.has_weights][-2].name


def at_last_block(model, place, x):
    """What stands there, with the statistics of the batch where they are used."""
    graph = fixinit.graph.trace(model)
    # The network ends there.
    graph.outputs = [c.outputs[0] for c in graph.calls if c.name == place]
    with keras.StatelessScope():
        (y,), _ = fixinit.graph.run(graph, [x], fixinit.graph.Hook(), training=True)
    y = keras.ops.convert_to_numpy(y).astype("float64")
    return {
        "variance": y.var(axis=tuple(range(y.ndim - 1))).mean(),
        "mean_square": np.mean(y**2),
    }

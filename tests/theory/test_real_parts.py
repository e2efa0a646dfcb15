"""Predictions for backbones of keras-hub, held against measurement."""

import keras
import numpy as np
import pytest

from fixinit import graph, theory
from fixinit.theory.registry import find
from tests.marks import on_torch

TOKENS, BATCH = 12, 16
TEXT = {"vocabulary_size": 60, "num_layers": 1, "hidden_dim": 32}
HEADS = {"num_heads": 2, "intermediate_dim": 64, "max_sequence_length": TOKENS}
GROUPED = {"num_query_heads": 4, "num_key_value_heads": 2, "intermediate_dim": 64}
NETWORKS = {
    "BertBackbone": {**TEXT, **HEADS},
    "GPT2Backbone": {**TEXT, **HEADS},
    "LlamaBackbone": {**TEXT, **GROUPED},
}


class MeanSquares(graph.Hook):
    """The mean squares of the first outputs of all calls, in their order."""

    def __init__(self):
        self.found = []

    def leave(self, call, outputs, control):
        y = keras.ops.convert_to_numpy(outputs[0])
        is_float = np.issubdtype(y.dtype, np.floating)
        self.found.append(np.mean(y.astype("float64") ** 2) if is_float else np.nan)
        return outputs


def measured(model, rng):
    data = {
        name: np.ones((BATCH, TOKENS), "int32")
        if "mask" in name
        else rng.integers(0, 2 if "segment" in name else 60, (BATCH, TOKENS))
        for name in model.input
    }
    arrays = keras.tree.flatten(data)
    tensors = [keras.ops.convert_to_tensor(x, "int32") for x in arrays]
    with graph.opened(model, lambda layer: find(layer) is not None, data) as inside:
        hook = MeanSquares()
        with keras.StatelessScope():
            graph.run(graph.trace(inside.model), tensors, hook)
    return hook.found


@on_torch
@pytest.mark.parametrize("name", NETWORKS)
def test_backbones(name):
    hub = pytest.importorskip("keras_hub")
    rng, found = np.random.default_rng(0), []
    for seed in range(8):
        keras.utils.set_random_seed(seed)
        model = getattr(hub.models, name)(**NETWORKS[name])
        found.append(measured(model, rng))
    shapes = [(TOKENS,)] * len(model.input)
    rows = theory.predict(model, input_shape=shapes).layers
    squares = np.array([row.mean_square for row in rows if "." not in row.name[-3:]])
    real = np.mean(found, axis=0)
    known = np.isfinite(real) & (real > 0)
    gaps = np.abs(np.log2(squares[known] / real[known]))
    assert len(gaps) > 10
    assert np.median(gaps) < 0.1

"""State of layers that a converted model keeps."""

import tempfile
from typing import Any

import keras
import numpy as np

from fixinit import _keras
from fixinit.layers import Parameter


def copy_state(rewriter: Any, graph: Any) -> None:
    """Statistics and vocabularies of the data stay, as `TextVectorization` has them."""
    for call in graph.calls:
        made = rewriter.made.get(id(call.operation))
        if isinstance(made, keras.layers.Layer) and call.body is None:
            # Also inside of wrappers and pipelines.
            pairs = zip(
                _keras.flatten_layers(call.operation),
                _keras.flatten_layers(made),
                strict=False,
            )
            for old, new in pairs:
                if hasattr(old, "adapt") and old.built and type(new) is type(old):
                    _copy_own_state(old, new)


def _copy_own_state(old: Any, new: Any) -> None:
    store: dict[str, Any] = {}
    old.save_own_variables(store)
    # Copies: JAX takes the arrays of one model away where it predicts with the other.
    copies = {key: np.array(keras.ops.convert_to_numpy(x)) for key, x in store.items()}
    new.load_own_variables(copies)
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)


def copy_kept(rewriter: Any, plan: Any) -> None:
    """Weights that nothing draws stay: those of frozen layers, and single weights."""
    for call in plan.graph.calls:
        old, new = call.operation, rewriter.made.get(id(call.operation))
        frozen = not getattr(old, "trainable", True) and old.weights
        kept = frozen or isinstance(old, Parameter)
        if kept and id(old) not in plan.edits.layers and call.body is None:
            new.set_weights(old.get_weights())

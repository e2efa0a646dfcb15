"""Deletes the normalization of a model and puts nothing in its place."""

from typing import Any

import keras

from fixinit._checked import checked_but
from fixinit.conversion import checks, kinds
from fixinit.conversion.edits import Edits
from fixinit.conversion.rewrite import Rewriter
from fixinit.graph import trace


@checked_but("keep")
def delete_normalization(model: keras.Model, keep: Any = ()) -> keras.Model:
    """Copies a model without its normalization and changes nothing else.

    It is the baseline of `fixinit.convert`: what the network loses without its
    normalization, if no scheme takes over. The copy has new weights, drawn by the
    model's own initializers.

    Example:

    >>> inputs = keras.Input((8,))
    >>> x = keras.layers.BatchNormalization()(keras.layers.Dense(8)(inputs))
    >>> bare = fixinit.conversion.delete_normalization(keras.Model(inputs, x))
    >>> len(bare.layers), len(bare.weights)
    (2, 2)

    Args:
        model: Functional or Sequential `keras.Model`, built.
        keep: Tuple of names of layers, names of classes, or classes: normalization
            that stays.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        TypeError: If the model has no graph, as subclasses with a `call` of their own.
        ValueError: If `keep` names no layer, and for models with normalization, or
            Lambda layers that read weights, that the converter cannot reach.
    """
    graph = trace(model)
    keeps = checks.keeper(keep, graph, graph)
    checks.check_graph(graph, keeps, {})
    edits = Edits()
    for call, _ in graph.walk():
        if kinds.is_normalization(call.operation) and not keeps(call.operation):
            edits.layers[id(call.operation)] = None
    return Rewriter(edits).model(model, record={})

"""What is left of a model when normalization goes and nothing takes its place."""

from fixinit.conversion import checks, kinds
from fixinit.conversion.rewrite import Edits, Rewriter
from fixinit.graph import trace


def delete_normalization(model, keep=()):
    """A copy of a model with its normalization deleted, and nothing else changed.

    For comparison with `fixinit.convert`: what most networks need normalization for
    shows without it. The copy has new weights, from the model's own initializers.

    Example:

    >>> inputs = keras.Input((8,))
    >>> x = keras.layers.BatchNormalization()(keras.layers.Dense(8)(inputs))
    >>> bare = fixinit.conversion.delete_normalization(keras.Model(inputs, x))
    >>> len(bare.layers), len(bare.weights)
    (2, 2)

    Args:
        model, keep: As for `fixinit.convert`.

    Returns:
        A functional `keras.Model`.

    Raises:
        As `fixinit.convert`.
    """
    graph = trace(model)
    keeps = checks.keeper(keep, graph)
    checks.check_graph(graph, keeps)
    edits = Edits()
    for call, _ in graph.walk():
        if kinds.is_normalization(call.operation) and not keeps(call.operation):
            edits.layers[id(call.operation)] = None
    return Rewriter(edits).model(model, record={})

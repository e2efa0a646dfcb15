"""Tells whether the normalization of a model can be folded into weights."""

import keras

from fixinit import _keras
from fixinit.conversion import kinds, statistics
from fixinit.graph.functional import functional_of


def check_foldable(model, graph, keep, has_data=False):
    """Refuses normalization by what every single input or batch says.

    Args:
        model: `keras.Model`.
        graph: Its graph.
        keep: Callable from a layer to whether it stays.
        has_data: bool. Whether there are inputs to measure constants on.
    """
    trained = list(_called_in_training(model, keep))
    if trained:
        raise ValueError(
            f"Models inside are called with training=True: {trained}. Their "
            "BatchNormalization takes the batch in test mode too, which no weights can "
            "do. Pass keep=['BatchNormalization'], or weights='initialize'."
        )
    stuck = []
    for call, _ in graph.walk():
        if not kinds.has_statistics(call.operation) or keep(call.operation):
            continue
        arguments = {} if call.node is None else call.node.arguments.kwargs
        if arguments.get("training"):
            raise ValueError(
                f"`{call.name}` is called with training=True: it normalizes by the "
                "batch in test mode too, which no weights can do. Pass "
                f"keep={[call.operation.name]}, or weights='initialize'."
            )
        layer = getattr(call.operation, "layer", call.operation)
        is_measured = has_data and statistics.is_measurable(call.operation)
        if not is_measured and not isinstance(layer, keras.layers.BatchNormalization):
            stuck.append(f"{call.name} ({type(layer).__name__})")
    if stuck:
        raise ValueError(
            "Only BatchNormalization has moving statistics that can be folded into "
            f"weights. Received: {stuck}. {_what_else(has_data)} Pass keep=[...] with "
            "their names or classes to leave them where they are, or "
            "weights='initialize'."
        )


def _what_else(has_data):
    kinds_of = ", ".join(kind.__name__ for kind in statistics.MEASURED)
    if has_data:
        return f"On data=... those of {kinds_of} over one axis are measured."
    return (
        f"For {kinds_of} pass data=..., a batch of inputs that constants in the place "
        "of their statistics are measured on."
    )


def _called_in_training(model, keep):
    """The names of models whose BatchNormalization is always in training mode."""
    for node in _keras.calls(functional_of(model)):
        inner = node.operation
        if isinstance(inner, keras.Model):
            by_batch = any(
                isinstance(layer, keras.layers.BatchNormalization) and not keep(layer)
                for layer in _keras.flatten_layers(inner)
            )
            if by_batch and node.arguments.kwargs.get("training"):
                yield inner.name
            yield from _called_in_training(inner, keep)

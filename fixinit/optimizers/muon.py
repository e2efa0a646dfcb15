"""What Keras's Muon must leave to Adam."""

import re
from collections.abc import Sequence

import keras

from fixinit import _keras
from fixinit._checked import checked
from fixinit.layers import Stack
from fixinit.layers.facts import inherited_facts
from fixinit.optimizers.heads import find_heads


@checked
def muon_exclusions(
    model: keras.Model, head: Sequence[keras.layers.Layer] | None = None
) -> list[str]:
    """The patterns of `exclude_layers` with which `keras.optimizers.Muon` fits a model.

    Muon makes the update of every matrix orthogonal. Keras takes every variable of two
    axes for one, and leaves others to Adam. These have two axes and are none:

    * scalars, biases and scales of channels in a `fixinit.layers.Stack`, whose first
      axis counts the blocks;
    * weights that act element by element, as positions that are learned.

    The classification layer and embeddings are matrices that Muon is not made for, and
    are among the patterns too.

    Kernels in a stack have three axes, and Keras trains them with Adam: build models
    with `stacked=False` for Muon. It trains kernels of convolutions with Adam as well.

    Example:

    >>> model = fixinit.models.ResidualMLP(2, 8, scheme="fixup", stacked=False)
    >>> fixinit.optimizers.muon_exclusions(model)
    ['^head/kernel$']
    >>> optimizer = keras.optimizers.Muon(
    ...     0.01, exclude_layers=fixinit.optimizers.muon_exclusions(model)
    ... )

    Args:
        model: Built `keras.Model`.
        head: List of the classification layers, by default those that the graph of the
            model ends in.

    Returns:
        List of regular expressions, each of the whole path of a variable.

    Raises:
        ValueError: If the head is not known, as of a subclassed model.

    Reference:

    - [Jordan et al., 2024](https://kellerjordan.github.io/posts/muon/)
    """
    heads = {id(layer) for layer in (find_heads(model) if head is None else head)}
    excluded: dict[int, str] = {}
    for layer in _keras.flatten_layers(model):
        if isinstance(layer, Stack):
            weights = list(layer.stacked_variables)
        elif id(layer) in heads:
            weights = list(layer.weights)
        elif _is_no_matrix(layer):
            weights = list(_keras.own_weights(layer))
        else:
            continue
        excluded |= {id(weight): weight.path for weight in weights}
    return [
        f"^{re.escape(excluded[id(variable)])}$"
        for variable in model.trainable_variables
        if id(variable) in excluded and len(variable.shape) == 2
    ]


def _is_no_matrix(layer: keras.layers.Layer) -> bool:
    """Whether the weights of a layer multiply by no matrix."""
    facts = inherited_facts(layer)
    acts = facts.normalizes or facts.activates or facts.scales_branch
    embeds = isinstance(layer, keras.layers.Embedding)
    return embeds or acts or facts.elementwise or facts.constant

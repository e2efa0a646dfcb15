"""Adaptive gradient clipping of the variables of a model."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit import _keras
from fixinit._checked import checked_but
from fixinit._typing import Identifier
from fixinit._validation import check_bool, check_sequence
from fixinit.optimizers import heads
from fixinit.optimizers.clippable import clippable
from fixinit.optimizers.clipping_optimizer import AdaptiveClipping
from fixinit.optimizers.units import units_of


@checked_but("optimizer", "factor", "epsilon", "head")
def adaptive_clipping(
    optimizer: Identifier,
    model: keras.Model,
    factor: float = 0.01,
    epsilon: float = 1e-3,
    clip_head: bool = False,
    head: Any = None,
) -> AdaptiveClipping:
    """Clips the gradients of a model unit by unit, relative to its weights.

    The layers of the model say what the units of their weights are
    (`fixinit.layers.Facts.units`): the outputs of dense, convolutional, depthwise and
    recurrent kernels, the channels of every head for queries, keys and values, the
    vectors of an embedding; biases, scalars, and the weights of normalizations are one
    unit each. In a `fixinit.layers.Stack`, every block has its own. Of weights of which
    no layer says it, the last axis counts the units; vectors are one unit.

    Example:

    >>> model = fixinit.models.CifarResNet(depth=8, scheme="skip_init")
    >>> sgd = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    >>> optimizer = fixinit.optimizers.adaptive_clipping(sgd, model, factor=0.02)
    >>> optimizer.units["stem/kernel"], optimizer.units["head/kernel"]
    ((3,), None)
    >>> model.compile(optimizer, "sparse_categorical_crossentropy")

    Args:
        optimizer: Keras optimizer that is not built, its name or its config. It may
            hand variables to others, as `fixinit.optimizers.by_role` makes them.
        model: Built `keras.Model` that the optimizer is to train.
        factor: float, above 0. The longest gradient of a unit, relative to the norm of
            its weights. The authors take 0.01 for batches of 4096 and 0.02 to 0.16 for
            smaller ones.
        epsilon: float, above 0. Norm that weights have at least, so that those that
            start at zero are trained.
        clip_head: bool. Whether the classification layer is clipped like the others,
            which the authors found to be worse.
        head: The classification layer, a list of such layers, or `[]`, for models of
            which the graph does not show it. By default it is read off the graph.

    Returns:
        `fixinit.optimizers.AdaptiveClipping`. It is saved with the model; a
        `keras.optimizers.LossScaleOptimizer` goes around it.

    Raises:
        ValueError: If a number is outside its range, if the model has no weights yet,
            if the head is not known, if two variables of different units share a path,
            or if `optimizer` is built or unknown.
        TypeError: If `optimizer` scales losses or clips adaptively itself, or if
            clipping means nothing to it: `keras.optimizers.Lion` and `Muon`.

    Reference:

    - [Brock et al., 2021](https://arxiv.org/abs/2102.06171), section 4.
    """
    optimizer = clippable("optimizer", optimizer)
    check_bool("clip_head", clip_head)
    if not model.built or not model.weights:
        raise ValueError(
            f"Argument `model` has no weights yet. Received: `{model.name}`. Call it "
            "on data, or build it, before it gets its optimizer."
        )
    left_out = set()
    for layer in _heads(model, clip_head, head):
        left_out |= {id(v) for v in layer.variables}
    axes_of = units_of(model)
    units: dict[str, tuple[int, ...] | None] = {}
    for variable in model.variables:
        if id(variable) not in axes_of:
            continue
        axes = None if id(variable) in left_out else axes_of[id(variable)]
        if units.setdefault(variable.path, axes) != axes:
            raise ValueError(
                "Variables of a model that are clipped must have paths of their own. "
                f"Received two with the path {variable.path!r}, whose units differ. "
                "Give the layers that hold them different names."
            )
    return AdaptiveClipping(optimizer, units, factor, epsilon)


def _heads(
    model: keras.Model, clip_head: bool, head: Any
) -> Sequence[keras.layers.Layer]:
    """The layers that are not clipped."""
    if head is None:
        return [] if clip_head else heads.find_heads(model)
    if clip_head:
        raise ValueError(
            "Argument `head` says what is left out, and `clip_head=True` that nothing "
            "is. Pass one of the two."
        )
    single = isinstance(head, keras.layers.Layer)
    given = [head] if single else check_sequence("head", head, "a list of layers")
    known = {id(layer) for layer in _keras.flatten_layers(model)}
    for layer in given:
        if id(layer) not in known:
            raise ValueError(
                f"Argument `head` must be layers of the model `{model.name}`. "
                f"Received: {layer!r}"
            )
    return given

"""Which optimizers can do with adaptively clipped gradients."""

import keras

from fixinit import _keras
from fixinit._typing import Identifier
from fixinit._validation import check_keras


def clippable(argument: str, optimizer: Identifier) -> keras.optimizers.Optimizer:
    """A Keras optimizer that is not built and that can do with clipped gradients."""
    found = optimizer
    if isinstance(optimizer, (str, dict)):
        found = check_keras(argument, optimizer, keras.optimizers.get, "an optimizer")
    if not isinstance(found, keras.optimizers.Optimizer):
        raise TypeError(
            f"Argument `{argument}` must be a Keras optimizer, its name or its config. "
            f"Received: {optimizer!r}"
        )
    if isinstance(found, keras.optimizers.LossScaleOptimizer):
        raise TypeError(
            f"Argument `{argument}` scales the loss, and clipping needs gradients that "
            "are unscaled. Received: a keras.optimizers.LossScaleOptimizer. Wrap the "
            "other way round: keras.optimizers.LossScaleOptimizer(adaptive_clipping("
            "inner_optimizer, model)). `compile` does so by itself for models of the "
            "policy mixed_float16."
        )
    if hasattr(found, "inner_optimizer"):
        raise TypeError(
            f"Argument `{argument}` wraps an optimizer, which it clips already. Pass "
            f"its `inner_optimizer`. Received: {found!r}"
        )
    for part in _keras.parts(found):
        check_clippable(argument, part)
    if found.built:
        raise ValueError(
            f"Argument `{argument}` is built already, so its state belongs to another "
            "model. Pass a new optimizer."
        )
    return found


def check_clippable(argument: str, optimizer: keras.optimizers.Optimizer) -> None:
    """Refuses optimizers whose steps do not depend on the sizes of gradients."""
    reasons = {
        keras.optimizers.Lion: "takes the sign of every number",
        keras.optimizers.Muon: "makes the update of every kernel orthogonal",
    }
    for kind, reason in reasons.items():
        if isinstance(optimizer, kind):
            raise TypeError(
                f"Argument `{argument}` must be one whose steps get shorter with "
                f"gradients. keras.optimizers.{kind.__name__} {reason}, so "
                "that clipped gradients give steps of the same length. Pass another "
                "optimizer, such as keras.optimizers.SGD, or leave clipping out."
            )

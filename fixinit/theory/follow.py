"""Moments that go through a model, with an instrument that looks and intervenes."""

import keras
import numpy as np

from fixinit import graph
from fixinit.theory import walk
from fixinit.theory.moments import Moments
from fixinit.theory.registry import Setting
from fixinit.theory.rules.activations import activate


def follow(model, instrument, input_mean=0.0, input_variance=1.0, approximate=False):
    """Predicts the moments of every call, as `predict` does, and lets them be changed.

    Example:

    >>> class Print(fixinit.graph.Instrument):
    ...     def leave(self, call, outputs, control):
    ...         print(call.name, outputs[0].mean_square)
    ...         return outputs
    >>> model = keras.Sequential([keras.Input((8,), name="x"), keras.layers.ReLU()])
    >>> fixinit.theory.follow(model, Print())
    x 1.0
    re_lu 0.5
    []

    Args:
        model: As `fixinit.theory.predict` takes it.
        instrument: `fixinit.graph.Instrument`. What `enter` and `leave` get and return
            are `fixinit.theory.Moments` in the place of tensors, without a control.
            The blocks of stacks pass unseen.
        input_mean, input_variance: As in `predict`.
        approximate: bool. `True` takes what is joined as independent where the
            covariance is not known, and what a layer without a rule gives as
            independent values of the largest mean square that it reads. By default
            both are refused.

    Returns:
        List of the names of the calls without a rule; empty unless `approximate`.

    Raises:
        ValueError: As `predict`.
    """
    traced = graph.trace(model)
    statistics = (input_mean, input_variance, 0.0, 0.0)
    inputs = [walk.input_moments(traced.specs[v], statistics) for v in traced.inputs]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        walked = walk.Walk(instrument=instrument, approximate=approximate)
        walked.run(traced, inputs)
    return walked.assumed


def activation_gain(operation, variance=1.0):
    """What keeps the mean square through an activation: 2 for ReLU.

    Example:

    >>> fixinit.theory.activation_gain(keras.layers.ReLU())
    2.0

    Args:
        operation: Layer or operation that is an activation, or a layer that has one
            as its `activation`.
        variance: float, of what the activation reads.

    Returns:
        float, `variance / E[f(z)^2]` for a normal z of that variance. 1 for
        activations that are not 0 at 0, such as a sigmoid, behind which signals have a
        size of their own.

    Raises:
        ValueError: If the activation is not known.
    """

    def through(variance):
        setting = Setting(operation.name, False, None, (1,))
        x = Moments.inputs((1,), 0.0, variance)
        holds = hasattr(operation, "kernel_initializer") or hasattr(
            operation, "pointwise_initializer"
        )
        if isinstance(operation, keras.layers.Layer) and holds:
            return activate(x, operation.activation, setting)
        return walk.apply(operation, setting, [x], {})

    if through(0.0).mean_square > 0:
        return 1.0
    return variance / through(variance).mean_square

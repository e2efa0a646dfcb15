"""Moments that go through a model, with a hook that looks and intervenes."""

import keras
import numpy as np

from fixinit import graph
from fixinit.theory import walk
from fixinit.theory.moments import Moments
from fixinit.theory.registry import Setting
from fixinit.theory.rules.activations import activate


def propagate(model, hook, input_mean=0.0, input_variance=1.0, assume=None):
    """Predicts the moments of every call, as `predict` does, and lets them be changed.

    Example:

    >>> class Print(fixinit.graph.Hook):
    ...     def leave(self, call, outputs, control):
    ...         print(call.name, outputs[0].mean_square)
    ...         return outputs
    >>> model = keras.Sequential([keras.Input((8,), name="x"), keras.layers.ReLU()])
    >>> fixinit.theory.propagate(model, Print())
    x 1.0
    re_lu 0.5
    []

    Args:
        model: As `fixinit.theory.predict` takes it.
        hook: `fixinit.graph.Hook`. What `enter` and `leave` get and return
            are `fixinit.theory.Moments` in the place of tensors, without a control.
            The blocks of stacks pass unseen.
        input_mean, input_variance: As in `predict`.
        assume: Callable for calls whose effect the closed form does not know: from the
            layer or operation and the largest mean square that it reads to the one that
            it gives, in independent values. What is joined is then independent too,
            where the covariance is not known, and axes of unknown size have the size of
            `fixinit.graph.with_sizes`. By default all of this is refused.

    Returns:
        List of the names of the calls for which `assume` was asked.

    Raises:
        ValueError: As `predict`.
    """
    traced = graph.trace(model)
    statistics = (input_mean, input_variance, 0.0, 0.0)
    shapes = [traced.specs[v].shape for v in traced.inputs]
    if assume is not None:
        shapes = [graph.with_sizes(shape) for shape in shapes]
    inputs = [walk.input_moments(shape, statistics) for shape in shapes]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        walked = walk.Walk(hook=hook, assume=assume)
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

    if activation_square(operation, 0.0) > 0:
        return 1.0
    return variance / activation_square(operation, variance)


def activation_square(operation, variance=1.0):
    """The mean square that an activation makes of normal numbers.

    Example:

    >>> round(fixinit.theory.activation_square(keras.layers.Activation("tanh")), 3)
    0.394

    Args:
        operation: As in `activation_gain`.
        variance: float, of what the activation reads; its mean is 0.

    Raises:
        ValueError: If the activation is not known.
    """
    setting = Setting(operation.name, False, None, (1,))
    x = Moments.inputs((1,), 0.0, variance)
    holds = hasattr(operation, "kernel_initializer") or hasattr(
        operation, "pointwise_initializer"
    )
    if isinstance(operation, keras.layers.Layer) and holds:
        return activate(x, operation.activation, setting).mean_square
    return walk.apply(operation, setting, [x], {}).mean_square

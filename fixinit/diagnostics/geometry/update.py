"""Function update: the change of a model's outputs by a step, at any depth."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from fixinit._checked import checked
from fixinit._typing import Identifier
from fixinit._validation import MOST_SAMPLES, check_positive_int
from fixinit.diagnostics._shared.trial_optimizer import TrialOptimizer
from fixinit.diagnostics.geometry.weight_function import WeightFunction


@dataclasses.dataclass(frozen=True)
class FunctionUpdates:
    """Update of a model's outputs by each of some steps, by depth.

    Example:

    >>> updates = np.array([[1.0], [2.0], [4.0]])
    >>> fixinit.diagnostics.FunctionUpdates((4, 8, 16), updates).exponents.round(6)
    array([1.])

    Attributes:
        depths: Tuple of ints.
        updates: Array of shape `(len(depths), num_steps)`.
    """

    depths: tuple[int, ...]
    updates: np.ndarray

    @property
    def exponents(self) -> np.ndarray:
        """Array `(num_steps,)`: the p that fits `update ~ depth^p` best.

        0 where a step does the same at every depth; infinite where one overflows.
        """
        if not np.isfinite(self.updates).all():
            return np.where(np.isfinite(self.updates).all(axis=0), np.nan, np.inf)
        with np.errstate(divide="ignore"):
            return np.polyfit(np.log(self.depths), np.log(self.updates), 1)[0]


@checked
def function_update(
    model: keras.Model,
    x: Any,
    y: Any,
    optimizer: Identifier,
    loss: Identifier | None = None,
    num_steps: int = 1,
    training: bool = False,
) -> np.ndarray:
    """Measures the change of a model's outputs by each step of an optimizer.

        update_t = sqrt(mean((f(x; w_t) - f(x; w_(t-1)))^2))

    over all outputs for one batch, on which the steps are taken too. The model and the
    optimizer stay as they are.

    At initialization Fixup's head is zero: the first step moves nothing but the head.
    The steps from the third on move every weight.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=4, units=16, seed=0)
    >>> x, y = np.ones((8, 40), "float32"), np.zeros(8, "int32")
    >>> sgd = keras.optimizers.SGD(0.1)
    >>> updates = fixinit.diagnostics.function_update(model, x, y, sgd, num_steps=3)
    >>> updates.shape, bool(np.all(updates > 0))
    ((3,), True)

    Args:
        model: `keras.Model`, built.
        x: Batch of inputs.
        y: Their targets.
        optimizer: Keras optimizer or its name. Steps go on from its state if it is
            the one that trains the model, and start anew otherwise.
        loss: Keras loss, its name, or a callable `(y_true, y_pred)`, as `diagnose`
            takes it.
        num_steps: int.
        training: bool. Whether the model runs in training mode, for the gradients and
            the outputs. `True` lets BatchNormalization use the batch's statistics,
            which it needs at initialization. Running averages stay as they are.

    Returns:
        Array of length `num_steps`. Infinite where outputs overflow.

    Raises:
        TypeError: If the model has no graph, or inputs of another kind than it takes,
            or if the optimizer cannot be copied from its `get_config()`.
        ValueError: If it is not built, or if inputs or weights are not finite.

    Reference:

    - [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321), section 3.
    """
    check_positive_int("num_steps", num_steps, maximum=MOST_SAMPLES)
    function = WeightFunction(model, x, y, loss, training)
    trial = TrialOptimizer(model, optimizer)
    outputs = [function.outputs(trial.weights)]
    for _ in range(num_steps):
        _, gradients = function.loss_and_gradients(trial.weights)
        trial.step(gradients)
        outputs.append(function.outputs(trial.weights))
    with np.errstate(over="ignore", invalid="ignore"):
        changes = np.diff(np.stack(outputs), axis=0)
        updates = np.sqrt(np.mean(np.square(changes), axis=1))
    return np.where(np.isnan(updates), np.inf, updates)


@checked
def function_update_by_depth(
    build: Callable[[int], keras.Model],
    depths: Sequence[int],
    x: Any,
    y: Any,
    optimizer: Identifier,
    **kwargs: Any,
) -> FunctionUpdates:
    """Measures `function_update` of the same network at several depths.

    A coordinate check for depth: a network whose updates do not depend on its depth can
    be tuned while it is shallow.

    Example:

    >>> def build(depth):
    ...     return fixinit.models.ResidualMLP(depth, 16, stacked=True, seed=0)
    >>> x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    >>> found = fixinit.diagnostics.function_update_by_depth(
    ...     build, (4, 16), x, np.arange(8), "sgd", num_steps=3
    ... )
    >>> bool(np.all(np.abs(found.exponents) < 0.1))
    True

    Args:
        build: Callable from a depth to a model.
        depths: Two or more ints.
        x: Batch of inputs.
        y: Their targets.
        optimizer: Keras optimizer, or its name. It starts anew at every depth.
        **kwargs: Further arguments of `function_update`.

    Returns:
        `FunctionUpdates`.

    Raises:
        ValueError: If there are fewer than two depths.
    """
    depths = tuple(depths)
    if len(set(depths)) < 2:
        raise ValueError(
            "Argument `depths` must hold two depths or more, which are compared. "
            f"Received: depths={depths}"
        )
    updates = [
        function_update(build(depth), x, y, optimizer, **kwargs) for depth in depths
    ]
    return FunctionUpdates(depths, np.stack(updates))

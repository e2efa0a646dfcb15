"""Trial steps of an optimizer, on copies of the weights and of its state."""

import contextlib
from collections.abc import Sequence

import keras
from keras import ops

from fixinit import _keras
from fixinit._typing import Identifier, Tensor
from fixinit._validation import check_keras
from fixinit.optimizers import AdaptiveClipping


class TrialOptimizer:
    """Copy of an optimizer that steps on copies of a model's weights.

    Keras's `stateless_apply` would do, were it not refused on TensorFlow.

    The gradients are those of the loss itself: of an optimizer that scales it, as in
    mixed precision, the steps without the scale are made. Where gradients are
    accumulated over k batches, a step is what k equal ones give.

    Args:
        model: Built `keras.Model`. It stays as it is.
        optimizer: Keras optimizer or its name, which stays as it is. Steps go on from
            its state if it is the one that trains the model, and start anew otherwise.

    Raises:
        TypeError: If the optimizer cannot be copied from its configuration.
    """

    def __init__(self, model: keras.Model, optimizer: Identifier) -> None:
        given = check_keras(
            "optimizer", optimizer, keras.optimizers.get, "an optimizer"
        )
        given = unscaled(given)
        self._variables = [_copy(v) for v in model.trainable_variables]
        try:
            self._optimizer = type(given).from_config(given.get_config())
            pairs = list(zip(_parts(given), _parts(self._optimizer), strict=True))
        except Exception as error:
            raise TypeError(
                "Argument `optimizer` must be one that can be copied from its "
                f"`get_config()`. Received: {given!r}, which gives "
                f"{type(error).__name__}: {error} Give it, and its learning rate "
                "schedule, a complete `get_config`, and register their classes with "
                "`@keras.saving.register_keras_serializable()`."
            ) from error
        for old, new in pairs:
            new.loss_scale_factor = None
            _exclude_from_decay(old, new, model.trainable_variables, self._variables)
        self._optimizer.build(self._variables)
        self._take_state(model, given)
        self._num_batches = max(p.gradient_accumulation_steps or 1 for _, p in pairs)
        for _, new in pairs:
            _forget_accumulated(new)

    def _take_state(
        self, model: keras.Model, given: keras.optimizers.Optimizer
    ) -> None:
        trained = _keras.trained_variables(given) if given.built else []
        if [id(v) for v in trained] == [id(v) for v in model.trainable_variables]:
            pairs = zip(self._optimizer.variables, given.variables, strict=True)
            for state, value in pairs:
                state.assign(value)

    @property
    def weights(self) -> list[Tensor]:
        """List of tensors, like the model's trainable variables."""
        # Copies, as PyTorch's optimizers write into their variables.
        return [ops.copy(v.value) for v in self._variables]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Makes one step with a list of gradients."""
        for _ in range(self._num_batches):
            self._optimizer.apply(list(gradients), self._variables)


def unscaled(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer itself, or the one in what scales its loss in mixed precision."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer
    return optimizer


def _parts(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """The optimizer and those that it hands variables to."""
    if isinstance(optimizer, AdaptiveClipping):
        return [optimizer, *_parts(optimizer.inner_optimizer)]
    inner = getattr(optimizer, "groups", ()) or getattr(optimizer, "optimizers", ())
    return [optimizer, *inner]


def _exclude_from_decay(
    given: keras.optimizers.Optimizer,
    copy: keras.optimizers.Optimizer,
    originals: Sequence[keras.Variable],
    copies: Sequence[keras.Variable],
) -> None:
    """Excludes from decay the variables that `given` does; no config holds them."""
    excluded = [
        new
        for old, new in zip(originals, copies, strict=True)
        if _keras.is_excluded_from_decay(given, old)
    ]
    if excluded:
        copy.exclude_from_weight_decay(var_list=excluded)


def _forget_accumulated(optimizer: keras.optimizers.Optimizer) -> None:
    """Goes back to where accumulation has begun."""
    if not optimizer.gradient_accumulation_steps:
        return
    seen = _keras.num_batches_seen(optimizer)
    seen.assign_sub(seen % optimizer.gradient_accumulation_steps)
    for gradient in _keras.accumulated_gradients(optimizer):
        if gradient is not None:
            gradient.assign(ops.zeros(gradient.shape, gradient.dtype))


def _copy(variable: keras.Variable) -> keras.Variable:
    """A variable of the same path, by which optimizers tell variables apart."""
    *scopes, name = variable.path.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        # A copy of the value: a variable made from another's shares it on TensorFlow.
        copy = keras.Variable(ops.copy(variable.value), dtype=variable.dtype, name=name)
    copy.constraint = variable.constraint
    return copy

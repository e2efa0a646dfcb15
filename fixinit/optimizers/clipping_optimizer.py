"""Adaptive gradient clipping, around any Keras optimizer."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from fixinit import _keras
from fixinit._typing import Identifier, Tensor
from fixinit._validation import check_number, check_sequence, check_string
from fixinit.optimizers.clippable import check_clippable, clippable
from fixinit.optimizers.unit_norms import clip_units

# From the path of a variable to the axes that count its units, or `None`.
UnitAxes = Mapping[str, Sequence[int] | None]


class _Clipping:
    """Clips gradients by the paths of their variables; known to Keras as a function."""

    def __init__(self, units: UnitAxes, factor: float, epsilon: float) -> None:
        if not isinstance(units, Mapping):
            raise TypeError(
                "Argument `units` must be a dict from the paths of variables to the "
                f"axes that count their units. Received: units={units!r}. "
                "`fixinit.optimizers.adaptive_clipping` reads them off a model."
            )
        self.units = {
            check_string("units", path): None
            if axes is None
            else check_sequence("units", axes, (0,))
            for path, axes in units.items()
        }
        positive = "a number above 0"
        self.factor = check_number("factor", factor, positive, lambda x: x > 0)
        self.epsilon = check_number("epsilon", epsilon, positive, lambda x: x > 0)

    def know(self, variables: Sequence[keras.Variable]) -> None:
        """Refuses variables without units, and axes that they do not have."""
        for variable in variables:
            if variable.path not in self.units:
                raise ValueError(
                    f"Argument `units` lacks the variable {variable.path!r}. Make the "
                    "optimizer of the model that it trains, when this has all its "
                    "weights: `fixinit.optimizers.adaptive_clipping(optimizer, model)`."
                )
            axes, rank = self.units[variable.path], len(variable.shape)
            if not all(isinstance(a, int) and 0 <= a < rank for a in axes or ()):
                raise ValueError(
                    "Argument `units` must hold axes of its variables, from 0. "
                    f"Received: {axes} for {variable.path!r} of shape "
                    f"{tuple(variable.shape)}"
                )

    def __call__(
        self, gradients: list[Tensor], variables: list[keras.Variable]
    ) -> list[Tensor]:
        units = [self.units[v.path] for v in variables]
        return clip_units(gradients, variables, units, self.factor, self.epsilon)


@keras.saving.register_keras_serializable("fixinit")
class AdaptiveClipping(keras.optimizers.Optimizer):
    """Optimizer that clips the gradient of every unit relative to its weights.

        g_u <- g_u * factor * max(|w_u|, epsilon) / |g_u|

    wherever the norm |g_u| of a unit's gradient is larger than `factor` times the norm
    |w_u| of its weights, or than `factor * epsilon` where these are smaller. `units`
    says what the units of each variable are; `fixinit.optimizers.adaptive_clipping`
    reads that off a model.

    Gradients are clipped where `inner_optimizer` would clip them itself: behind
    unscaling and accumulation, in front of its own `clipnorm`, weight decay and update.
    So a `keras.optimizers.LossScaleOptimizer` goes around this one. Under
    `tf.distribute`, each replica clips its own gradients, as it does with `clipnorm`.

    Example:

    >>> units = {"dense/kernel": [1], "dense/bias": []}
    >>> optimizer = fixinit.optimizers.AdaptiveClipping("sgd", units, factor=0.02)
    >>> optimizer.factor
    0.02

    Args:
        inner_optimizer: Keras optimizer that is not built, its name or its config. It
            may hand variables to others, as `fixinit.optimizers.GroupedOptimizer`.
        units: Dict from the paths of variables to the axes that count their units: the
            norms are over the other axes. `[]` stands for a variable that is one unit,
            `None` for one that is not clipped.
        factor: float, above 0. The longest gradient of a unit, relative to its weights.
        epsilon: float, above 0. Norm that weights have at least.
        name: String. Name of the optimizer.

    Raises:
        ValueError: If a number is outside its range, if `inner_optimizer` is built or
            unknown, or, when the optimizer is built, if `units` lacks a variable or
            names an axis that it does not have.
        TypeError: If `inner_optimizer` scales losses or clips adaptively itself, or if
            clipping means nothing to it: `keras.optimizers.Lion` and `Muon`.

    Reference:

    - [Brock et al., 2021](https://arxiv.org/abs/2102.06171), section 4.
    """

    def __init__(
        self,
        inner_optimizer: Identifier,
        units: UnitAxes,
        factor: float = 0.01,
        epsilon: float = 1e-3,
        name: str | None = None,
    ) -> None:
        inner_optimizer = clippable("inner_optimizer", inner_optimizer)
        clipping = _Clipping(units, factor, epsilon)
        if name is not None:
            check_string("name", name)
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer
        self._clipping = clipping

    @property
    def factor(self) -> float:
        """The longest gradient of a unit, relative to its weights."""
        return self._clipping.factor

    @property
    def epsilon(self) -> float:
        """The norm that weights have at least."""
        return self._clipping.epsilon

    @property
    def units(self) -> dict[str, tuple[int, ...] | None]:
        """Dict from paths to the axes that count units, `None` without clipping."""
        return dict(self._clipping.units)

    @property
    def variables(self) -> list[keras.Variable]:
        return super().variables + self.inner_optimizer.variables

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """Those that `inner_optimizer` hands variables to, an error if there are none.

        Keras's callbacks ask for them.
        """
        return self.inner_optimizer.optimizers

    @property
    def learning_rate(self) -> Tensor:
        """The learning rate of the optimizer inside."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self) -> Tensor:
        return self.inner_optimizer.iterations

    @property
    def loss_scale_factor(self) -> float | None:
        """The factor of the loss of the optimizer inside, which unscales."""
        inner = getattr(self, "inner_optimizer", None)
        return None if inner is None else inner.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: float | None) -> None:
        # Keras's constructor sets it before there is an optimizer inside.
        if hasattr(self, "inner_optimizer"):
            self.inner_optimizer.loss_scale_factor = value

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        self._clipping.know(variables)
        self.inner_optimizer.build(variables)
        for part in _keras.parts(self.inner_optimizer):
            check_clippable("inner_optimizer", part)
            _keras.clip_before_update(part, self._clipping)
        super().build(variables)

    def apply(
        self,
        grads: list[Tensor | None],
        trainable_variables: list[keras.Variable] | None = None,
    ) -> None:
        if not self.built and trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            with keras.name_scope(self.name, caller=self):
                self.build(trainable_variables)
        self.inner_optimizer.apply(grads, trainable_variables)

    def finalize_variable_values(self, var_list: list[keras.Variable]) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)

    def exclude_from_weight_decay(
        self,
        var_list: list[keras.Variable] | None = None,
        var_names: list[str] | None = None,
    ) -> None:
        """Takes variables out of the weight decay of the optimizer inside."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def get_config(self) -> dict[str, Any]:
        units = self._clipping.units.items()
        return {
            "inner_optimizer": keras.optimizers.serialize(self.inner_optimizer),
            "units": {path: axes and list(axes) for path, axes in units},
            "factor": self.factor,
            "epsilon": self.epsilon,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "AdaptiveClipping":
        inner = keras.saving.deserialize_keras_object(
            config["inner_optimizer"], custom_objects
        )
        return cls(**{**config, "inner_optimizer": inner})

"""An optimizer whose groups of variables have their own rates."""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import keras

from fixinit import _keras
from fixinit._typing import Identifier, Tensor
from fixinit._validation import (
    check_keras,
    check_number,
    check_sequence,
    check_string,
)
from fixinit.optimizers.rules import Rule
from fixinit.optimizers.schedule import ScaledSchedule


@keras.saving.register_keras_serializable("fixinit")
class GroupedOptimizer(keras.optimizers.MultiOptimizer):
    """Optimizer that applies rules to groups of variables.

    `optimizer` trains all variables that no rule matches, and a copy of it, with its
    own learning rate and weight decay, each group of the others. `learning_rate` is
    that of `optimizer`; setting it, as callbacks do, keeps the ratios of all groups.
    `optimizers` are these optimizers, that of the other variables first.

    Example:

    >>> rules = [fixinit.optimizers.Rule("scalar", learning_rate=0.1)]
    >>> optimizer = fixinit.optimizers.GroupedOptimizer("sgd", rules)
    >>> optimizer.learning_rate = 0.5
    >>> {o.name: round(float(o.learning_rate), 2) for o in optimizer.optimizers}
    {'sgd': 0.5, 'sgd_scalars': 0.05}

    Args:
        optimizer: Keras optimizer that is not built and wraps no other, its name or
            its config.
        rules: List of `fixinit.optimizers.Rule`s. The first that matches a variable
            holds for it.
        loss_scale_factor: float. Factor of the loss, as Keras's optimizers take it.
        name: String. Name of the optimizer.

    Raises:
        ValueError: If the learning rate is not positive and finite, or if `optimizer`
            is built or unknown.
        TypeError: If `optimizer` is no plain Keras optimizer, or a rule no `Rule`.
    """

    def __init__(
        self,
        optimizer: Identifier,
        rules: Iterable[Rule],
        loss_scale_factor: float | None = None,
        name: str | None = None,
    ) -> None:
        rules = check_sequence("rules", rules, "a list of fixinit.optimizers.Rule")
        if loss_scale_factor is not None:
            loss_scale_factor = check_number(
                "loss_scale_factor",
                loss_scale_factor,
                "a positive number",
                lambda x: x > 0,
            )
        if name is not None:
            check_string("name", name)
        groups = _Groups(_plain_optimizer(optimizer), rules)
        super().__init__(groups, loss_scale_factor=loss_scale_factor, name=name)
        self._groups = groups

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, of which the first that matches a variable holds for it."""
        return self._groups.rules

    @property
    def optimizers(self) -> "list[Group]":
        """The optimizer of all variables that no rule matches, then those of groups."""
        copies = self._groups.copies.values()
        rest = Group(self, self._groups.default_optimizer, follows=False)
        return [rest, *(Group(self, copy, follows=True) for copy in copies)]

    @property
    def learning_rate(self) -> Tensor:
        """The learning rate of the variables that no rule matches."""
        return self._groups.default_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._groups.default_optimizer.learning_rate = value
        for (multiplier, _), optimizer in self._groups.copies.items():
            optimizer.learning_rate = _times(value, multiplier)

    def build(self, var_list: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(var_list)
        # Callbacks ask every group for its state, also one that no variable is in.
        for group in (self._groups.default_optimizer, *self._groups.values()):
            if not group.built:
                group.build([])
        for group in self._groups.values():
            variables = _keras.trained_variables(group)
            if all(_keras.is_excluded_from_decay(group, v) for v in variables):
                # On PyTorch, Keras's decay of no variables is an error.
                group.weight_decay = None

    def exclude_from_weight_decay(
        self,
        var_list: list[keras.Variable] | None = None,
        var_names: list[str] | None = None,
    ) -> None:
        """Takes variables out of the weight decay of every group."""
        for inner in self.optimizers:
            inner.exclude_from_weight_decay(var_list, var_names)

    def get_config(self) -> dict[str, Any]:
        return {
            "optimizer": keras.optimizers.serialize(self._groups.default_optimizer),
            "rules": [dataclasses.asdict(rule) for rule in self.rules],
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "GroupedOptimizer":
        optimizer = keras.saving.deserialize_keras_object(
            config["optimizer"], custom_objects
        )
        rules = [Rule(**rule) for rule in config["rules"]]
        return cls(**{**config, "optimizer": optimizer, "rules": rules})


def by_role(optimizer: Identifier, rules: Iterable[Rule]) -> GroupedOptimizer:
    """Trains groups of variables with their own learning rate and weight decay.

    Example:

    Scales, shifts and biases without weight decay, embeddings at half the rate:

    >>> Rule = fixinit.optimizers.Rule
    >>> optimizer = fixinit.optimizers.by_role(
    ...     keras.optimizers.AdamW(1e-3, weight_decay=0.1),
    ...     [
    ...         Rule("normalization", weight_decay=0.0),
    ...         Rule("bias", weight_decay=0.0),
    ...         Rule("embedding", learning_rate=0.5),
    ...     ],
    ... )
    >>> len(optimizer.optimizers)
    3

    Args:
        optimizer: Keras optimizer that is not built and wraps no other, its name or
            its config. It trains the variables that no rule matches.
        rules: List of `fixinit.optimizers.Rule`s. The first that matches a variable
            holds for it.

    Returns:
        `fixinit.optimizers.GroupedOptimizer`. Its `learning_rate` can be read and set,
        so callbacks work; a `global_clipnorm` applies to each group by itself.

    Raises:
        ValueError: If the learning rate is not positive and finite, or if `optimizer`
            is built or unknown.
        TypeError: If `optimizer` is no plain Keras optimizer, or a rule no `Rule`.
    """
    return GroupedOptimizer(optimizer, rules)


class Group:
    """The optimizer of one group, whose learning rate keeps its ratio to the others.

    Keras's callbacks read the rate of each of `MultiOptimizer.optimizers` and set it,
    to one number for all or to a multiple of its own. Under both, the rate of a group
    follows that of the optimizer without rules, and what it is set to changes nothing.

    Args:
        owner: `GroupedOptimizer`.
        optimizer: Keras optimizer of the group, whose attributes are the group's.
        follows: bool. `False` for the optimizer that the others follow.
    """

    def __init__(
        self,
        owner: GroupedOptimizer,
        optimizer: keras.optimizers.Optimizer,
        follows: bool,
    ) -> None:
        self._owner, self._optimizer, self._follows = owner, optimizer, follows

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_optimizer" not in vars(self):
            raise AttributeError(name)
        return getattr(self._optimizer, name)

    @property
    def learning_rate(self) -> Tensor:
        """The learning rate of the group."""
        return self._optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if not self._follows:
            self._owner.learning_rate = value


class _Groups:
    """The optimizers of groups of variables, as `MultiOptimizer` takes them."""

    def __init__(
        self, optimizer: keras.optimizers.Optimizer, rules: tuple[Rule, ...]
    ) -> None:
        self.default_optimizer = optimizer
        self.rules = rules
        # From multiples to copies: groups with equal ones share a copy.
        self.copies: dict[tuple[float, float], keras.optimizers.Optimizer] = {}
        for rule in rules:
            if not isinstance(rule, Rule):
                raise TypeError(
                    "Argument `rules` must be a list of fixinit.optimizers.Rule. "
                    f"Received: {rule!r}"
                )
            key = (rule.learning_rate, rule.weight_decay)
            if key != (1.0, 1.0) and key not in self.copies:
                taken = {copy.name for copy in self.copies.values()}
                name = _group_name(f"{optimizer.name}_{rule.group}", taken)
                self.copies[key] = _copy(optimizer, name, *key)

    def values(self) -> list[keras.optimizers.Optimizer]:
        return list(self.copies.values())

    def __call__(self, variable: keras.Variable) -> keras.optimizers.Optimizer:
        for rule in self.rules:
            if rule.matches(variable):
                key = (rule.learning_rate, rule.weight_decay)
                return self.copies.get(key, self.default_optimizer)
        return self.default_optimizer


def _plain_optimizer(optimizer: Identifier) -> keras.optimizers.Optimizer:
    """A Keras optimizer that is not built and wraps no other."""
    found = optimizer
    if isinstance(optimizer, (str, dict)):
        found = check_keras(
            "optimizer", optimizer, keras.optimizers.get, "an optimizer"
        )
    wraps = isinstance(found, keras.optimizers.MultiOptimizer)
    wraps = wraps or hasattr(found, "inner_optimizer")
    if not isinstance(found, keras.optimizers.Optimizer) or wraps:
        raise TypeError(
            "Argument `optimizer` must be a Keras optimizer that wraps no other, its "
            f"name or its config. Received: {optimizer!r}. Wrap the result of this "
            "function instead."
        )
    if found.built:
        raise ValueError(
            "Argument `optimizer` is built already, so its state belongs to "
            "another model. Pass a new optimizer."
        )
    rate = found.get_config()["learning_rate"]
    is_config = isinstance(rate, dict)
    if is_config and rate["class_name"] in ("function", "__lambda__"):
        raise TypeError(
            "Argument `optimizer` has a function as its learning rate, of which no "
            "group can have a multiple that is saved. Pass a "
            "keras.optimizers.schedules.LearningRateSchedule, or a number."
        )
    if not is_config:
        check_number(
            "optimizer.learning_rate", rate, "positive and finite", lambda x: x > 0
        )
    return found


def _group_name(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where another group has it."""
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(x for x in itertools.chain([name], numbered) if x not in taken)


def _copy(
    optimizer: keras.optimizers.Optimizer, name: str, rate: float, decay: float
) -> keras.optimizers.Optimizer:
    """The same optimizer with multiples of its learning rate and weight decay."""
    config = optimizer.get_config()
    config["name"] = name
    given = config["learning_rate"]
    if isinstance(given, dict):
        given = keras.optimizers.schedules.deserialize(given)
    config["learning_rate"] = _times(given, rate)
    if config.get("weight_decay") is not None:
        config["weight_decay"] *= decay
    copy = type(optimizer).from_config(config)
    _keras.copy_decay_exclusions(optimizer, copy)
    return copy


def _times(rate: Any, multiplier: float) -> Any:
    """A multiple of a learning rate: a number, a tensor or a schedule."""
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return ScaledSchedule(rate, multiplier)
    return rate * multiplier

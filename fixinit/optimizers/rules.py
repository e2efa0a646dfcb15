"""Rules that give groups of variables their own learning rate and weight decay."""

import dataclasses
import re

import keras

from fixinit._checked import check_fields, checked
from fixinit._validation import check_choice, check_number

# The paths of a role's variables. Keras hands optimizers variables without their
# layers, so the names that layers give them say what they are.
ROLES: dict[str, str] = {
    # `ScalarBias` and `ScalarMultiplier`.
    "scalar": r"(.*/)?scalar_(bias|multiplier)",
    "bias": r"(.*/)?bias",
    # Of normalization, `ChannelAffine`, and Keras's `RMSNormalization`.
    "normalization": r"(.*/)?(gamma|beta|scale)",
    "embedding": r"(.*/)?embeddings",
    "kernel": r"(.*/)?(\w+_)?kernel",
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """Learning rate and weight decay of a group of variables, as multiples.

    Example:

    >>> rule = fixinit.optimizers.Rule("normalization", weight_decay=0.0)
    >>> rule.matches(keras.Variable([1.0], name="gamma"))
    True

    Args:
        role: Role of the variables: one of `"scalar"` (`ScalarBias`,
            `ScalarMultiplier`), `"bias"`, `"normalization"` (scales and shifts),
            `"embedding"`, `"kernel"`.
        learning_rate: float, positive. Multiple of the optimizer's learning rate.
        weight_decay: float, at least 0. Multiple of the optimizer's weight decay,
            which Keras multiplies with the learning rate of the group.
        pattern: Regular expression that matches the whole `path` of a variable, such
            as `"encoder/.*"`, in place of a role.

    Raises:
        ValueError: If an argument is outside its range, or if not exactly one of
            `role` and `pattern` is given.
    """

    role: str | None = None
    learning_rate: float = 1.0
    weight_decay: float = 1.0
    pattern: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.role is None) == (self.pattern is None):
            raise ValueError(
                "A rule takes either a `role` or a `pattern`. Received: "
                f"role={self.role!r}, pattern={self.pattern!r}"
            )
        if self.role is not None:
            check_choice("role", self.role, ROLES)
        else:
            _check_pattern(self.pattern)
        check_number(
            "learning_rate", self.learning_rate, "a positive number", lambda x: x > 0
        )
        check_number("weight_decay", self.weight_decay, "at least 0", lambda x: x >= 0)

    @property
    def group(self) -> str:
        """Name of the group of variables: a role in the plural, or `"group"`."""
        if self.role is None:
            return "group"
        return f"{self.role}es" if self.role.endswith("s") else f"{self.role}s"

    @checked
    def matches(self, variable: keras.Variable) -> bool:
        """Whether the rule holds for a variable, by its path."""
        pattern = self.pattern if self.role is None else ROLES[self.role]
        return re.fullmatch(str(pattern), variable.path) is not None


def _check_pattern(pattern: str | None) -> None:
    try:
        re.compile(str(pattern))
    except re.error as error:
        raise ValueError(
            f"Argument `pattern` must be a regular expression: {error}. Received: "
            f"pattern={pattern!r}"
        ) from error

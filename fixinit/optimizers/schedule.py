"""Learning rate schedules of groups of variables."""

from typing import Any

import keras

from fixinit._checked import checked
from fixinit._typing import Tensor
from fixinit._validation import check_variance


@keras.saving.register_keras_serializable("fixinit")
class ScaledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate schedule times a constant.

    Example:

    >>> cosine = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=100)
    >>> schedule = fixinit.optimizers.ScaledSchedule(cosine, 0.1)
    >>> round(float(schedule(0)), 6)
    0.01

    Args:
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`.
        multiplier: float, at least 0.

    Raises:
        ValueError: If `multiplier` is negative or not finite.
        TypeError: If `schedule` is no schedule.
    """

    @checked
    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        multiplier: float,
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.multiplier = check_variance("multiplier", multiplier)

    def __call__(self, step: Tensor) -> Tensor:
        return self.schedule(step) * self.multiplier

    def get_config(self) -> dict[str, Any]:
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "multiplier": self.multiplier}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ScaledSchedule":
        schedule = keras.optimizers.schedules.deserialize(config["schedule"])
        return cls(schedule, config["multiplier"])

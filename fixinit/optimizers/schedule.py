"""Learning rate schedules of groups of variables."""

from typing import Any

import keras

from fixinit._typing import Tensor


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
        multiplier: float.
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        multiplier: float,
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.multiplier = multiplier

    def __call__(self, step: Tensor) -> Tensor:
        return self.schedule(step) * self.multiplier

    def get_config(self) -> dict[str, Any]:
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "multiplier": self.multiplier}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ScaledSchedule":
        schedule = keras.optimizers.schedules.deserialize(config["schedule"])
        return cls(schedule, config["multiplier"])

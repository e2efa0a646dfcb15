import keras
import pytest

from fixinit.optimizers import ScaledSchedule


def test_schedule_config():
    schedule = ScaledSchedule(keras.optimizers.schedules.CosineDecay(0.2, 10), 0.5)
    config = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(config)
    assert float(again(5)) == float(schedule(5)) == pytest.approx(0.05)

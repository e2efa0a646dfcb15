import keras
import pytest

from fixinit.optimizers import ScaledSchedule


def test_schedule_config():
    schedule = ScaledSchedule(keras.optimizers.schedules.CosineDecay(0.2, 10), 0.5)
    config = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(config)
    assert float(again(5)) == float(schedule(5)) == pytest.approx(0.05)


@pytest.mark.parametrize("multiplier", [float("nan"), float("inf"), -1, "1", True])
def test_refuses_what_is_no_multiplier(multiplier):
    schedule = keras.optimizers.schedules.CosineDecay(0.2, 10)
    with pytest.raises(ValueError, match="`multiplier` must be a"):
        ScaledSchedule(schedule, multiplier)


def test_refuses_what_is_no_schedule():
    with pytest.raises(TypeError, match="`schedule` must be"):
        ScaledSchedule(0.1, 0.5)

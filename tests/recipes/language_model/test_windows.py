import numpy as np
import pytest

from recipes.language_model.windows import TrainingWindows, validation_windows


def windows(seed=0, size=50):
    return TrainingWindows(np.arange(size), length=6, batch_size=4, steps=3, seed=seed)


def test_windows_depend_on_seed_and_epoch_alone():
    used = windows()
    [*used.epoch(0)]
    np.testing.assert_equal([*used.epoch(1)], [*windows().epoch(1)])
    for other in (used.epoch(0), windows(seed=1).epoch(1)):
        with pytest.raises(AssertionError):
            np.testing.assert_equal([*other], [*used.epoch(1)])


def test_windows_are_those_of_the_epochs_in_a_row():
    found = [*windows().epochs(1, 3).as_numpy_iterator()]
    np.testing.assert_equal(found, [*windows().epoch(1), *windows().epoch(2)])


def test_targets_follow_inputs_and_every_place_is_drawn():
    used = TrainingWindows(np.arange(9), length=6, batch_size=50, steps=1, seed=0)
    ((inputs, targets),) = used.epoch(0)
    assert inputs.shape == (50, 6) and inputs.dtype == "int32"
    np.testing.assert_equal(targets, inputs + 1)
    assert {*inputs[:, 0]} == {0, 1, 2}


@pytest.mark.parametrize("most, starts", [(99, [0, 6, 12, 18]), (2, [0, 12]), (1, [0])])
def test_validation_windows_do_not_overlap(most, starts):
    inputs, targets = validation_windows(np.arange(25), 6, most)
    assert inputs[:, 0].tolist() == starts
    np.testing.assert_equal(inputs, np.add.outer(starts, np.arange(6)))
    np.testing.assert_equal(targets, inputs + 1)


def test_devices_share_validation_windows():
    assert len(validation_windows(np.arange(25), 6, 99, multiple_of=3)[0]) == 3
    with pytest.raises(ValueError, match="5 windows or more.*There are 4"):
        validation_windows(np.arange(25), 6, 99, multiple_of=5)

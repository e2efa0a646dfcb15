import numpy as np
import pytest

from fixinit.layers import ChannelAffine


@pytest.mark.parametrize("axis", [0, 1.5, True, "1", None])
def test_refuses_what_is_no_axis_of_channels(axis):
    with pytest.raises(ValueError, match="`axis` must be an"):
        ChannelAffine(axis)


@pytest.mark.parametrize("axis", [5, -2, 2])
def test_refuses_an_axis_that_the_inputs_do_not_have(axis):
    with pytest.raises(ValueError, match="`axis` of layer"):
        ChannelAffine(axis)(np.ones((2, 3), "float32"))


@pytest.mark.parametrize("name", ["gamma_initializer", "beta_initializer"])
@pytest.mark.parametrize("initializer", [None, "oens", 3])
def test_refuses_what_is_no_initializer(name, initializer):
    with pytest.raises(ValueError, match=f"`{name}` must be an initializer"):
        ChannelAffine(**{name: initializer})

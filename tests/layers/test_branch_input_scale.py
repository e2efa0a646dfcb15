import keras
import numpy as np
import pytest

from fixinit import layers, theory
from fixinit.layers import BranchInputScale


@pytest.mark.every_backend
def test_multiplies_and_is_saved(tmp_path):
    x = keras.Input((3,))
    model = keras.Model(x, BranchInputScale(0.25, name="scale")(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    y = keras.ops.convert_to_numpy(loaded(np.ones((2, 3), "float32")))
    np.testing.assert_array_equal(y, 0.25)
    assert theory.predict(model)["scale"].variance == 1 / 16
    assert layers.facts_of(loaded.layers[-1]).scales_branch


@pytest.mark.parametrize("scale", [float("nan"), "1", ()])
def test_scale_is_checked(scale):
    with pytest.raises((ValueError, TypeError), match="scale"):
        BranchInputScale(scale)

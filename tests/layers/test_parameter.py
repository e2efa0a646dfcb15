import keras
import numpy as np
import pytest

from fixinit.layers import Parameter


def test_gives_its_weight_and_is_saved(tmp_path):
    inputs = keras.Input((4,))
    layer = Parameter((1, 3), "ones", regularizer="l2", name="token")
    model = keras.Model(inputs, layer(inputs))
    layer.parameter.assign([[1.0, 2.0, 3.0]])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for m in (model, again):
        y = keras.ops.convert_to_numpy(m(np.zeros((2, 4))))
        np.testing.assert_array_equal(y, [[1.0, 2.0, 3.0]])
        assert m.count_params() == 3 and len(m.losses) == 1


@pytest.mark.parametrize("trainable", [True, False])
def test_of_a_variable(trainable):
    variable = keras.Variable([[1, 2]], trainable=trainable, dtype="float32")
    layer = Parameter.of(variable, name="part")
    assert layer.parameter is variable and layer.weights == [variable]
    assert layer.trainable == trainable
    copy = Parameter.from_config(layer.get_config())
    copy(np.zeros((3, 2)))
    assert copy.parameter is not variable
    assert copy.trainable == trainable and copy.shape == (1, 2)


def test_whole_numbers():
    variable = keras.Variable([3, 4], trainable=False, dtype="int32")
    copy = Parameter.from_config(Parameter.of(variable).get_config())
    assert keras.backend.standardize_dtype(copy(np.zeros((1, 1))).dtype) == "int32"

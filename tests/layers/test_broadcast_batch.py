import keras
import numpy as np

from fixinit.layers import BroadcastBatch


def test_repeats_for_every_input_and_is_saved(tmp_path):
    value, x = keras.Input(batch_shape=(1, 2)), keras.Input((4,))
    y = BroadcastBatch((3, 2))([value, x])
    assert y.shape == (None, 3, 2)
    model = keras.Model([value, x], y)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for m in (model, again):
        given = [np.array([[1.0, 2.0]], "float32"), np.zeros((5, 4), "float32")]
        y = keras.ops.convert_to_numpy(m(given))
        np.testing.assert_array_equal(y, np.broadcast_to([1.0, 2.0], (5, 3, 2)))

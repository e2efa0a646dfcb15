import keras
import numpy as np
import pytest

import fixinit
from recipes.common.data.datasets import Dataset
from recipes.common.training.initial import BlockMeasurements, probe

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)).astype("float32")
    y = np.arange(40, dtype="int32") // 20
    return Dataset("some", x, y, x, y, num_classes=2)


def _measured(data, stacked, scheme="scaled_residual"):
    model = fixinit.models.ResidualMLP(
        5, 8, scheme=scheme, input_shape=(6,), classes=2, seed=0, stacked=stacked
    )
    scheme = fixinit.schemes.get(scheme)
    return BlockMeasurements(model, LOSS).initial(*probe(data), scheme)


def test_stacked_blocks_are_measured_one_by_one(data):
    stacked, separate = (_measured(data, stacked) for stacked in (True, False))
    assert len(stacked["branch_gradient_norms"]) == 5
    for key in ("mean_square", "branch_gradient_norms", "loss", "gradient_norm"):
        np.testing.assert_allclose(stacked[key], separate[key], rtol=1e-4)
    assert stacked["predicted"][0] == stacked["mean_square"][0]


def test_gradients_of_blocks_are_part_of_the_whole(data):
    measured = _measured(data, stacked=True)
    blocks = np.linalg.norm(measured["branch_gradient_norms"])
    assert 0 < blocks < measured["gradient_norm"]


def test_probe_is_the_same_every_time_and_not_the_first_samples(data):
    x, y = probe(data, size=10)
    np.testing.assert_equal(x, probe(data, size=10)[0])
    assert len(x) == 10 and set(y) == {0, 1}
    assert len(probe(data)[0]) == 40

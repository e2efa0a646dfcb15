import numpy as np
import pytest

from recipes.dead_units.__main__ import Settings
from recipes.dead_units.activity import activity
from recipes.dead_units.networks import build


@pytest.fixture
def network():
    """Two blocks of two layers, of which everything is known."""
    settings = Settings(units=4, num_blocks=2)
    model = build(settings, "he_plain", (4,), 2)
    for variable in model.trainable_variables:
        values = np.zeros(variable.shape)
        if variable.path.endswith("kernel"):
            values[:] = np.eye(*variable.shape[-2:])
        elif "stem" in variable.path:
            values[:] = [5, -5, 0, 0]
        variable.assign(values)
    return settings, model


def test_rates_and_cosines(network):
    settings, model = network
    x = np.array([[1, 1, 1, -1], [-1, -1, 1, 1]], "float32")
    rates, cosines, _ = activity(settings, model, x, training=False)
    # In front of every activation but the first, negative values are gone.
    first, second = x + [5, -5, 0, 0]
    np.testing.assert_array_equal(rates, [[1, 0, 1, 0.5]] * 5)
    expected = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert cosines[0] == pytest.approx(expected, rel=1e-5)
    first, second = np.maximum(first, 0), np.maximum(second, 0)
    expected = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    np.testing.assert_allclose(cosines[1:], expected, rtol=1e-5)


def test_explosions_do_not_overflow_the_cosine(network):
    settings, model = network
    x = 1e25 * np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    _, cosines, _ = activity(settings, model, x, training=False)
    assert np.isfinite(cosines).all()

import numpy as np
from keras import ops

from recipes.dead_units.__main__ import Settings
from recipes.dead_units.networks import build


def test_looks_linear_is_linear_at_the_start():
    settings = Settings(units=16, num_blocks=3)
    model = build(settings, "looks_linear_plain", (8,), 5)
    x = np.random.default_rng(0).normal(size=(2, 8)).astype("float32")
    first, second, both = ops.convert_to_numpy(model(np.array([*x, x[0] + x[1]])))
    np.testing.assert_allclose(first + second, both, rtol=1e-4, atol=1e-5)

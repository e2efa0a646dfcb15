"""The scheme that CONTRIBUTING.md shows is a scheme as it stands there."""

import pathlib
import re

import keras
import numpy as np
import pytest

import fixinit

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def names():
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a scheme")[1]
    names = {"__name__": "contributing"}
    try:
        exec(re.search(r"```python\n(.*?)```", section, re.DOTALL)[1], names)
        yield names
    finally:
        fixinit.schemes.unregister("depth_scaled_norm")


def test_models_have_what_it_answers(names):
    calls = [call.operation for call, _ in fixinit.graph.trace(names["model"]).walk()]
    scales = [x.scale for x in calls if isinstance(x, keras.layers.Rescaling)]
    np.testing.assert_allclose(scales, np.arange(1.0, 5.0) ** -0.5)
    norms = [x for x in calls if isinstance(x, keras.layers.LayerNormalization)]
    assert len(norms) == 5


def test_converted_networks_have_what_it_answers(names):
    layers = names["free"].layers
    branches = names["free"].conversion["num_branches"]
    scales = [x.scale for x in layers if isinstance(x, keras.layers.Rescaling)]
    np.testing.assert_allclose(scales, np.arange(1.0, branches + 1) ** -0.5)
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in layers)


def test_its_closed_form_is_what_theory_predicts(names):
    prediction = names["prediction"]
    found = [p.mean_square for p in prediction if p.name.endswith("/merge")]
    scheme = names["DepthScaledNorm"]()
    expected = scheme.predicted_variance(4, prediction["stem"].mean_square)[1:]
    # The normalizations add their epsilon to the variance.
    np.testing.assert_allclose(found, expected, rtol=2e-3)

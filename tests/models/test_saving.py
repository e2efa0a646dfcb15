"""Every model with every scheme survives `.keras`, in a process of its own."""

import itertools
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np

from fixinit import models, schemes
from tests.marks import slow_where_compiled

FAMILIES = {
    "cifar": lambda scheme: models.CifarResNet(
        8, scheme=scheme, input_shape=(8, 8, 3), seed=0
    ),
    "imagenet": lambda scheme: models.ResNet(
        (1, 1), (4, 8), scheme=scheme, stem="imagenet", input_shape=(32, 32, 3), seed=0
    ),
    "wide": lambda scheme: models.WideResNet(
        10, 1, scheme=scheme, input_shape=(8, 8, 3), dropout_rate=0.1, seed=0
    ),
    "sequence": lambda scheme: models.ResNet1D(
        (1, 1), (4, 8), scheme=scheme, input_shape=(8, 2), seed=0
    ),
    "mlp": lambda scheme: models.ResidualMLP(2, 8, scheme=scheme, seed=0),
    "bottleneck": lambda scheme: models.ResNet(
        (1, 1), (4, 8), "bottleneck", scheme, input_shape=(8, 8, 3), seed=0
    ),
}

LOAD = """
import pathlib, sys
import keras, numpy as np
import fixinit

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.models.load_model(path, safe_mode=True)
    outputs = model(np.load(path.with_suffix(".x.npy")))
    np.save(path.with_suffix(".y.npy"), keras.ops.convert_to_numpy(outputs))
    paths = "\\n".join(v.path for v in model.trainable_variables)
    path.with_suffix(".paths").write_text(paths)
"""


def pairs():
    """All families with all schemes on PyTorch, each scheme once elsewhere."""
    every = list(itertools.product(FAMILIES, schemes.names()))
    if keras.backend.backend() == "torch":
        return every
    return list(zip(itertools.cycle(FAMILIES), schemes.names()))


@slow_where_compiled
def test_every_model_and_scheme(tmp_path):
    expected = {}
    rng = np.random.default_rng(0)
    for family, scheme in pairs():
        model = FAMILIES[family](scheme)
        # Away from the start, where much is zero and would go unnoticed.
        for v in model.trainable_variables:
            v.assign(rng.normal(0.1, 0.1, v.shape))
        x = rng.normal(size=(2, *model.input_shape[1:])).astype("float32")
        path = tmp_path / f"{family}-{scheme}.keras"
        model.save(path)
        np.save(path.with_suffix(".x.npy"), x)
        outputs = keras.ops.convert_to_numpy(model(x))
        expected[path] = outputs, [v.path for v in model.trainable_variables]
    root = str(pathlib.Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)],
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    for path, (outputs, paths) in expected.items():
        loaded = np.load(path.with_suffix(".y.npy"))
        np.testing.assert_allclose(loaded, outputs, rtol=1e-4, atol=1e-5, err_msg=path)
        assert path.with_suffix(".paths").read_text().split("\n") == paths

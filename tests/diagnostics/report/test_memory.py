"""Nothing of a diagnosis is kept: neither objects nor memory grow with calls."""

import gc
import pathlib
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

import fixinit
from tests.marks import on_torch

ROOT = pathlib.Path(fixinit.__file__).parents[1]


def network(stacked):
    return fixinit.models.ResidualMLP(
        num_blocks=2, units=8, input_shape=(6,), classes=3, seed=0, stacked=stacked
    )


@keras.saving.register_keras_serializable("tests.memory")
class Block(keras.layers.Layer):
    """A residual block of one's own, which `diagnose` opens."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.LayerNormalization()
        self.dense = keras.layers.Dense(6)

    def build(self, shape):
        self.norm.build(shape)
        self.dense.build(shape)

    def call(self, x):
        return x + self.dense(self.norm(x))


def opened():
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(3)(Block()(Block()(inputs))))


def skip_what_jax_keeps(name):
    if name == "stacked" and keras.backend.backend() == "jax":
        pytest.skip("JAX keeps traces of loops in caches of a bounded number of them")


MODELS = {
    "plain": lambda: network(stacked=False),
    "stacked": lambda: network(stacked=True),
    "opened": opened,
}


@pytest.mark.slow
@pytest.mark.every_backend
@pytest.mark.parametrize("name", MODELS)
def test_diagnoses_leave_no_objects(name):
    skip_what_jax_keeps(name)
    model = MODELS[name]()
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")

    def objects_after(calls):
        for _ in range(calls):
            fixinit.diagnostics.diagnose(model, x)
        gc.collect()
        return len(gc.get_objects())

    # What is made once, such as compiled functions, is there after two.
    before = objects_after(2)
    # A kept graph has thousands of objects, a model hundreds.
    assert objects_after(2) - before < 2 * 10


@on_torch
@pytest.mark.parametrize("name", ["plain", "opened"])
def test_diagnoses_make_no_variables(name, monkeypatch):
    model = MODELS[name]()
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    fixinit.diagnostics.diagnose(model, x)
    made, make = [], keras.Variable.__init__

    def noted(self, *args, **kwargs):
        made.append(kwargs.get("name"))
        make(self, *args, **kwargs)

    # Of every one, TensorFlow keeps 35 kB.
    keras.utils.clear_session()
    monkeypatch.setattr(keras.Variable, "__init__", noted)
    fixinit.diagnostics.diagnose(model, x)
    assert made == []


# Calls, of which the first warm up, and between two looks at the memory.
CALLS, WARM_UP, EVERY = 200, 40, 10

MEASURE = f"""
    import ctypes, gc, sys
    import numpy as np
    from fixinit.diagnostics import diagnose
    sys.path.insert(0, "tests/diagnostics/report")
    from test_memory import MODELS
    try:
        trim = ctypes.CDLL("libc.so.6").malloc_trim
    except OSError:
        trim = id
    model = MODELS[sys.argv[1]]()
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    for call in range({CALLS}):
        diagnose(model, x)
        if call >= {WARM_UP} and call % {EVERY} == 0:
            gc.collect()
            trim(0)
            status = open("/proc/self/status").read()
            print("MB", int(status.split("VmRSS:")[1].split()[0]) / 1024, flush=True)
"""


@pytest.mark.evidence
@pytest.mark.every_backend
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", MODELS)
def test_200_diagnoses_take_no_more_memory_than_40(name):
    skip_what_jax_keeps(name)
    command = [sys.executable, "-c", textwrap.dedent(MEASURE), name]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert process.returncode == 0, process.stderr
    lines = [line.split() for line in process.stdout.splitlines()]
    measured = np.array([float(x[1]) for x in lines if x[0] == "MB"])
    assert len(measured) == (CALLS - WARM_UP) // EVERY
    first, second = np.split(measured, 2)
    # The deviation of a single look, from differences of neighbours, which a slow rise
    # does not enter. Allocators keep pages: a quarter of a megabyte is always allowed.
    noise = np.std(np.diff(measured)) / np.sqrt(2)
    bound = 4 * noise + 0.25
    # 5 MB a call, as once were kept, would be 400 MB between the halves.
    assert bound < 40
    assert second.mean() - first.mean() < bound, measured

"""Selects the tests of a backend; sets up Keras and the names of doctests."""

import gc
import os

# Python looks for garbage after every 700 new objects: a twentieth of the tests' time.
gc.set_threshold(50_000, 20, 20)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "PYTEST_XDIST_WORKER" in os.environ:
    # There are as many workers as cores: more threads would only wait for each other.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # What is compiled runs a few times: XLA's optimization costs more than it gains.
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0"
        " --xla_llvm_disable_expensive_passes=true",
    )

import pytest  # noqa: E402

# Keras is imported where it is used: the process that only hands out the tests to
# others (pytest-xdist) starts without it.

# The packages that compute with tensors, whose tests and examples run on every backend.
# The others are mathematics, graphs, text and files: there, only what is marked
# `every_backend` runs on JAX and PyTorch as well, and `on_torch` on the latter.
TENSOR_PACKAGES = {
    "backend",
    "initializers",
    "layers",
    "models",
    "optimizers",
    "schemes",
    "third_party",
}


def pytest_collection_modifyitems(config, items):
    """Without paths, runs on JAX and PyTorch what can differ from TensorFlow there."""
    import keras

    paths_given = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    if keras.backend.backend() == "tensorflow" or paths_given:
        return
    config.hook.pytest_deselected(items=[x for x in items if not _can_differ(x)])
    items[:] = [item for item in items if _can_differ(item)]


def _can_differ(item):
    import keras

    package = item.path.relative_to(item.config.rootpath).parts[1]
    marks = {mark.name for mark in item.iter_markers()}
    if "on_torch" in marks:
        return keras.backend.backend() == "torch"
    if "every_backend" in marks:
        return True
    return package in TENSOR_PACKAGES


@pytest.fixture(autouse=True)
def clean_keras():
    """Names, seeds and policies of one test do not reach the next."""
    import keras

    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace):
    import keras
    import numpy as np

    import fixinit

    doctest_namespace.update(fixinit=fixinit, keras=keras, np=np)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Neighbours share a worker, and with it what a module builds once."""
    from xdist.scheduler import WorkStealingScheduling

    if config.getvalue("dist") == "load":
        return WorkStealingScheduling(config, log)

"""What every test and doctest finds: quiet backends, a clean Keras, the names."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "PYTEST_XDIST_WORKER" in os.environ:
    # There are as many workers as cores: more threads would only wait for each other.
    for library in ("TF_NUM_INTRAOP", "TF_NUM_INTEROP", "OMP_NUM"):
        os.environ.setdefault(f"{library}_THREADS", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

import fixinit  # noqa: E402


@pytest.fixture(autouse=True)
def clean_keras():
    """Names, seeds and policies of one test do not reach the next."""
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace):
    doctest_namespace.update(fixinit=fixinit, keras=keras, np=np)

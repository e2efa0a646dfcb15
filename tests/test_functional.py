"""Models deeper than Python's recursion limit allows Keras to make, and files."""

import contextlib
import inspect
import os
import pathlib
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest

import fixinit
from fixinit._functional import deep_graphs


@contextlib.contextmanager
def low_limit():
    """200 frames more than are in use, which stand for Python's limit of 1,000."""
    before = sys.getrecursionlimit()
    limit = len(inspect.stack()) + 200
    sys.setrecursionlimit(limit)
    try:
        yield
        assert sys.getrecursionlimit() == limit
    finally:
        sys.setrecursionlimit(before)


def deep_network(calls=250):
    """Inputs and outputs of a residual MLP with many calls in a row."""
    x = inputs = keras.Input((4,))
    for _ in range(calls):
        x = keras.layers.ReLU()(x)
    branch = keras.layers.Dense(4)(keras.layers.BatchNormalization()(x))
    return inputs, keras.layers.Add()([x, branch])


def small_mlp(num_blocks=1, units=4, **kwargs):
    return fixinit.models.ResidualMLP(
        num_blocks, units, input_shape=(3,), classes=2, **kwargs
    )


def converted():
    inputs, outputs = deep_network(calls=1)
    return fixinit.convert(keras.Model(inputs, outputs), "fixup", seed=0)


def data(model):
    shape = (2, *model.input_shape[1:])
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_a_model_of_keras_is_too_deep():
    with low_limit(), pytest.raises(RecursionError):
        keras.Model(*deep_network())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["library", "converted"])
def test_deep_models_are_built_cloned_and_loaded(kind, tmp_path):
    deep = keras.Model(*deep_network())
    with low_limit():
        if kind == "library":
            model = small_mlp(num_blocks=250, units=2, stacked=False)
        else:
            model = fixinit.convert(deep, "rezero", seed=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        clone = keras.models.clone_model(model)
    assert type(loaded) is type(clone) is type(model)
    clone.set_weights(model.get_weights())
    for copy in (loaded, clone):
        np.testing.assert_array_equal(copy(data(model)), model(data(model)))


def test_limit_is_restored_after_an_error():
    before = sys.getrecursionlimit()
    with pytest.raises(ValueError, match="disconnected"):
        with deep_graphs():
            assert sys.getrecursionlimit() == 100_000
            raise ValueError("disconnected")
    assert sys.getrecursionlimit() == before


def test_threads_do_not_take_the_limit_from_each_other():
    """The second waits until the first has put back what it found."""
    before = sys.getrecursionlimit()
    entered, leave, found = threading.Event(), threading.Event(), []

    def first():
        with deep_graphs():
            entered.set()
            leave.wait(60)

    def second():
        entered.wait(60)
        with deep_graphs():
            found.append(sys.getrecursionlimit())

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    entered.wait(60)
    leave.set()
    for thread in threads:
        thread.join(60)
    assert found == [100_000]
    assert sys.getrecursionlimit() == before


@pytest.mark.parametrize("make", [small_mlp, converted])
@pytest.mark.parametrize("name", ["model.h5", "model.hdf5"])
def test_whole_models_are_not_saved_as_h5(make, name, tmp_path):
    model = make()
    with pytest.raises(ValueError, match=r"`filepath`.*model\.hd?f?5.*model\.keras"):
        model.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [small_mlp, converted])
def test_weights_are_saved_as_h5(make, tmp_path):
    model, other = make(), make()
    model.save_weights(tmp_path / "model.weights.h5")
    other.set_weights([value + 1 for value in other.get_weights()])
    other.load_weights(tmp_path / "model.weights.h5")
    for old, new in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_models_of_keras_with_layers_of_ours_load_from_h5(tmp_path):
    inputs = keras.Input((4,))
    block = fixinit.layers.ResidualBlock(
        [keras.layers.Dense(4), fixinit.layers.ScalarMultiplier()]
    )
    model = keras.Model(inputs, block(inputs))
    model.save(tmp_path / "model.h5")
    loaded = keras.saving.load_model(tmp_path / "model.h5", compile=False)
    np.testing.assert_array_equal(loaded(data(model)), model(data(model)))


LOAD = """
import sys, keras, numpy as np
{imports}
for path in sys.argv[1:]:
    model = keras.saving.load_model(path)
    ones = np.ones((2, *model.input_shape[1:]), "float32")
    np.save(path + ".npy", keras.ops.convert_to_numpy(model(ones)))
"""


def load_in_a_fresh_process(paths, imports):
    root = str(pathlib.Path(fixinit.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", LOAD.format(imports=imports), *map(str, paths)],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_files_load_in_a_fresh_process_that_imports_fixinit(tmp_path):
    models = {"library": small_mlp(), "converted": converted()}
    paths = [tmp_path / f"{name}.keras" for name in models]
    for path, model in zip(paths, models.values(), strict=True):
        model.save(path)
    done = load_in_a_fresh_process(paths, "import fixinit")
    assert done.returncode == 0, done.stderr
    for path, model in zip(paths, models.values(), strict=True):
        ones = np.ones((2, *model.input_shape[1:]), "float32")
        np.testing.assert_allclose(
            np.load(f"{path}.npy"), keras.ops.convert_to_numpy(model(ones)), rtol=1e-5
        )


@pytest.mark.slow
def test_keras_alone_does_not_find_fixinit(tmp_path):
    """If this fails, Keras imports packages by itself, and docs/saving.md says less."""
    small_mlp().save(tmp_path / "model.keras")
    done = load_in_a_fresh_process([tmp_path / "model.keras"], "")
    assert "Could not locate class 'ResidualNetwork'" in done.stderr

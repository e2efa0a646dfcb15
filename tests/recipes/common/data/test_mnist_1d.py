import importlib.metadata
import random
import sys

import mnist1d.data
import numpy as np
import pytest

from recipes.common.data import datasets, mnist_1d

KEYS = ("x", "y", "x_test", "y_test")


def random_state():
    states = [random.getstate(), [str(part) for part in np.random.get_state()]]
    if "torch" in sys.modules:
        states.append(sys.modules["torch"].get_rng_state().tolist())
    return states


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    """The one run of the real package, as it takes seconds, and what it left behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIXINIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        before = random_state()
        (x_train, y_train), (x_test, y_test) = mnist_1d.load_data()
        after = random_state()
    arrays = dict(zip(KEYS, (x_train, y_train, x_test, y_test), strict=True))
    return arrays, before, after


@pytest.fixture
def drawn(real_run):
    """The arrays under the package's own keys."""
    return real_run[0]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    path = tmp_path / "cache"
    monkeypatch.setenv("FIXINIT_CACHE", str(path))
    return path


@pytest.fixture
def draws(drawn, monkeypatch):
    """Replaces the package's slow generator; counts how often it is asked."""
    seeds = []

    def make_dataset(args):
        seeds.append(args.seed)
        # As the real one does.
        random.seed(args.seed)
        np.random.seed(args.seed)
        return drawn

    monkeypatch.setattr(mnist1d.data, "make_dataset", make_dataset)
    return seeds


def assert_is(data, drawn):
    (x_train, y_train), (x_test, y_test) = data
    for key, array in zip(KEYS, (x_train, y_train, x_test, y_test), strict=True):
        np.testing.assert_array_equal(array, drawn[key])


def cache_file(cache):
    (path,) = cache.iterdir()
    return path


@pytest.mark.slow
def test_real_package_leaves_random_state(real_run):
    _, before, after = real_run
    assert before == after


def test_real_package_gives_the_standard_data(drawn):
    # Recorded from make_dataset(get_dataset_args()) of mnist1d 0.0.2.post1.
    np.testing.assert_array_equal(drawn["y"][:10], [2, 6, 4, 5, 6, 6, 6, 0, 3, 1])
    first = [-0.33200567, -0.47191037, -0.77869708, -1.00974083]
    np.testing.assert_allclose(drawn["x"][0, :4], first, rtol=1e-6)
    # The package standardizes training and test signals together.
    both = np.concatenate([drawn["x"], drawn["x_test"]])
    np.testing.assert_allclose([both.mean(), both.std()], [0, 1], atol=1e-12)


def test_load(draws, cache):
    dataset = datasets.load("mnist1d")
    assert dataset.x_train.shape == (4000, 40) and dataset.x_test.shape == (1000, 40)
    assert dataset.x_train.dtype == np.float32 and dataset.y_train.dtype == np.int32
    assert dataset.input_shape == (40,) and not dataset.is_image
    assert dataset.num_classes == 10
    assert set(dataset.y_train) == set(dataset.y_test) == set(range(10))


def test_load_standardizes_with_one_mean_and_one_deviation(drawn, draws, cache):
    dataset = datasets.load("mnist1d")
    mean, std = drawn["x"].mean(), drawn["x"].std()
    for x, raw in ((dataset.x_train, drawn["x"]), (dataset.x_test, drawn["x_test"])):
        np.testing.assert_allclose(x, (raw - mean) / std, rtol=1e-5, atol=1e-6)


def test_load_is_the_same_for_every_seed_drawn_or_cached(draws, cache):
    first, second = (datasets.load("mnist1d", seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(first.x_train, second.x_train)
    np.testing.assert_array_equal(first.y_test, second.y_test)
    assert draws == [42]  # The package's own seed, once.


def test_random_state_is_restored_when_drawing_fails(cache, monkeypatch):
    def make_dataset(args):
        np.random.seed(args.seed)
        raise RuntimeError("interrupted")

    monkeypatch.setattr(mnist1d.data, "make_dataset", make_dataset)
    before = random_state()
    with pytest.raises(RuntimeError, match="interrupted"):
        mnist_1d.load_data()
    assert random_state() == before


def test_second_load_reads_the_cache(drawn, draws, cache):
    mnist_1d.load_data()
    assert_is(mnist_1d.load_data(), drawn)
    assert len(draws) == 1
    # No temporary file is left beside it.
    assert cache_file(cache).suffix == ".npz"


@pytest.mark.parametrize("kept", [0, 3, 5000, 800_000, -1])
def test_truncated_cache_is_drawn_again_and_replaced(kept, drawn, draws, cache):
    mnist_1d.load_data()
    path = cache_file(cache)
    path.write_bytes(path.read_bytes()[:kept])
    assert_is(mnist_1d.load_data(), drawn)
    assert_is(mnist_1d.load_data(), drawn)
    assert len(draws) == 2


def test_overwritten_cache_is_drawn_again(drawn, draws, cache):
    mnist_1d.load_data()
    path = cache_file(cache)
    contents = bytearray(path.read_bytes())
    contents[1000] ^= 0xFF
    path.write_bytes(contents)
    assert_is(mnist_1d.load_data(), drawn)
    np.savez(path, **{key: np.zeros(3) for key in KEYS})
    assert_is(mnist_1d.load_data(), drawn)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert_is(mnist_1d.load_data(), drawn)
    assert len(draws) == 4


def test_pickled_cache_is_not_unpickled(drawn, draws, cache):
    mnist_1d.load_data()
    objects = np.array([{"not": "numbers"}], dtype=object)
    np.savez(cache_file(cache), **dict.fromkeys(KEYS, objects))
    assert_is(mnist_1d.load_data(), drawn)


def test_cache_directory_that_cannot_be_made(drawn, draws, tmp_path, monkeypatch):
    # A file in the way stops root as well, whom permissions do not.
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FIXINIT_CACHE", str(tmp_path / "file" / "cache"))
    assert_is(mnist_1d.load_data(), drawn)


def test_cache_that_cannot_be_written_leaves_nothing(drawn, draws, cache, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert_is(mnist_1d.load_data(), drawn)
    assert list(cache.iterdir()) == []


def test_cache_is_in_the_home_directory_by_default(draws, tmp_path, monkeypatch):
    monkeypatch.delenv("FIXINIT_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    mnist_1d.load_data()
    assert cache_file(tmp_path / ".cache" / "fixinit").name.startswith("mnist1d-")


def test_user_without_home_directory(drawn, draws, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FIXINIT_CACHE", raising=False)
    monkeypatch.setattr("pathlib.Path.home", home)
    assert_is(mnist_1d.load_data(), drawn)


def test_missing_package_says_what_to_install(cache, monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(ModuleNotFoundError, match="needs the package 'mnist1d'.*pip"):
        datasets.load("mnist1d")

import keras
import numpy as np
import pytest

from recipes import convert
from recipes.common.experiment.errors import UnusableFileError
from recipes.common.training import saved_models
from tests.recipes.damage import mutations


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Files of two models of the same shape."""
    path = tmp_path_factory.mktemp("models")
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        saved_models.save_model(model, path / f"{seed}.keras")
    return path


def values(model):
    return [keras.ops.convert_to_numpy(v) for v in model.variables]


def test_saved_model_comes_back(saved):
    assert (saved / "0.keras.sha256").read_text().endswith("  0.keras\n")
    loaded = saved_models.load_model(saved / "0.keras")
    assert loaded.predict(np.ones((1, 3)), verbose=0).shape == (1, 2)


@pytest.mark.parametrize("has_checksum", [True, False])
@pytest.mark.parametrize("count", [70, pytest.param(700, marks=pytest.mark.slow)])
def test_damaged_models_are_named(saved, tmp_path, has_checksum, count):
    """Without a checksum beside it, every part of the archive has one inside."""
    rng = np.random.default_rng(count)
    right = values(saved_models.load_model(saved / "0.keras"))
    path = tmp_path / "0.keras"
    if has_checksum:
        beside = saved / "0.keras.sha256"
        (tmp_path / beside.name).write_text(beside.read_text())
    kinds = [k for k in mutations.KINDS if has_checksum or k != "swapped"]
    named = 0
    for turn in range(count):
        kind = kinds[turn % len(kinds)]
        left = mutations.damaged(saved / "0.keras", [saved / "1.keras"], rng, kind)
        path.unlink(missing_ok=True)
        if left is not None:
            path.write_bytes(left)
        try:
            loaded = saved_models.load_model(path)
        except UnusableFileError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            named += 1
        else:
            # Of the archive, what says nothing, such as the time of a part.
            assert not has_checksum
            np.testing.assert_equal(values(loaded), right)
    assert named == count if has_checksum else named > 0.5 * count


def test_recipe_refuses_a_damaged_model_with_its_flags(saved, tmp_path):
    path = tmp_path / "cut.keras"
    path.write_bytes((saved / "0.keras").read_bytes()[:500])
    with pytest.raises(ValueError, match="cut.keras is truncated or corrupted"):
        convert.EXPERIMENT.settings(model=str(path))


def test_model_of_classes_that_nobody_knows_is_named_in_one_line(saved, tmp_path):
    class Unknown(keras.layers.Layer):
        pass

    path = tmp_path / "unknown.keras"
    keras.Sequential([keras.Input((3,)), Unknown()]).save(path)
    with pytest.raises(UnusableFileError) as error:
        saved_models.load_model(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)

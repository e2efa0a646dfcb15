import zipfile

import numpy as np
import pytest

from recipes.common.data import archives, npz
from recipes.common.training import saved_models


@pytest.fixture(params=["mine.npz", "mine.keras"])
def bomb(request, tmp_path, monkeypatch):
    """A file that expands 1,000 times, to more than is allowed."""
    monkeypatch.setattr(archives, "MAX_BYTES", 1 << 24)
    path = tmp_path / request.param
    member = "x_train.npy" if path.suffix == ".npz" else "model.weights.h5"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, bytes(1 << 25))
    return path


def test_archive_that_expands_without_bound_is_not_read(bomb):
    read = npz.load_data if bomb.suffix == ".npz" else saved_models.load_model
    with pytest.raises(
        ValueError, match=f"{bomb.name} has .* would expand to 33,554,432"
    ):
        read(bomb)


def test_small_archives_may_expand_as_they_like(tmp_path):
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, x=np.zeros(10**6))
    assert archives.check_expansion(path) == ["x.npy"]


def test_array_that_claims_more_than_there_is_is_named(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **{f"{k}_{s}": np.zeros((2, 3)) for k in "xy" for s in NAMES})
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + (
            b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999, 3), }"
        ).ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", header + bytes(48))
    with pytest.raises(ValueError, match="mine.npz: x_train cannot be read"):
        npz.load_data(path)


NAMES = ("train", "test")

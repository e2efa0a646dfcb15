import zipfile

import numpy as np
import pytest

from recipes.common.data import archives, npz
from recipes.common.training import saved_models


@pytest.fixture(params=["mine.npz", "mine.keras"])
def bomb(request, tmp_path):
    """A file of 2 MB that expands to 2 GiB of zeros."""
    path = tmp_path / request.param
    member = "x_train.npy" if path.suffix == ".npz" else "model.weights.h5"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(member, "w", force_zip64=True) as file:
            for _ in range(2):
                for _ in range(64):
                    file.write(bytes(1 << 24))
    return path


def test_archive_that_expands_without_bound_is_not_read(bomb):
    read = npz.load_data if bomb.suffix == ".npz" else saved_models.load_model
    with pytest.raises(ValueError, match=f"{bomb.name} has .* would expand to 2,147,"):
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

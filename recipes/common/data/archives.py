"""Zip archives, such as `.npz` and `.keras`, that must not fill the memory."""

import lzma
import pathlib
import struct
import zipfile
import zlib

# What reading a damaged part raises. RuntimeError (and its subclass
# NotImplementedError) is for a damaged header that claims encryption or a compression
# which zipfile does not know, MemoryError for one that claims too much.
UNREADABLE = (
    EOFError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

# What is this small may expand as it likes.
MAX_BYTES = 1 << 30
# Arrays of zeros shrink by up to 1,032, the bound of the format; arrays that hold
# something, by far less.
MAX_RATIO = 100


def check_expansion(path):
    """Refuses an archive that is damaged, or would expand without bound.

    An archive of a few kilobytes may claim any size. Reading takes no more than it
    claims, so that the claims are what is to be checked.

    Args:
        path: Path of a zip archive.

    Returns:
        The names of its parts.

    Raises:
        ValueError: If its table of contents cannot be read, or if its parts would take
            more than 1 GiB and more than 100 times the size of the file.
    """
    path = pathlib.Path(path)
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    # The table is at the end: this is what a cut file lacks.
    except UNREADABLE as error:
        raise ValueError(f"{path} is truncated or corrupted: {error}.") from error
    claimed = sum(part.file_size for part in parts)
    if claimed > MAX_BYTES and claimed > MAX_RATIO * size:
        raise ValueError(
            f"{path} has {size:,} bytes and would expand to {claimed:,}. Store it "
            "without compression if that is right."
        )
    return [part.filename for part in parts]

"""Files that appear under their name only when they are complete."""

import contextlib
import csv
import io
import json
import math
import os
import pathlib
import re
import secrets

import numpy as np

from recipes.common.experiment import checksums
from recipes.common.experiment.errors import UnusableFileError

_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_UNFINISHED = re.compile(r"unfinished-[0-9a-f]{16}-.+")


@contextlib.contextmanager
def replacing(path, checksum=False):
    """A path to write to; what was written takes the place of `path` at the end.

    Any number of processes may write the same file: each has a path of its own.

    Args:
        path: The path of the file.
        checksum: bool. Whether `checksums.check_beside` is to know the file.

    Raises:
        UnusableFileError: If the operating system does not let it be written.
    """
    path = pathlib.Path(path)
    # The same suffix, from which Keras tells what to write.
    temporary = path.with_name(f"unfinished-{secrets.token_hex(8)}-{path.name}")
    try:
        yield temporary
        # Else a power cut may leave the new name on an empty file.
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if checksum:
            old = [path] if path.exists() else []
            # Whatever a kill leaves between the two renames is known.
            _write_checksum(path, *old, temporary)
        os.replace(temporary, path)
        if checksum and old:
            _write_checksum(path, path)
    except OSError as error:
        raise UnusableFileError(
            f"{path} cannot be written: {error.strerror or error}. Make room for it or "
            "choose another directory."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write_checksum(path, *contents):
    with replacing(checksums.beside(path)) as temporary:
        temporary.write_text(checksums.lines_for(path, *contents), encoding="utf-8")


def remove_unfinished(directory):
    """Removes what killed processes have begun to write in a directory."""
    for path in pathlib.Path(directory).iterdir():
        if _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_json(path, content):
    """Writes a dict as strict JSON with a checksum, whole or not at all."""
    text = json.dumps(encode(content), indent=1, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(checksums.sealed(text), encoding="utf-8")


def read_json(path, what_to_do="", must_be_sealed=True):
    """Reads what `write_json` has written.

    The strings "inf", "-inf" and "nan" become floats.

    Args:
        path: Path of the file.
        what_to_do: str. How to go on without the file, for the error.
        must_be_sealed: bool. Whether a file without a checksum is refused.

    Raises:
        UnusableFileError: If the file cannot be read, holds no JSON, or not what was
            written; the message names it.
    """
    return read_sealed(path, what_to_do, must_be_sealed)[0]


def read_sealed(path, what_to_do="", must_be_sealed=False):
    """Reads JSON as `read_json` does: `(content, whether it carries a checksum)`."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        sealed = checksums.is_sealed(text)
        if must_be_sealed and not sealed:
            raise ValueError("it carries no checksum")
        content = json.loads(text)
    except OSError as error:
        raise UnusableFileError(
            f"{path} cannot be read: {error.strerror}. {what_to_do}".rstrip()
        ) from error
    except (ValueError, RecursionError) as error:
        raise UnusableFileError(
            f"{path} is damaged: {error}. {what_to_do}".rstrip()
        ) from error
    if sealed:
        del content[checksums.KEY]
    return decode(content), sealed


def write_csv(path, rows):
    """Writes rows, dicts of equal keys, as CSV, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(csv_text(rows), encoding="utf-8", newline="")


def csv_text(rows):
    """What `write_csv` writes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def encode(value):
    """What JSON knows of `value`: numbers that are not finite become strings."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def decode(value):
    """The inverse of `encode`, but for tuples, which stay lists."""
    if isinstance(value, dict):
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value

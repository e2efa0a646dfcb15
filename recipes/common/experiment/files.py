"""Files that appear under their name only when they are complete."""

import contextlib
import csv
import json
import math
import os
import pathlib

import numpy as np

_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


@contextlib.contextmanager
def replacing(path):
    """A path to write to; what was written takes the place of `path` at the end."""
    path = pathlib.Path(path)
    # The same suffix, from which Keras tells what to write.
    temporary = path.with_name(f"unfinished-{path.name}")
    try:
        yield temporary
        # Else a power cut may leave the new name on an empty file.
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, content):
    """Writes strict JSON, whole or not at all."""
    text = json.dumps(encode(content), indent=1, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path):
    """Reads strict JSON; the strings "inf", "-inf" and "nan" become floats.

    Raises:
        ValueError: If the file holds no JSON; the message names it.
    """
    try:
        return decode(json.loads(pathlib.Path(path).read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} is corrupted: {error}.") from error


def write_csv(path, rows):
    """Writes rows, dicts of equal keys, as CSV, whole or not at all."""
    with replacing(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


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

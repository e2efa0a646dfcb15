"""Text of a file, of a folder, or of Python's standard library, as bytes."""

import pathlib
import sysconfig

PREFIX = "text:"
STANDARD_LIBRARY = "stdlib"
# Files of a folder that are text.
SUFFIXES = (".md", ".py", ".rst", ".txt")
# Folders beside the standard library's own source.
_NOT_LIBRARY = {"dist-packages", "idle_test", "site-packages", "test", "tests"}


def check_name(dataset):
    """Refuses a data set that is not named `text:PATH`."""
    if not dataset.startswith(PREFIX) or dataset == PREFIX:
        raise ValueError(
            f"--dataset must be {PREFIX}PATH, a file or a folder of text, or "
            f"{PREFIX}{STANDARD_LIBRARY}. Received: --dataset={dataset}. Did you mean "
            f"--dataset={PREFIX}{dataset.removeprefix(PREFIX) or STANDARD_LIBRARY}?"
        )


def read(dataset, max_bytes):
    """The text of a data set, file after file in sorted order.

    Args:
        dataset: `"text:PATH"` or `"text:stdlib"`.
        max_bytes: int. What follows these many bytes is left out.

    Returns:
        `(text, is_cut)`: bytes, and whether something was left out.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If there is no text.
        OSError: If a file cannot be read.
    """
    text = bytearray()
    for path in _files(dataset):
        with path.open("rb") as file:
            # One byte more tells whether there is more.
            text += file.read(max_bytes + 1 - len(text))
        if len(text) > max_bytes:
            return bytes(text[:max_bytes]), True
    if not text:
        raise ValueError(
            f"The text of --dataset={dataset} is empty. Name a file or a folder that "
            "holds some."
        )
    return bytes(text), False


def name(dataset):
    """What a data set is called in the names of files."""
    return pathlib.Path(dataset.removeprefix(PREFIX)).stem or "text"


def _files(dataset):
    where = dataset.removeprefix(PREFIX)
    if where == STANDARD_LIBRARY:
        root = pathlib.Path(sysconfig.get_paths()["stdlib"])
        found = _below(root, (".py",))
        return [p for p in found if _NOT_LIBRARY.isdisjoint(p.relative_to(root).parts)]
    path = pathlib.Path(where).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(
            f"There is no file or folder at {path}. Received: --dataset={dataset}. "
            f"Paths are relative to {pathlib.Path.cwd()}."
        )
    found = _below(path, SUFFIXES)
    if not found:
        raise ValueError(
            f"The folder of --dataset={dataset} holds no file that ends in "
            f"{', '.join(SUFFIXES)}. Name another, or a single file, which may end in "
            "anything."
        )
    return found


def _below(root, suffixes):
    paths = (p for p in root.rglob("*") if p.suffix in suffixes and p.is_file())
    return sorted(paths, key=lambda path: path.relative_to(root).as_posix())

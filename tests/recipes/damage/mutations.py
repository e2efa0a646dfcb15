"""Damage to files: seeded, and of every kind that disks, editors and people do."""

import contextlib
import io
import warnings

KINDS = ("cut", "flipped", "changed", "empty", "swapped", "rows", "gone")


def damaged(path, others, rng, kind):
    """What is left of a file, as bytes, or `None` if it is gone.

    Args:
        path: Path of the file.
        others: Paths of files of the same kind, for `"swapped"`.
        rng: `np.random.Generator`.
        kind: One of `KINDS`. `"changed"` writes another digit over one of a text, and
            any byte over one of another file; `"rows"` takes one to three lines out.
    """
    content = path.read_bytes()
    if kind == "cut":
        return content[: rng.integers(1, len(content))]
    if kind == "flipped":
        place = rng.integers(len(content))
        return _with_byte(content, place, content[place] ^ 1 << rng.integers(8))
    if kind == "changed":
        digits = [i for i, c in enumerate(content) if chr(c).isdecimal()]
        place = rng.choice(digits if _is_text(content) else len(content))
        values = b"0123456789" if _is_text(content) else bytes(range(256))
        value = rng.choice([v for v in values if v != content[place]])
        return _with_byte(content, place, value)
    if kind == "swapped":
        return others[rng.integers(len(others))].read_bytes()
    if kind == "rows":
        lines = content.splitlines(keepends=True)
        start = rng.integers(len(lines))
        return b"".join(lines[:start] + lines[start + rng.integers(1, 4) :])
    return b"" if kind == "empty" else None


def write(path, content):
    """Puts what `damaged` gives in the place of a file."""
    path.unlink()
    if content is not None:
        path.write_bytes(content)


def said(function, *arguments):
    """Calls a function: `(result, what it printed or the line it ended with)`.

    The result is `None` where it ended with a line. Other errors pass.
    """
    text = io.StringIO()
    with (
        contextlib.redirect_stderr(text),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(record=True) as found,
    ):
        warnings.simplefilter("always")
        try:
            result = function(*arguments)
        except SystemExit as end:
            # A program's own line, or the status of one that has printed it.
            if isinstance(end.code, str):
                text.write(end.code)
            result = None
    warned = [str(w.message) for w in found if issubclass(w.category, UserWarning)]
    return result, text.getvalue() + "".join(warned)


def _with_byte(content, place, value):
    return content[:place] + bytes([int(value)]) + content[place + 1 :]


def _is_text(content):
    try:
        return content.decode("utf-8").isprintable() or b"\n" in content[:200]
    except UnicodeDecodeError:
        return False

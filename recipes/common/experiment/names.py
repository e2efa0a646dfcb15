"""Names of files that are made of flags: they stay in their directory."""

import re

# File systems take 255 bytes; a file that is being written has 28 more than its name.
_MAX_BYTES = 200
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def check_file_name(name):
    """Returns the name of a file, without its suffix, if it is one on every system.

    Example:

    >>> check_file_name("fixup-depth2-rate0.1")
    'fixup-depth2-rate0.1'

    Raises:
        ValueError: If it could leave its directory, or be no file name.
    """
    forbidden = _FORBIDDEN.search(name)
    reason = None
    if not name or name[0] == ".":
        reason = "start with a dot" if name else "be empty"
    elif forbidden:
        reason = f"hold {forbidden[0]!r}"
    elif len(name.encode(errors="surrogateescape")) > _MAX_BYTES:
        reason = f"be longer than {_MAX_BYTES} bytes"
    if reason:
        raise ValueError(
            f"The id {name!r} cannot name a file: it must not {reason}. Give other "
            "flags."
        )
    return name

"""One process at a time in an output directory.

The operating system holds the lock and drops it with its process, however that ends:
no lock outlives a kill. Where a file system has no locks, filelock falls back to a file
that names the process, and says so.
"""

import contextlib
import datetime
import json
import os
import pathlib
import shlex
import socket
import sys
import time
import weakref

import filelock

from recipes.common.experiment.errors import DirectoryInUseError
from recipes.common.experiment.files import replacing

LOCK = ".lock"
HOLDER = ".lock.json"
# Seconds in which a process that has just taken the lock has said who it is.
_PATIENCE = 1.0


_held: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


class Lock:
    """The right of this process to write to a directory; ends with its last reference.

    Attributes:
        directory: Path of the directory.
    """

    def __init__(self, directory):
        self.directory = directory
        self._lock = filelock.FileLock(directory / LOCK, thread_local=False)
        self._lock.acquire(blocking=False)


def hold(directory):
    """Takes the right to write to a directory; a process that has it shares it.

    Args:
        directory: Path of a directory that there is.

    Returns:
        `Lock`, to be kept as long as something is written.

    Raises:
        DirectoryInUseError: If another process has it; the message says which.
        OSError: If nothing can be written there.
    """
    path = pathlib.Path(directory).resolve()
    lock = _held.get(path)
    if lock is not None:
        return lock
    try:
        lock = Lock(path)
    except filelock.Timeout:
        raise DirectoryInUseError(
            f"{directory} is in use: {_holder(path)} writes to it. Wait for its end, "
            "or choose another directory."
        ) from None
    _introduce(path)
    _held[path] = lock
    return lock


def _introduce(directory):
    """Writes who holds the lock, for others to read."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    me = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": now,
        "command": shlex.join(sys.argv),
    }
    with replacing(directory / HOLDER) as temporary:
        temporary.write_text(json.dumps(me), encoding="utf-8")


def _holder(directory):
    """Who holds the lock, in words."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            text = (directory / HOLDER).read_text(encoding="utf-8")
            found = json.loads(text)
            if _may_run(found["process"], found["host"]):
                return (
                    f"process {found['process']} on {found['host']} "
                    f"(since {found['since']}: {found['command']})"
                )
        time.sleep(0.02)
    return "another process"


def _may_run(process, host):
    """Whether a process may be there; one that was killed says no more who it was."""
    if host != socket.gethostname():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

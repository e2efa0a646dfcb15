"""The peak of a program's memory over a stretch of it."""

import pathlib

_PROC = pathlib.Path("/proc/self")


class PeakMemory:
    """Measures the largest resident set of this process since it was made.

    Linux keeps a high-water mark that a process may lower to its present size.
    Where that is not possible, there is no telling the peak of one stretch from
    those before it, and the measurement is `None`.

    Example:

    >>> peak = PeakMemory()
    >>> megabytes = peak.megabytes()
    """

    def __init__(self):
        try:
            # 5 stands for "reset the peak": see man 5 proc, clear_refs.
            (_PROC / "clear_refs").write_text("5")
            self._reset = True
        except OSError:
            self._reset = False

    def megabytes(self):
        """The peak in MB (2^20 bytes), or `None` where it cannot be measured."""
        if not self._reset:
            return None
        try:
            status = (_PROC / "status").read_text()
        except OSError:
            return None
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
        return None

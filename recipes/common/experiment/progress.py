"""The progress of a long job on the screen: a bar, and a line per result."""

import shutil
import sys
import time


class Progress:
    """Shows how much of a job is done and how long the rest will take.

    On a terminal, the last line is a bar that is drawn over itself. Elsewhere
    (a file, a pipe) every result is a plain line that ends in the time left.

    Example:

    >>> progress = Progress(total=10)
    >>> progress.advance(5)
    >>> progress.fraction
    0.5

    Args:
        total: float. Work of the whole job, in any unit.
        stream: Text file, `sys.stdout` by default.
        clock: Callable that returns seconds.
    """

    WIDTH = 24

    def __init__(self, total, stream=None, clock=time.monotonic):
        self.total = total
        self.done = 0.0
        self._stream = stream or sys.stdout
        self._clock = clock
        self._start = clock()
        self._label = ""
        self._is_terminal = self._stream.isatty()

    @property
    def fraction(self):
        return self.done / self.total if self.total > 0 else 1.0

    def seconds_left(self):
        """Expected seconds until the end, or `None` before anything is known."""
        if self.done <= 0:
            return None
        return (self._clock() - self._start) / self.done * (self.total - self.done)

    def start(self, label):
        """Says what is being worked on."""
        self._label = label
        self._draw()

    def advance(self, work):
        """Adds finished work."""
        self.done += work
        self._draw()

    def skip(self, work):
        """Takes work out of the job that turns out not to be needed."""
        # It took no time, so it must not count as fast work.
        self.total -= work
        self._draw()

    def write(self, line):
        """Prints a line that stays."""
        if self._is_terminal:
            self._print(f"\r\x1b[K{line}\n")
            self._draw()
        else:
            self._print(f"{line}  [{self._status()}]\n")

    def finish(self):
        """Removes the bar."""
        if self._is_terminal:
            self._print("\r\x1b[K")

    def _status(self):
        return f"{100 * self.fraction:3.0f} %, {format_left(self.seconds_left())}"

    def _draw(self):
        if not self._is_terminal:
            return
        filled = round(self.WIDTH * min(self.fraction, 1.0))
        bar = "█" * filled + "░" * (self.WIDTH - filled)
        line = f"{bar} {self._status()}  {self._label}"
        columns = shutil.get_terminal_size().columns
        self._print(f"\r\x1b[K{line[: columns - 1]}")

    def _print(self, text):
        self._stream.write(text)
        self._stream.flush()


def format_left(seconds):
    """The time left for people.

    Example:

    >>> format_left(None), format_left(9), format_left(125), format_left(7300)
    ('estimating', '0:09 left', '2:05 left', '2:01:40 left')
    """
    if seconds is None:
        return "estimating"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d} left"
    return f"{minutes}:{seconds:02d} left"

"""The progress of a long job on the screen: a bar, and a line per result."""

import atexit
import time

import rich.progress
from rich.console import Console


class Progress:
    """Shows how much of a job is done and how long the rest will take.

    On a terminal, the last line is a bar. Elsewhere (a file, a pipe) every result is a
    plain line that ends in the time left.

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

    def __init__(self, total, stream=None, clock=time.monotonic):
        self.total = total
        self.done = 0.0
        self._clock = clock
        self._start = clock()
        self._console = Console(file=stream, markup=False, highlight=False)
        self._bar = rich.progress.Progress(
            rich.progress.BarColumn(24),
            rich.progress.TextColumn(
                "{task.fields[status]}  {task.description}", markup=False
            ),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, status="")
        # The bar hides the cursor.
        atexit.register(self._bar.stop)

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
        self._bar.start()
        self._update(description=label)

    def advance(self, work):
        """Adds finished work."""
        self.done += work
        self._update()

    def skip(self, work):
        """Takes work out of the job that turns out not to be needed."""
        # It took no time, so it must not count as fast work.
        self.total -= work
        self._update()

    def write(self, line):
        """Prints a line that stays."""
        if not self._console.is_terminal:
            line = f"{line}  [{self._status()}]"
        self._console.print(line, soft_wrap=True)

    def finish(self):
        """Removes the bar."""
        self._bar.stop()

    def _status(self):
        return f"{100 * self.fraction:3.0f} %, {format_left(self.seconds_left())}"

    def _update(self, **changes):
        changes |= {"total": self.total, "completed": self.done}
        self._bar.update(self._task, status=self._status(), **changes)


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

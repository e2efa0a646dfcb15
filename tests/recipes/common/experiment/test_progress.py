import io
import re

from recipes.common.experiment.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_time_left_comes_from_the_work_done():
    clock = Clock()
    progress = Progress(100, stream=io.StringIO(), clock=clock)
    assert progress.seconds_left() is None
    clock.now = 10
    progress.advance(20)
    assert progress.seconds_left() == 40


def test_skipped_work_does_not_count_as_fast_work():
    clock = Clock()
    progress = Progress(100, stream=io.StringIO(), clock=clock)
    clock.now = 10
    progress.advance(20)
    progress.skip(40)
    assert progress.seconds_left() == 20
    assert progress.fraction == 20 / 60


def test_a_job_without_work_is_done():
    progress = Progress(10, stream=io.StringIO())
    progress.skip(10)
    assert progress.fraction == 1


def test_plain_lines_where_there_is_no_terminal():
    stream = io.StringIO()
    progress = Progress(4, stream=stream)
    progress.start("first")
    progress.advance(1)
    progress.write("an arm")
    progress.finish()
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("an arm") and "25 %" in line
    assert "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_a_bar_that_is_drawn_over_itself_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = Progress(4, stream=stream)
    progress.start("first")
    progress.advance(2)
    progress.write("an arm [1]")
    progress.finish()
    text = stream.getvalue()
    assert "━" in text and "50 %" in text and "first" in text
    assert "an arm [1]\n" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    # At the end the bar is erased, and the cursor seen again.
    assert text.endswith("\x1b[2K") and "\x1b[?25h" in text


def test_a_long_line_stays_one_line_where_there_is_no_terminal():
    stream = io.StringIO()
    Progress(4, stream=stream).write("an arm " * 30)
    assert len(stream.getvalue().splitlines()) == 1

"""One process at a time: with processes of their own, which import no backend."""

import contextlib
import gc
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

from recipes.common.experiment import lock
from recipes.common.experiment.errors import DirectoryInUseError

ROOT = pathlib.Path(lock.__file__).parents[3]
# `recipes.common.experiment` imports Keras, which these processes do without.
BARE = """
    import importlib.util, pathlib, sys, types
    root = pathlib.Path("recipes/common/experiment")
    for name in ("recipes", "recipes.common", "recipes.common.experiment"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [name.replace(".", "/")]
    from recipes.common.experiment import files, lock
"""
HOLD = """
    held = lock.hold(sys.argv[1])
    print("held", flush=True)
    sys.stdin.read()
"""


def program(text, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(BARE) + textwrap.dedent(text)]
        + [str(argument) for argument in arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def holder(path):
    """Another process that holds the lock."""
    process = program(HOLD, path)
    try:
        assert process.stdout.readline() == "held\n", process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_second_process_is_told_who_holds_the_directory(tmp_path):
    with holder(tmp_path) as other, pytest.raises(DirectoryInUseError) as error:
        lock.hold(tmp_path)
    assert f"process {other.pid} on " in str(error.value)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_lock_dies_with_its_process(tmp_path):
    with holder(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert (tmp_path / lock.LOCK).exists()
        lock.hold(tmp_path)


def test_process_shares_its_lock_and_drops_it_with_the_last_reference(tmp_path):
    first = lock.hold(tmp_path)
    assert lock.hold(tmp_path) is first
    refused = program(HOLD, tmp_path)
    _, error = refused.communicate()
    assert refused.returncode and f"process {os.getpid()} on " in error
    del first
    gc.collect()
    with holder(tmp_path):
        pass


def test_holder_that_was_killed_is_not_taken_for_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE", 0.05)
    with holder(tmp_path) as other:
        killed = program("", tmp_path)
        killed.communicate()
        text = (tmp_path / lock.HOLDER).read_text()
        # As if the holder had not said yet who it is.
        text = text.replace(f'"process": {other.pid}', f'"process": {killed.pid}')
        (tmp_path / lock.HOLDER).write_text(text)
        with pytest.raises(DirectoryInUseError, match="another process"):
            lock.hold(tmp_path)


def test_processes_that_write_one_file_do_not_disturb_each_other(tmp_path):
    write = """
        for i in range(250):
            files.write_json(sys.argv[1], {"writer": sys.argv[2], "values": [i] * 50})
    """
    path = tmp_path / "x.json"
    writers = [program(write, path, number) for number in range(4)]
    ends = [process.communicate()[1] for process in writers]
    assert ends == [""] * 4
    values = files_of(tmp_path)
    assert values == ["x.json"]


def files_of(path):
    return sorted(p.name for p in path.iterdir())

"""Locks: one process at a time for one piece of work, and none is left behind by a process that was killed."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from cohortseg.alone import alone, hold

HOLDER = """
import sys, time
from pathlib import Path
from cohortseg.alone import alone
with alone(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `work`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "locks"), "work"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_what_another_process_holds_is_refused_and_other_work_is_not(tmp_path, holder):
    assert not hold(tmp_path / "locks", "work")
    assert hold(tmp_path / "locks", "other work")


def test_the_lock_of_a_killed_process_is_free(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert hold(tmp_path / "locks", "work")


def test_the_second_waits_for_the_first_and_says_so(tmp_path, holder, capfd):
    os.kill(holder.pid, signal.SIGSTOP)
    waiting = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "locks"), "work"], stderr=subprocess.PIPE)
    assert waiting.stderr.readline() == b"waiting: another process does the same (work)\n"
    assert waiting.poll() is None
    waiting.kill()
    waiting.communicate()


def test_a_file_system_without_locks_stops_nobody(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with alone(tmp_path / "locks", "work"):
        assert hold(tmp_path / "locks", "work")


def test_a_folder_that_cannot_be_written_stops_nobody_here(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with alone(tmp_path / "locks", "work"):
        pass

"""A run that is killed and started again ends with the bytes of one that was left alone."""

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
from comparable import comparable_bytes
from tiny_study import CLEANING, environment, run, snakemake_command, study_of, write_config

pytestmark = pytest.mark.workflow

SEED = 5
N_KILLS = 3


def killed_after(home: Path, seconds: float) -> bool:
    """Start the study, kill it with all its jobs after a while; whether it was still at work."""
    with (home / "killed.log").open("a") as log:
        process = subprocess.Popen(
            snakemake_command(), cwd=home, env=environment(), stdout=log, stderr=log, start_new_session=True
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            # The whole group: a job that lost its parent would go on writing.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
    return False


def finish(home: Path) -> None:
    """The same command again, after the lock is taken away where Snakemake asks for it."""
    again = run(home)
    if again.returncode != 0 and "--unlock" in again.output:
        assert run(home, "--unlock").returncode == 0
        again = run(home)
    assert again.returncode == 0, again.output


def unlock(home: Path) -> None:
    """What Snakemake asks for after a kill; a lock stands only where it got that far."""
    if any((home / ".snakemake" / "locks").glob("*")):
        assert run(home, "--unlock").returncode == 0


def assert_same_bytes(found_home: Path, expected_home: Path) -> None:
    """Every file that the promise covers has the same bytes, and nothing is left over."""
    expected, found = comparable_bytes(study_of(expected_home)), comparable_bytes(study_of(found_home))
    assert sorted(found) == sorted(expected)
    assert [path for path in expected if found[path] != expected[path]] == []
    leftovers = [path for path in study_of(found_home).rglob("*") if path.name.endswith((".part", ".gone"))]
    assert leftovers == []


def test_killed_at_any_moment_it_ends_with_the_same_bytes(fresh, finished):
    undisturbed, _, seconds = finished
    moments = random.Random(SEED)
    n_killed = 0
    for _ in range(N_KILLS):
        n_killed += killed_after(fresh, max(4.0, moments.uniform(0.12, 0.3) * seconds))
        unlock(fresh)
    assert n_killed, "every run ended before it was killed"
    finish(fresh)
    assert_same_bytes(fresh, undisturbed)


def test_an_update_killed_on_its_way_ends_with_the_same_bytes(home, cleaned, finished):
    undisturbed, _ = cleaned
    _, _, seconds = finished
    write_config(home, CLEANING)
    moments = random.Random(SEED)
    n_killed = 0
    for _ in range(2):
        n_killed += killed_after(home, max(3.5, moments.uniform(0.08, 0.15) * seconds))
        unlock(home)
    assert n_killed, "every run ended before it was killed"
    finish(home)
    assert_same_bytes(home, undisturbed)

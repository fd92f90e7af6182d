"""A run that is killed and started again ends with the bytes of one that was left alone."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from comparable import comparable_bytes
from tiny_study import environment, run, snakemake_command, study_of

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


def finish(home: Path) -> str:
    """The same command again, after the lock is taken away where Snakemake asks for it."""
    again = run(home)
    if again.returncode != 0 and "--unlock" in again.output:
        assert run(home, "--unlock").returncode == 0
        again = run(home)
    assert again.returncode == 0, again.output
    return again.output


def test_killed_at_any_moment_it_ends_with_the_same_bytes(fresh, finished):
    undisturbed, _, seconds = finished
    moments = random.Random(SEED)
    n_killed = 0
    for _ in range(N_KILLS):
        n_killed += killed_after(fresh, max(4.0, moments.uniform(0.12, 0.3) * seconds))
        if (fresh / ".snakemake" / "locks").is_dir() and any((fresh / ".snakemake" / "locks").iterdir()):
            assert run(fresh, "--unlock").returncode == 0
        time.sleep(0.2)
    assert n_killed, "every run ended before it was killed"
    finish(fresh)
    expected, found = comparable_bytes(study_of(undisturbed)), comparable_bytes(study_of(fresh))
    assert sorted(found) == sorted(expected)
    assert [path for path in expected if found[path] != expected[path]] == []
    leftovers = [path for path in study_of(fresh).rglob("*") if path.name.endswith((".part", ".gone"))]
    assert leftovers == []

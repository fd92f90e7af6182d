"""A step whose time ends goes back to the queue of SLURM: the same job, the same memory, from where it stopped."""

import os
import re
import subprocess
import sys
import time

SECONDS_TO_BE_STOPPED = 120.0
MOST_RESTARTS = 200
"""A training that is no further after so many jobs never will be."""


def go_on_later() -> bool:
    """Put the SLURM job around this process back in the queue and wait to be stopped; False where there is none."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or _restarts(job) >= MOST_RESTARTS:
        return False
    if _scontrol("requeue", job) is None:
        return False
    print(f"SLURM job {job} is saved and goes back to the queue", file=sys.stderr, flush=True)
    # An exit now could be taken for the end of the job.
    time.sleep(SECONDS_TO_BE_STOPPED)
    return True


def _restarts(job: str) -> int:
    found = re.search(r"Restarts=(\d+)", _scontrol("--oneliner", "show", "job", job) or "")
    return int(found[1]) if found else 0


def _scontrol(*arguments: str) -> str | None:
    """What the command prints; None where it fails."""
    try:
        done = subprocess.run(["scontrol", *arguments], check=False, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None

"""What is mended in Snakemake's SLURM executor: a run outlives its controller, and a dead queue ends with a line.

Executor 2.8.0 forgets all its jobs when one round of status queries fails: the submitter then waits for ever for
jobs that have long finished. It waits for ever, too, for a job that a dying controller has lost, or that asks for more
than its partition gives. It gives up a job whose submission meets a controller that is away for a moment. It looks up
to three minutes late for a job that has ended. And it takes the path of the partitions relative to `--directory`. The
versions of Snakemake and executor are pinned, and tests on a real SLURM fail when the mends no longer hold.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

PATIENCE_MINUTES = 60.0
"""So long SLURM may be silent before the run ends."""
POLL_SECONDS = 10.0
SLOWEST_POLL = 3
"""An ended job is seen after at most so many times the first interval between status checks."""
FORGOTTEN_AFTER = 15
"""A job that SLURM does not know for so many times that interval counts as failed."""
HOPELESS = ("PartitionTimeLimit", "PartitionNodeLimit", "BadConstraints", "AccountNotAllowed", "QOSNotAllowed")
"""Reasons of a waiting job that waiting does not change."""
HELD, MOST_RELEASES = "requeued held", 3
"""What SLURM says of a job that could not be launched (its node or the controller died); how often it is let go."""


class Answers:
    """What SLURM last said: whether it answers at all, and since when it does not know a job."""

    def __init__(self, patience_minutes: float) -> None:
        self.patience_s = 60.0 * patience_minutes
        self.states: dict[str, str] | None = {}
        self.silent_since: float | None = None
        self.unknown_since: dict[str, float] = {}
        self.released: Counter[str] = Counter()

    def heard(self, *, answered: bool) -> None:
        """Take note of a query and say when silence begins or ends.

        Raises
        ------
        TimeoutError
            When the silence has lasted longer than the patience.
        """
        now = time.monotonic()
        if answered:
            if self.silent_since is not None:
                _say(f"SLURM answers again, after {now - self.silent_since:.0f} s")
            self.silent_since = None
            return
        if self.silent_since is None:
            self.silent_since = now
            _say(f"SLURM does not answer; waiting up to {self.patience_s / 60:.0f} minutes (`scontrol ping` asks it)")
        if now - self.silent_since > self.patience_s:
            _say(dead_queue(self.patience_s / 60))
            raise TimeoutError("SLURM does not answer")

    def forgot(self, job: str, after_s: float) -> bool:
        """Whether SLURM has not known a job for so long: a controller that died may have lost it."""
        if self.states is None or any(known.split("_")[0] == job.split("_")[0] for known in self.states):
            self.unknown_since.pop(job, None)
            return False
        now = time.monotonic()
        return now - self.unknown_since.setdefault(job, now) > after_s


def dead_queue(minutes: float) -> str:
    """The last line of a run whose queue is dead."""
    return (
        f"SLURM has not answered for {minutes:.0f} minutes; finished work is kept. When `scontrol ping` says UP, "
        "stop what is left with `scancel --me` and run the same command again"
    )


def guard(executor_module: Any, run_directory: Path, patience_minutes: float = PATIENCE_MINUTES) -> None:
    """Mend the executor, once.

    Parameters
    ----------
    executor_module : module
        `snakemake_executor_plugin_slurm`; changed in place.
    run_directory : Path
        Where Snakemake was started: relative paths of the profile start there.
    patience_minutes : float
        Silence of SLURM after which the run ends.
    """
    if getattr(executor_module, "guarded", False):
        return
    executor_module.guarded = True
    answers = Answers(patience_minutes)
    _remember_answers(executor_module, answers)
    _keep_jobs(executor_module.Executor, answers)
    _submit_patiently(executor_module.Executor, answers)
    read_partitions = executor_module.read_partition_file
    executor_module.read_partition_file = lambda path: read_partitions(run_directory / path)


def _remember_answers(module: Any, answers: Answers) -> None:
    """Keep the last status of all jobs, and the last MinJobAge, without which the executor turns to sacct."""
    query, min_job_age = module.query_job_status, module.get_min_job_age
    known: list[int] = []

    async def query_job_status(*arguments: Any) -> Any:
        found = await query(*arguments)
        answers.states = found[0]
        return found

    def get_min_job_age() -> int | None:
        age = min_job_age()
        if age is not None:
            known[:] = [age]
        return known[0] if known else None

    module.query_job_status, module.get_min_job_age = query_job_status, get_min_job_age


def _keep_jobs(executor_class: Any, answers: Answers) -> None:
    """Give all jobs back after a round without an answer, and fail those that SLURM has lost or can never start."""
    check = executor_class.check_active_jobs

    async def check_active_jobs(self: Any, active_jobs: list[Any]) -> AsyncIterator[Any]:
        first = self.workflow.executor_settings.init_seconds_before_status_checks
        async for job in check(self, active_jobs):
            if answers.forgot(job.external_jobid, FORGOTTEN_AFTER * first):
                self.report_job_error(job, msg=f"SLURM knows nothing of job {job.external_jobid} any more. ")
            else:
                yield job
        if active_jobs:
            answers.heard(answered=answers.states is not None)
            if answers.states is None:
                for job in active_jobs:
                    yield job
            else:
                mend_waiting({job.external_jobid for job in active_jobs}, answers.released)
            self.next_seconds_between_status_checks = min(self.next_seconds_between_status_checks, SLOWEST_POLL * first)

    executor_class.check_active_jobs = check_active_jobs


def _submit_patiently(executor_class: Any, answers: Answers) -> None:
    """Wait for the controller before a job is submitted: otherwise each try costs the job a retry."""
    run_job = executor_class.run_job

    def run_patiently(self: Any, job: Any) -> None:
        while not (answered := controller_answers()):
            answers.heard(answered=answered)
            time.sleep(POLL_SECONDS)
        run_job(self, job)

    executor_class.run_job = run_patiently


def mend_waiting(jobs: set[str], released: Counter[str]) -> None:
    """Let jobs go that SLURM holds after a failed launch; cancel those that can never start, with a line for each.

    Parameters
    ----------
    jobs : set of str
        Numbers of the jobs of this run.
    released : Counter
        How often each was let go; changed in place.
    """
    told = _output(["squeue", "--me", "--states=PENDING", "--noheader", "--format=%i|%r|%P"])
    waiting = [line.split("|") for line in told.splitlines() if line.count("|") == 2]
    for job, reason, partition in (row for row in waiting if row[0] in jobs):
        if HELD in reason and released[job] < MOST_RELEASES:
            released[job] += 1
            _say(f"SLURM holds job {job} ({reason}); it is released")
            _output(["scontrol", "release", job])
        elif HELD in reason or reason in HOPELESS:
            _say(
                f"SLURM job {job} can never start in partition {partition} ({reason}) and is cancelled: "
                "`cohortseg check-cluster` says what to change in the profile"
            )
            _output(["scancel", job])


def controller_answers() -> bool:
    """Whether a controller is up; a command that hangs counts as no answer."""
    return " UP" in _output(["scontrol", "ping"])


def _output(command: list[str]) -> str:
    """What a command of SLURM prints; nothing where it fails or hangs."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _say(text: str) -> None:
    print(f"cohortseg: {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

"""How a study is run on the throw-away cluster, and what the cluster says of its jobs."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tiny_study import ROOT, Run, environment, write_config

COHORT = range(1, 5)
SECONDS = 600
"""No run here takes longer; one that waits for ever is killed and fails its test."""


def write_study(home: Path, **changes: object) -> None:
    """The settings of the tiny study with two cases in a job; `changes` replaces keys of its groups."""
    write_config(home, {"jobs": {"cases_per_job": 2}, **changes})


def cluster_command(home: Path, *arguments: str) -> list[str]:
    """The users' line, from the root of the repository, over a study elsewhere; looks for ended jobs each second."""
    line = [sys.executable, "-m", "snakemake", "--cores", "all", "--profile", "slurm"]
    line += ["--configfile", str(home / "config.yaml"), "--directory", str(home)]
    return [*line, "--slurm-init-seconds-before-status-checks", "1", *arguments]


def start_on_cluster(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the study on the cluster; its output goes to `run.log`."""
    with (home / "run.log").open("w") as log:
        return subprocess.Popen(
            ["timeout", "-k", "5", str(SECONDS), *cluster_command(home, *arguments)],
            cwd=ROOT,
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )


def finish_on_cluster(home: Path, process: subprocess.Popen[str]) -> Run:
    """Wait for the end of a run."""
    return Run(process.wait(SECONDS + 30), (home / "run.log").read_text())


def run_on_cluster(home: Path, *arguments: str) -> Run:
    """Run the study on the cluster to its end."""
    return finish_on_cluster(home, start_on_cluster(home, *arguments))


def wait_for(what: Callable[[], object], seconds: float = 90.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.1)


def slurm(*command: str) -> str:
    """What a command of SLURM prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@dataclass(frozen=True)
class Job:
    """One job as the cluster's controller knows it."""

    number: str
    rules: str
    log: str
    state: str
    partition: str
    mem_mb: int
    minutes: int
    gpus: int
    cpus: int
    restarts: int


def jobs_of(home: Path) -> list[Job]:
    """The jobs of the study in a working directory, in the order of their numbers."""
    told = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in slurm("scontrol", "show", "job", "-o").splitlines()]
    return [_job(fields) for fields in told if fields.get("WorkDir") == str(home)]


def _job(fields: dict[str, str]) -> Job:
    days, _, clock = fields["TimeLimit"].rpartition("-")
    hours, minutes, _ = (int(part) for part in clock.split(":"))
    asked = dict(re.findall(r"(\w+)=([^,]+)", fields["TRES"]))
    unit = {"M": 1, "G": 1024}[asked["mem"][-1]]
    return Job(
        number=fields["JobId"],
        rules=fields["StdOut"].split("/slurm_logs/")[1].split("/")[0],
        log=fields["StdOut"],
        state=fields["JobState"],
        partition=fields["Partition"],
        mem_mb=round(float(asked["mem"][:-1]) * unit),
        minutes=(int(days or 0) * 24 + hours) * 60 + minutes,
        gpus=int(fields.get("TresPerJob", "gpu:0").rpartition(":")[2]),
        cpus=int(fields["NumCPUs"]),
        restarts=int(fields["Restarts"]),
    )


def start_again_now(number: str) -> None:
    """Wait until a job is back in the queue, and take away the two minutes that SLURM lets it wait there.

    They are there for what is left of the first start, whose end may be taken for that of the second.
    """
    wait_for(lambda: "PENDING" in slurm("squeue", "-h", "-j", number, "-o", "%T"))
    slurm("scontrol", "update", f"JobId={number}", "StartTime=now")


@dataclass(frozen=True)
class Task:
    """One task from inside: its job, where it ran, which cards it was given, and when."""

    job: str
    partition: str
    node: str
    cards: str
    begin: float
    end: float


def tasks_of(cluster: Path, jobs: set[str]) -> list[Task]:
    """The steps of some jobs, as the cluster's prolog and epilog saw them."""
    begun: dict[tuple[str, str], Task] = {}
    for line in (cluster / "log" / "tasks.log").read_text().splitlines():
        # The batch step, which only starts the others, has no number of its own.
        word, when, job, partition, node, *rest = line.split(" ")
        step, cards = rest
        if job not in jobs or not step:
            continue
        if word == "begin":
            begun[job, step] = Task(job, partition, node, cards, float(when), float("inf"))
        else:
            begun[job, step] = Task(job, partition, node, cards, begun[job, step].begin, float(when))
    return list(begun.values())

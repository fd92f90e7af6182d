"""The processes that share the blocks of an oversize case: started by its job, given back at its end, however it ends.

On this machine they are processes; where the job is one of SLURM they are SLURM jobs (dask-jobqueue) in the job's own
partition and on its account. They talk over TLS with keys of this job alone: a scheduler of Dask runs what it is sent.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from cohortseg.blocks import Workers
from cohortseg.errors import StudyError
from cohortseg.layout import Layout
from cohortseg.steps.batch import log

WAIT_S = 1800.0
"""So long the first worker may wait for a place; then the job does all blocks itself."""
ORPHAN_S = 60
"""A worker that finds no scheduler for so long ends: its job was killed."""
NANNY_MB = 300
"""What SLURM counts of a worker beside its blocks: the process that watches it."""


class BlockWorkers:
    """The workers of a job, started when the first case asks for them.

    Parameters
    ----------
    arguments : Namespace
        What `add_blocks` has added: `workers` (0: no case of the job is oversize; 1: blocks are done by the job alone;
        else processes), `worker_mb` and `minutes` of each. Logs and keys go into the folder of `study`.
    held : ExitStack
        Gives them back.
    """

    def __init__(self, arguments: argparse.Namespace, held: ExitStack) -> None:
        self.layout: Layout = arguments.study
        self.n: int = getattr(arguments, "workers", 0)
        self.memory_mb: int = getattr(arguments, "worker_mb", 2000)
        self.minutes: int = getattr(arguments, "minutes", 240)
        self.held = held
        self.workers: Workers | None = None

    @property
    def by_blocks(self) -> bool:
        """Whether the cases of this job are worked through by blocks."""
        return self.n > 0

    def start(self) -> Workers:
        """The workers, at work."""
        if self.workers is None:
            self.workers = 1 if self.n < 2 else self.held.enter_context(_cluster(self))
        return self.workers


@contextmanager
def _cluster(asked: BlockWorkers) -> Iterator[Workers]:
    try:
        from distributed import Client
    except ImportError:
        raise StudyError(
            "`jobs.oversize.workers` above 1 needs dask-jobqueue: pip install 'cohortseg[cluster]'"
        ) from None
    # Zarr would decode a block in as many threads as the machine has, each with memory of its own.
    os.environ["ZARR_THREADING__MAX_WORKERS"] = "1"
    asked.layout.locks.mkdir(parents=True, exist_ok=True)
    with (
        _terminated_by_exception(),
        tempfile.TemporaryDirectory(prefix="keys-", dir=asked.layout.locks) as keys,
        _started(asked, keys) as cluster,
        Client(cluster, security=cluster.security, set_as_default=False) as client,
    ):
        try:
            client.wait_for_workers(1, timeout=WAIT_S)
        except TimeoutError:
            log(f"no worker began within {WAIT_S / 60:.0f} minutes: the job does the blocks alone")
            yield 1
            return
        log(f"{asked.n} workers asked for; {type(cluster).__name__}")
        yield client


def _started(asked: BlockWorkers, keys: str) -> Any:
    from distributed import LocalCluster, Security

    security = Security.temporary()
    if "SLURM_JOB_ID" not in os.environ or shutil.which("sbatch") is None:
        return LocalCluster(
            n_workers=asked.n,
            threads_per_worker=1,
            memory_limit=f"{asked.memory_mb}MB",
            dashboard_address=":0",
            security=security,
            protocol="tls://",
        )
    from dask_jobqueue import SLURMCluster

    asked.layout.worker_logs.mkdir(parents=True, exist_ok=True)
    qos = os.environ.get("SLURM_JOB_QOS")
    return SLURMCluster(
        n_workers=asked.n,
        cores=1,
        processes=1,
        memory=f"{asked.memory_mb}MB",
        job_mem=f"{asked.memory_mb + NANNY_MB}M",
        walltime=str(asked.minutes),
        queue=os.environ.get("SLURM_JOB_PARTITION"),
        account=os.environ.get("SLURM_JOB_ACCOUNT"),
        job_name="cohortseg-blocks",
        job_extra_directives=["--no-requeue", *([f"--qos={qos}"] if qos else [])],
        death_timeout=ORPHAN_S,
        log_directory=str(asked.layout.worker_logs),
        python=sys.executable,
        scheduler_options={"dashboard_address": ":0"},
        security=security,
        protocol="tls://",
        shared_temp_directory=keys,
    )


@contextmanager
def _terminated_by_exception() -> Iterator[None]:
    """Let SIGTERM (`scancel`, the end of a job's time) raise, so that the workers are given back."""

    def leave(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""The processes of one training: started, told of signals, and ended together when one of them dies.

On one machine each is a child of this process. In a SLURM job that has a task for each, they are the tasks of one
`srun`, on as many nodes as the job has. This process computes nothing: it holds the store where they meet, so that a
port is never guessed, and watches.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

from cohortseg.alone import alone
from cohortseg.errors import StudyError
from cohortseg.layout import Layout
from cohortseg.train.loop import Interrupted

MEMBER = [sys.executable, "-m", "cohortseg.steps.training_member"]
GRACE_S = 20.0
"""Time for the others to end by themselves when one has ended with an error."""
STOPPED_S = 100.0
"""The same after a signal to stop, when the first still writes the checkpoint."""
POLL_S = 0.2
STOPS = (signal.SIGTERM, signal.SIGUSR1)


def train_together(layout: Layout, size: int) -> None:
    """Run this very step in `size` processes.

    Raises
    ------
    Interrupted
        When they stopped for a signal, after the checkpoint is written.
    StudyError
        When one of them died, or there are too few graphics cards.
    """
    import torch
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    srun = srun_line(size)
    by_slurm = srun is not None
    cards = torch.cuda.device_count()
    if not by_slurm and 0 < cards < size:
        raise StudyError(f"{size} processes need a graphics card each, this machine has {cards}; set `processes`")
    host = socket.gethostname() if by_slurm else "127.0.0.1"
    store = TCPStore(host, 0, None, is_master=True, wait_for_workers=False)
    told = {**os.environ, "MASTER_ADDR": host, "MASTER_PORT": str(store.port), "WORLD_SIZE": str(size)}
    # Two such trainings on one machine could each hold a card that the other waits for.
    one_at_a_time = alone(layout.locks / "cards.lock", f"cards of {os.uname().nodename}") if cards else nullcontext()
    with ExitStack() as held:
        if srun is not None:
            commands = [([*srun, *MEMBER, *sys.argv[2:]], told)]
        else:
            held.enter_context(one_at_a_time)
            told |= {"GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo"), "PARENT": str(os.getpid())}
            commands = [
                ([*MEMBER, *sys.argv[2:]], {**told, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(size)
            ]
        processes: list[subprocess.Popen[bytes]] = []
        with _passing_on(processes):
            processes += [subprocess.Popen(line, env=env) for line, env in commands]
            watch(processes)


def srun_line(size: int) -> list[str] | None:
    """The `srun` that starts a process per task of the SLURM job around this one; None where there is no such job.

    The controller is asked, because Snakemake takes all but the job's number out of the environment of its jobs.
    """
    told = _of_job(os.environ.get("SLURM_JOB_ID"))
    facts = dict(re.findall(r"(\S+?)=(\S*)", told))
    if facts.get("NumTasks") != str(size):
        return None
    shape = [f"--nodes={facts['NumNodes']}", f"--ntasks={size}", f"--cpus-per-task={facts['CPUs/Task']}", "--mem=0"]
    return ["srun", "--overlap", "--kill-on-bad-exit=1", *shape]


def _of_job(number: str | None) -> str:
    """What SLURM says of a job; nothing where it does not answer."""
    if number is None:
        return ""
    line = ["scontrol", "--oneliner", "show", "job", number]
    try:
        done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def watch(processes: list["subprocess.Popen[bytes]"]) -> None:
    """Wait for the end of all; where one ends with an error, the others get little time to end as well.

    Raises
    ------
    Interrupted, StudyError
        As `train_together`.
    """
    try:
        deadline = None
        while None in (ends := [process.poll() for process in processes]):
            codes = [code for code in ends if code]
            if codes and deadline is None:
                deadline = time.monotonic() + (STOPPED_S if stopped_by(codes) else GRACE_S)
            if deadline is not None and time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    number = stopped_by([code for code in ends if code])
    if number is not None:
        raise Interrupted(f"{number.name}: the {len(processes)} processes of the training have stopped")
    if any(code != 0 for code in ends):
        raise StudyError(f"the training needs all its processes: {_ends(ends)}")


def stopped_by(codes: list[int]) -> signal.Signals | None:
    """The signal to stop that exit codes other than 0 speak of; None where any of them speaks of something else."""
    names = {code: number for number in STOPS for code in (-number, 128 + number)}
    found = {names.get(code) for code in codes}
    return min(number for number in found if number is not None) if found and None not in found else None


def _ends(codes: list[int | None]) -> str:
    """How each process ended, those first that nobody but the system can have ended."""
    told = []
    for rank, code in sorted(enumerate(codes), key=lambda entry: 0 if entry[1] is None else entry[1]):
        if code is None:
            told.append(f"process {rank} waited for the others and was ended")
        elif code < 0:
            told.append(f"process {rank} was killed ({signal.Signals(-code).name})")
        elif code > 0:
            told.append(f"process {rank} ended with status {code}")
    return "; ".join(told)


@contextmanager
def _passing_on(processes: list["subprocess.Popen[bytes]"]) -> Iterator[None]:
    """Signals to stop go on to all processes."""

    def pass_on(number: int, _: object) -> None:
        for process in processes:
            process.send_signal(number)

    previous = {number: signal.signal(number, pass_on) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

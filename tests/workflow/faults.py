"""Faults that a machine or a person does to a run, and the proof that the same command mends them.

Each fault strikes a running study once, at a moment that chance chooses. Then the same command is given again, after
the one line that the table names where there is one. The study must end with the bytes of one that was left alone.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bad_machine import WITHOUT_RIGHTS, on_a_small_disk
from comparable import comparable_bytes
from tiny_study import (
    SOURCE,
    Run,
    admit,
    cohortseg,
    environment,
    run,
    snakemake_command,
    study_of,
    write_config,
    write_patients,
)

N_JOBS = 29
"""Jobs of the study that is struck."""
NEXT_DAY_S = 86_400
FEW = range(1, 5)
"""Numbers of the patients of the study that is struck: few, and two of them in a job, because it runs so often."""


@dataclass(frozen=True)
class Struck:
    """A run that a fault has struck: how it ended, in words."""

    outcome: str
    output: str


@dataclass(frozen=True)
class Fault:
    """A fault: what happens, and the line to type before the same command, if one is needed."""

    what: str
    strike: Callable[[Path, random.Random], Struck]
    line: tuple[str, ...] = ()


def start(home: Path, *wrapped: str) -> subprocess.Popen[bytes]:
    """Start the study; its output goes to `struck.log`."""
    with (home / "struck.log").open("w") as log:
        return subprocess.Popen(
            [*wrapped, *snakemake_command()],
            cwd=home,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def ended(home: Path, process: subprocess.Popen[bytes]) -> Struck:
    """Wait for the end of a run."""
    code = process.wait(600)
    word = {0: "the run went on to its end", 1: "the run ended with status 1"}.get(code, f"ended by signal {-code}")
    return Struck(word, (home / "struck.log").read_text(errors="replace"))


def let_run(home: Path, process: subprocess.Popen[bytes], rng: random.Random, share: float = 0.8) -> None:
    """Let the run come to a moment that chance chooses by jobs that have ended, so that it is struck on any machine.

    Early moments are as likely as the rest: the index, the graph, the first jobs.
    """
    n_jobs, extra_s = rng.randrange(int(share * N_JOBS)), rng.uniform(0.0, 1.0)
    while process.poll() is None:
        if (home / "struck.log").read_text(errors="replace").count(" steps (") >= n_jobs:
            time.sleep(extra_s)
            return
        time.sleep(0.05)


def under_way(home: Path, rng: random.Random) -> subprocess.Popen[bytes]:
    """A run at a moment that chance chooses."""
    process = start(home)
    let_run(home, process, rng)
    return process


def steps_below(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes of the group that do a step of the workflow."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            group = os.getpgid(int(entry.name))
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except (ProcessLookupError, FileNotFoundError):
            continue
        if group == process.pid and any(part.endswith(b"/cohortseg") for part in command[:2]):
            found.append(int(entry.name))
    return found


def prepare(folder: Path) -> tuple[Path, Path]:
    """The study before it runs, and the same study finished and left alone."""
    pool, admitted, undisturbed = folder / "pool", folder / "admitted", folder / "undisturbed"
    pool.mkdir()
    admitted.mkdir()
    write_patients(pool)
    write_config(admitted, {"jobs": {"cases_per_job": 2}})
    for number in FEW:
        admit(admitted, pool, number)
    shutil.copytree(admitted, undisturbed)
    finished = run(undisturbed)
    assert finished.returncode == 0, finished.output
    return admitted, undisturbed


# ---- faults ---------------------------------------------------------------------------------------------------------


def kill_snakemake(home: Path, rng: random.Random) -> Struck:
    """Its jobs live on and write; the next run meets them."""
    process = under_way(home, rng)
    process.kill()
    return ended(home, process)


def kill_everything(home: Path, rng: random.Random) -> Struck:
    """As when a machine loses its power."""
    process = under_way(home, rng)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return ended(home, process)


def kill_a_job(home: Path, rng: random.Random) -> Struck:
    """As the kernel does when memory runs out."""
    process = under_way(home, rng)
    while process.poll() is None:
        if steps := steps_below(process):
            os.kill(rng.choice(steps), signal.SIGKILL)
            break
    return ended(home, process)


def interrupt(home: Path, rng: random.Random) -> Struck:
    """Ctrl-C."""
    process = under_way(home, rng)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    return ended(home, process)


def delete_records(home: Path, rng: random.Random) -> Struck:
    """`.snakemake` goes while the run is at work."""
    process = under_way(home, rng)
    shutil.rmtree(home / ".snakemake", ignore_errors=True)
    return ended(home, process)


def run_twice(home: Path, rng: random.Random) -> Struck:
    """A second run of the same study is refused with one line; the first goes on."""
    process = under_way(home, rng)
    second = run(home)
    first = ended(home, process)
    refused = [line for line in second.output.splitlines() if "another run is at work" in line]
    assert (second.returncode, len(refused)) in ((1, 1), (0, 0)), second.output
    word = "the second run was refused with one line" if refused else "the first run had ended"
    return Struck(f"{word}; {first.outcome}", first.output)


def lose_a_source(home: Path, rng: random.Random) -> Struck:
    """A scan is away for the rest of the run (an unmounted share), then comes back."""
    scan = rng.choice(sorted((home / SOURCE).glob("*/*/CT_*/*.dcm")))
    process = start(home)
    let_run(home, process, rng, 0.1)
    away = scan.rename(home / "away.dcm")
    struck = ended(home, process)
    away.rename(scan)
    return struck


def change_a_source(home: Path, rng: random.Random) -> Struck:
    """A scan is written again during the run, and later put back from the archive with its time."""
    scan = rng.choice(sorted((home / SOURCE).glob("*/*/CT_*/*.dcm")))
    content, times = scan.read_bytes(), scan.stat()
    process = start(home)
    let_run(home, process, rng, 0.1)
    scan.write_bytes(content[:-200])
    struck = ended(home, process)
    scan.write_bytes(content)
    os.utime(scan, ns=(times.st_atime_ns, times.st_mtime_ns))
    return struck


def lose_permission(home: Path, rng: random.Random) -> Struck:
    """The study can only be read for the rest of the run."""
    process = start(home, sys.executable, "-c", WITHOUT_RIGHTS)
    let_run(home, process, rng)
    folders = [Path(folder) for folder, _, _ in os.walk(study_of(home))][1:]
    for path in folders:
        # A store that was being written has another name by now.
        with contextlib.suppress(FileNotFoundError):
            path.chmod(0o555)
    struck = ended(home, process)
    for path in folders:
        if path.exists():
            path.chmod(0o755)
    (home / "results" / "tiny" / "private").chmod(0o700)
    return struck


def fill_the_disk(home: Path, rng: random.Random) -> Struck:
    """The study lies on a disk that is too small."""
    done = on_a_small_disk(snakemake_command(), home, kilobytes=rng.randrange(400, 1500))
    return Struck(f"the run ended with status {done.returncode}", done.output)


def set_the_clock_back(home: Path, rng: random.Random) -> Struck:
    """Everything so far was written tomorrow."""
    struck = kill_everything(home, rng)
    for path in study_of(home).rglob("*"):
        if path.is_file():
            times = path.stat()
            os.utime(path, (times.st_atime + NEXT_DAY_S, times.st_mtime + NEXT_DAY_S))
    return struck


def truncate_a_store(home: Path, rng: random.Random) -> Struck:
    """A chunk of a finished store is cut short; `cohortseg verify` sees it."""
    struck = ended(home, start(home))
    chunks = [path for path in study_of(home).rglob("*") if path.is_file() and ".zarr" in str(path)]
    chunk = rng.choice([path for path in sorted(chunks) if path.suffix != ".json" and path.stat().st_size > 40])
    chunk.write_bytes(chunk.read_bytes()[:-20])
    assert cohortseg(home, "verify", "results/tiny").returncode == 1
    return Struck("`cohortseg verify` names the store", struck.output)


FAULTS: dict[str, Fault] = {
    "snakemake killed": Fault("SIGKILL of Snakemake; its jobs live on", kill_snakemake),
    "everything killed": Fault("SIGKILL of Snakemake and all jobs", kill_everything),
    "job killed": Fault("SIGKILL of a job (also: out of memory)", kill_a_job),
    "interrupted": Fault("SIGINT (Ctrl-C)", interrupt),
    "records deleted": Fault("`.snakemake` deleted during the run", delete_records),
    "two runs": Fault("a second run of the same study", run_twice),
    "source lost": Fault("a source file vanishes during the run and comes back", lose_a_source),
    "source changed": Fault("a source file changes during the run and is put back", change_a_source),
    "permission lost": Fault("the study folder becomes read-only during the run", lose_permission),
    "disk full": Fault("the disk of the study is full", fill_the_disk),
    "clock set back": Fault("killed, then the clock is set back by a day", set_the_clock_back),
    "store truncated": Fault(
        "a chunk of a finished store is cut short", truncate_a_store, ("verify", "results/tiny", "--mend")
    ),
}


def strike_and_mend(name: str, home: Path, undisturbed: Path, seed: int) -> tuple[Struck, str]:
    """Strike a fresh study with a fault, give the same command again, compare; how it was struck and mended."""
    fault = FAULTS[name]
    struck = fault.strike(home, random.Random(seed))
    # Snakemake may print one of its own, as when it cannot write its log; of ours there is none.
    assert "/src/cohortseg/" not in struck.output or name == "interrupted", struck.output
    if fault.line:
        mended = cohortseg(home, *fault.line)
        assert mended.returncode == 0, mended.output
    again = _same_command(home)
    expected, found = comparable_bytes(study_of(undisturbed)), comparable_bytes(study_of(home))
    assert sorted(found) == sorted(expected)
    assert [path for path in expected if found[path] != expected[path]] == []
    assert not [path for path in study_of(home).rglob("*") if path.name.endswith((".part", ".gone"))]
    assert cohortseg(home, "verify", "results/tiny").returncode == 0
    line = f"`cohortseg {' '.join(fault.line)}`, then the same command" if fault.line else "the same command"
    return struck, line if again.finished else f"{line} (nothing was left to do)"


def _same_command(home: Path) -> Run:
    again = run(home)
    assert again.returncode == 0, again.output
    return again

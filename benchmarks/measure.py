"""Run a command and measure its whole process tree: CPU seconds, wall seconds, peak proportional memory (Linux)."""

import os
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What one command took; memory is PSS of the tree, so that shared pages count once."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    returncode: int


def run(command: list[str], **options) -> Cost:
    """Run a command to its end, its output thrown away unless `options` say otherwise."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started, peak = time.perf_counter(), 0
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
    process = subprocess.Popen(command, **options)
    while process.poll() is None:
        peak = max(peak, sum(_pss_kib(pid) for pid in _tree(process.pid)))
        # A long command is looked at less often, so that looking does not slow it.
        time.sleep(min(1.0, 0.05 + 0.002 * (time.perf_counter() - started)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, time.perf_counter() - started, peak / 1024, process.returncode)


def median_of(runs: list[Cost]) -> Cost:
    """The median of each figure."""
    figures = {name: statistics.median(getattr(one, name) for one in runs) for name in ("cpu_s", "wall_s", "peak_mb")}
    return Cost(**figures, returncode=max(one.returncode for one in runs))


def in_turn(commands: dict[str, list[str]], n_runs: int = 3, **options) -> dict[str, Cost]:
    """Run commands A, B, C, A, B, C, … after one warm-up each, so that drift of the machine hits all alike."""
    runs: dict[str, list[Cost]] = {name: [] for name in commands}
    for turn in range(n_runs + 1):
        for name, command in commands.items():
            cost = run(command, **options)
            if turn:
                runs[name].append(cost)
    return {name: median_of(found) for name, found in runs.items()}


def machine() -> str:
    """One line about the machine."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "?",
    )
    return f"{os.cpu_count()} CPUs ({model}), load {os.getloadavg()[0]:.1f}"


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        found.append(queue.pop())
        queue += children.get(found[-1], [])
    return found


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))

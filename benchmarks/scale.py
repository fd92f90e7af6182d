"""What a study of many scans costs and how long it takes: planning measured, the cluster simulated from measured times.

    python benchmarks/scale.py           the simulation: seconds
    python benchmarks/scale.py --plan    also measures `snakemake -n` at several sizes: minutes

The simulation is a list scheduler: jobs become ready when the jobs they need have ended, a submitter sends so many per
second, a fixed number of places takes them in turn. Every number that goes in stands at the head of this file.
"""

import argparse
import heapq
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from measure import machine, run
from plan_study import ROOT, made_up_study

CPU_S = {"convert": 0.8, "fingerprint": 0.5, "preprocess": 2.2, "predict": 26.0, "postprocess": 0.5, "evaluate": 2.2}
"""Seconds of one thorax CT of about 100×512×512: run records of the lung example (CPU seconds, one structure);
preprocess from RESULTS.md; predict is an assumption for a network on a card."""
TRAIN_S = 24 * 3600.0
SUBMIT_PER_S, PLACES, CARDS = 5.0, 200, 8
"""Jobs that one Snakemake submits in a second; jobs at a time (`jobs` of the profile); GPUs."""
JOB_OVERHEAD_S = 12.0
"""From submission to the first line of work and back, measured on the throw-away SLURM, without waiting for a place."""


@dataclass(frozen=True)
class Job:
    """One job of the simulation: its rule, seconds on a place, what must end before, and whether it needs a card."""

    rule: str
    seconds: float
    needs: tuple[int, ...]
    card: bool = False


def jobs_of(n_cases: int, per_job: int, per_predict_job: int, folds: int = 5) -> list[Job]:
    """The jobs of one trained experiment over so many equal cases, grouped as the slurm profile groups them."""
    jobs: list[Job] = []

    def add(rule: str, busy_s: float, needs: list[int], *, card: bool = False) -> int:
        jobs.append(Job(rule, JOB_OVERHEAD_S + busy_s, tuple(needs), card))
        return len(jobs) - 1

    batches = -(-n_cases // per_job)
    read_s = per_job * (CPU_S["convert"] + CPU_S["fingerprint"])
    read = [add("convert+fingerprint", read_s, []) for _ in range(batches)]
    plan = add("survey+plan", n_cases * 0.002, read)
    prepared = [add("preprocess", per_job * CPU_S["preprocess"], [one, plan]) for one in read]
    split = add("split", n_cases * 0.001, prepared)
    trained = [add("train", TRAIN_S, [split], card=True) for _ in range(folds)]
    measured = []
    for number in range(-(-n_cases // per_predict_job)):
        labels = add("predict", per_predict_job * CPU_S["predict"], [trained[number % folds]], card=True)
        busy = per_predict_job * (CPU_S["postprocess"] + CPU_S["evaluate"])
        measured.append(add("postprocess+evaluate+export", busy, [labels]))
    add("aggregate+report", n_cases * 0.01, measured)
    return jobs


def simulate(jobs: list[Job], *, places: int = PLACES, cards: int = CARDS) -> tuple[float, dict[str, float]]:
    """Seconds until the last job ends, and busy seconds by rule."""
    waiting_for = [len(job.needs) for job in jobs]
    followers: dict[int, list[int]] = defaultdict(list)
    for number, job in enumerate(jobs):
        for before in job.needs:
            followers[before].append(number)
    ready = {False: [n for n, w in enumerate(waiting_for) if w == 0 and not jobs[n].card], True: []}
    free, running, now, next_submission = {False: places, True: cards}, [], 0.0, 0.0
    busy: dict[str, float] = defaultdict(float)
    while ready[False] or ready[True] or running:
        for card in (True, False):
            while ready[card] and free[card]:
                number = ready[card].pop()
                next_submission = max(now, next_submission) + 1 / SUBMIT_PER_S
                heapq.heappush(running, (next_submission + jobs[number].seconds, number))
                busy[jobs[number].rule] += jobs[number].seconds
                free[card] -= 1
        now, number = heapq.heappop(running)
        free[jobs[number].card] += 1
        for after in followers[number]:
            waiting_for[after] -= 1
            if waiting_for[after] == 0:
                ready[jobs[after].card].append(after)
    return now, busy


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plan", action="store_true", help="measure planning as well")
    arguments = parser.parse_args()
    print(machine())
    print(f"{'cases':>9} {'per job':>8} {'per predict job':>16} {'jobs':>8} {'CPU h':>8} {'GPU h':>8} {'days':>6}")
    for n_cases in (1_000, 10_000, 100_000, 1_000_000):
        # Batches grow with the cohort, as they do by default.
        per_job, per_predict_job = max(1, -(-n_cases // 200)), 20 if n_cases <= 100_000 else 200
        jobs = jobs_of(n_cases, per_job, per_predict_job)
        seconds, busy = simulate(jobs)
        gpu = sum(busy[rule] for rule in ("train", "predict")) / 3600
        cpu = sum(busy.values()) / 3600 - gpu
        row = f"{n_cases:>9,} {per_job:>8,} {per_predict_job:>16} {len(jobs):>8,} {cpu:>8,.0f} {gpu:>8,.0f}"
        print(f"{row} {seconds / 86400:>6.1f}", flush=True)
    if arguments.plan:
        measure_planning()


def measure_planning() -> None:
    """`snakemake -n` over made-up cohorts, default batches."""
    print(f"\n{'cases':>9} {'CPU s':>7} {'peak MB':>8}")
    for n_cases in (1_000, 10_000, 50_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            config = made_up_study(Path(folder) / "study", n_cases, None)
            command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "--quiet", "all"]
            cost = run([*command, "--cores", "2", "--configfile", str(config), "--directory", folder])
        print(
            f"{n_cases:>9,} {cost.cpu_s:>7.1f} {cost.peak_mb:>8.0f}" + (" FAILED" if cost.returncode else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()

"""What a study of many scans costs and how long it takes: planning measured, the cluster simulated from measured job times.

    python benchmarks/scale.py STUDY           lines of time from the records of a finished study
    python benchmarks/scale.py STUDY --plan    also measures `snakemake -n` at several sizes (minutes)

The simulation is a list scheduler: jobs become ready when the jobs they need have ended, a submitter sends so many per
second, a fixed number of places takes them in turn. Every number that goes in is measured or stands in the table it prints.
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

from cohortseg.cohort import read_cases
from cohortseg.layout import Layout
from cohortseg.sizing import Need, Size, shipped
from cohortseg.steps.records import needs_of

VOXELS = 100 * 512 * 512
"""A thorax CT."""
SUBMIT_PER_S, PLACES, CARDS = 5.0, 200, 8
"""Jobs that one Snakemake submits in a second; jobs at a time (`jobs` of the profile); GPUs."""
JOB_OVERHEAD_S = 12.0
"""From submission to the first line of work and back, measured on the throw-away SLURM, without waiting for a place."""
PREDICT_S_PER_MVOXEL = 1.0
"""On a card; a CPU takes 5 to 20."""


@dataclass(frozen=True)
class Job:
    """One job of the simulation: its rule, seconds on a place, what must end before, and whether it needs a card."""

    rule: str
    seconds: float
    needs: tuple[int, ...]
    card: bool = False


def jobs_of(n_cases: int, per_job: int, per_predict_job: int, needs: dict[str, Need], folds: int = 5) -> list[Job]:
    """The jobs of one trained experiment over so many equal cases, grouped as the slurm profile groups them."""
    size = Size(VOXELS)

    def seconds(*works: str) -> float:
        return sum((needs.get(work) or shipped(work.split(" ")[0])).seconds.at(VOXELS / 1e6) for work in works)

    assert size.voxels == VOXELS
    jobs: list[Job] = []

    def add(rule: str, busy_s: float, needs: list[int], *, card: bool = False) -> int:
        jobs.append(Job(rule, JOB_OVERHEAD_S + busy_s, tuple(needs), card))
        return len(jobs) - 1

    batches = -(-n_cases // per_job)
    read = [add("convert+fingerprint", per_job * seconds("convert", "fingerprint"), []) for _ in range(batches)]
    plan = add("survey+plan", n_cases * 0.002, read)
    prepared = [add("preprocess", per_job * seconds("preprocess"), [one, plan]) for one in read]
    split = add("split", n_cases * 0.001, prepared)
    trained = [add("train", 24 * 3600, [split], card=True) for _ in range(folds)]
    measured = []
    for number in range(-(-n_cases // per_predict_job)):
        busy = per_predict_job * PREDICT_S_PER_MVOXEL * VOXELS / 1e6
        labels = add("predict", busy, [trained[number % folds]], card=True)
        busy = per_predict_job * seconds("postprocess otsu", "evaluate otsu")
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
    parser.add_argument("study", type=Path, help="folder of a finished study")
    parser.add_argument("--plan", action="store_true")
    arguments = parser.parse_args()
    print(machine())
    layout = Layout(arguments.study)
    needs = needs_of(layout, read_cases(layout.cases_table), 1, 1)
    print("\nlines fitted to the study, for a scan of 100×512×512")
    for work, need in sorted(needs.items()):
        if need.seconds.n:
            print(f"  {work:<22}{need.seconds.at(VOXELS / 1e6):8.1f} s   {need.memory_mb.at(VOXELS / 1e6):8.0f} MB")
    print(f"\n{'cases':>9} {'per job':>8} {'jobs':>8} {'CPU h':>10} {'GPU h':>9} {'days':>6}")
    for n_cases in (1_000, 10_000, 100_000, 1_000_000):
        # Batches grow with the cohort, as they do by default.
        per_job = max(1, -(-n_cases // 200))
        jobs = jobs_of(n_cases, per_job, max(20, n_cases // 5_000), needs)
        seconds, busy = simulate(jobs)
        gpu = sum(busy[rule] for rule in ("train", "predict")) / 3600
        cpu = sum(busy.values()) / 3600 - gpu
        print(
            f"{n_cases:>9,} {per_job:>8} {len(jobs):>8,} {cpu:>10,.0f} {gpu:>9,.0f} {seconds / 86400:>6.1f}", flush=True
        )
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

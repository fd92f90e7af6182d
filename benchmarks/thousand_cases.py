"""What a study of very many very small scans costs beside its work: the whole chain, really executed, on one core.

    python benchmarks/thousand_cases.py [--cases 50 200 1000] [--per-job 25] [--keep FOLDER]

Phantom scans of 8 slices of 32×32 in DICOM go through every stage (one threshold, one network of a few steps in two
folds, cleaning, measures, tables, report, export), some in each job. Beside it, in the same run, Snakemake runs
as many jobs that do nothing, with the same edges between them. Every Python process tells what it took when it ends (a
`sitecustomize` on its path), so the CPU seconds of Snakemake itself, of the start of each job and of the work add up.
"""

import argparse
import itertools
import json
import re
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import yaml
from measure import machine

from cohortseg.phantom.cohort import write_cohort

ROOT = Path(__file__).parents[1]
MATRIX, SLICES, FOLDS = 32, 8, 2
CONFIG = {
    "study": "small",
    "cohort": {
        "source": "source",
        "series": {"modality": "CT", "min_slices": 8},
        "labels": {
            "structures": {"tumour": "GTV.*"},
            "values": {"tumour": 1},
            "files": r"(?P<subject>[^/]+)/label\.nii\.gz$",
        },
    },
    "split": {"folds": FOLDS, "seed": 1},
    "plan": {"dims": 2, "window_hu": [-1000, 400], "patch_voxels": 4096},
    "postprocess": {"min_volume_ml": 0.5, "fill_holes": True},
    "experiments": {
        "otsu": {"method": "threshold", "rule": "otsu", "inside": "lungs"},
        "unet": {"method": "unet", "features": [4, 8], "steps": 20, "batch": 2, "validate_every": 20},
    },
}
OF_CASES = ("cases", "experiments", "export", "private")
"""Folders of a study that grow with its cases."""
WITNESS = """
import atexit, json, os, resource, sys
def tell():
    own = resource.getrusage(resource.RUSAGE_SELF)
    told = {"argv": sys.orig_argv, "cpu_s": own.ru_utime + own.ru_stime, "peak_mb": own.ru_maxrss / 1024}
    with open(os.environ["WITNESS"], "a") as file:
        file.write(json.dumps(told) + "\\n")
atexit.register(tell)
"""
NOTHING = """
import json
NEEDS = json.load(open("needs.json"))
rule all:
    input: [f"done/{n}" for n in NEEDS]
rule nothing:
    input: lambda wildcards: [f"done/{n}" for n in NEEDS[wildcards.n]]
    output: "done/{n}"
    shell: "touch {output}"
"""


@dataclass(frozen=True)
class Told:
    """What the Python processes of a run took: Snakemake itself, and by step the jobs."""

    snakemake_s: float
    snakemake_mb: float
    steps: dict[str, tuple[int, float]]


def cpu_of(command: list[str]) -> float:
    """CPU seconds of a command and all that it starts; nothing looks at it meanwhile, which would cost as much."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def snakemake(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--cores", "1", "--directory", str(folder), "--quiet", *arguments]


def told_by(path: Path) -> Told:
    """Sort the records of ended processes by the step that each was."""
    steps: dict[str, list[float]] = defaultdict(list)
    own_s = own_mb = 0.0
    for one in map(json.loads, path.read_text().splitlines()):
        words = one["argv"]
        if "snakemake" in words:
            own_s, own_mb = own_s + one["cpu_s"], max(own_mb, one["peak_mb"])
            continue
        place = next((n for n, word in enumerate(words) if Path(word).name == "cohortseg"), None)
        steps["other" if place is None else words[place + 1]].append(one["cpu_s"])
    return Told(own_s, own_mb, {name: (len(times), sum(times)) for name, times in steps.items()})


def needs_of(folder: Path, config: Path) -> dict[str, list[str]]:
    """Which job of the study needs which, as Snakemake draws it; `all` is left out."""
    command = snakemake(folder, "all", "--configfile", str(config), "-s", str(ROOT / "Snakefile"), "--dag")
    drawn = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = dict(re.findall(r'^\s*(\d+)\[label = "([^"\\]+)', drawn, re.MULTILINE))
    needs: dict[str, list[str]] = {number: [] for number, name in names.items() if name != "all"}
    for before, after in re.findall(r"^\s*(\d+) -> (\d+)", drawn, re.MULTILINE):
        if after in needs:
            needs[after].append(before)
    return needs


def work_of(study: Path) -> dict[str, float]:
    """CPU seconds within the work itself, by step, as the run records say; steps of the whole cohort keep none."""
    found: dict[str, float] = defaultdict(float)
    for path in [*study.glob("cases/*/*.run.json"), *study.glob("experiments/*/*/**/*.run.json")]:
        sidecar = json.loads(path.with_name(path.name.replace(".run.json", ".json")).read_text())
        found[sidecar["stage"]] += json.loads(path.read_text())["cpu_seconds"]
    return found


def count_files(folder: Path) -> int:
    """Files and folders: each takes an inode."""
    return sum(1 for _ in folder.rglob("*"))


def measure(folder: Path, n_cases: int, per_job: int) -> dict[str, float]:
    """Run a study of so many cases and its empty likeness; print what both took."""
    write_cohort(folder / "source", subjects=n_cases, seed=3, matrix=MATRIX, slices=SLICES, spoiled=False)
    config, witness = folder / "config.yaml", folder / "witness"
    jobs = {"cases_per_job": per_job, "cases_per_predict_job": 2 * per_job}
    config.write_text(yaml.safe_dump({**CONFIG, "jobs": jobs}))
    witness.mkdir(exist_ok=True)
    (witness / "sitecustomize.py").write_text(WITNESS)
    line = snakemake(folder, "all", "--configfile", str(config), "-s", str(ROOT / "Snakefile"))
    subprocess.run([*line, "-n"], check=True, capture_output=True)
    needs = needs_of(folder, config)
    costs, told = {}, {}
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    (empty / "needs.json").write_text(json.dumps(needs))
    (empty / "Snakefile").write_text(NOTHING)
    for name, command in (
        ("study", line),
        ("nothing", snakemake(empty, "all", "-s", str(empty / "Snakefile"))),
        ("again", line),
    ):
        path = folder / f"{name}.jsonl"
        costs[name] = cpu_of(["env", f"PYTHONPATH={witness}:{ROOT / 'src'}", f"WITNESS={path}", *command])
        told[name] = told_by(path)
    study = folder / "results" / "small"
    work = work_of(study)
    print(f"\n{n_cases} cases, {len(needs)} jobs; {machine()}")
    print(f"{'step':<12} {'jobs':>5} {'CPU s':>7} {'of it work':>10} {'ms a case, beside it':>21}")
    for step, (n_jobs, seconds) in sorted(told["study"].steps.items()):
        beside = 1000 * (seconds - work[step]) / n_cases if step in work else float("nan")
        print(f"{step:<12} {n_jobs:>5} {seconds:>7.1f} {work.get(step, float('nan')):>10.1f} {beside:>21.1f}")
    jobs_s = sum(seconds for _, seconds in told["study"].steps.values())
    figures = {
        "jobs": len(needs),
        "all CPU s": costs["study"],
        "work CPU s": sum(work.values()),
        "jobs CPU s": jobs_s,
        "Snakemake CPU s": told["study"].snakemake_s,
        "Snakemake MB": told["study"].snakemake_mb,
        "nothing: all CPU s": costs["nothing"],
        "nothing: Snakemake CPU s": told["nothing"].snakemake_s,
        "nothing: Snakemake MB": told["nothing"].snakemake_mb,
        "again CPU s": costs["again"],
        "inodes a case": sum(count_files(study / part) for part in OF_CASES) / n_cases,
        "inodes of Snakemake": count_files(folder / ".snakemake"),
    }
    for name, value in figures.items():
        print(f"  {name:<26} {value:>9.1f}")
    sys.stdout.flush()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--per-job", type=int, default=25, help="cases of a job; twice so many of an experiment's")
    parser.add_argument(
        "--keep", type=Path, help="make the studies here and leave them; a cohort that is there is taken"
    )
    arguments = parser.parse_args()
    found: dict[int, dict[str, float]] = {}
    for n_cases in arguments.cases:
        with tempfile.TemporaryDirectory() as name:
            folder = (arguments.keep or Path(name)) / str(n_cases)
            folder.mkdir(parents=True, exist_ok=True)
            found[n_cases] = measure(folder, n_cases, arguments.per_job)
    sizes = sorted(found)
    for small, large in itertools.pairwise(sizes):
        print(f"\nfrom {small} to {large} cases, ms a case: ", end="")
        for name in ("all CPU s", "work CPU s", "Snakemake CPU s", "nothing: all CPU s", "again CPU s"):
            print(f"{name} {1000 * (found[large][name] - found[small][name]) / (large - small):.1f}; ", end="")
    print()


if __name__ == "__main__":
    main()

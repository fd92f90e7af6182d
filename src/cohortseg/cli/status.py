"""`cohortseg status STUDY`: each stage with done, rejected, to do and time left; works while a run is going on."""

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cohortseg.cohort import Case, read_cases, some_of
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import read_json, read_sidecar, run_seconds
from cohortseg.layout import TEST, Layout

COHORT_STAGES = ("convert", "fingerprint", "preprocess")
EXPERIMENT_STAGES = ("predict", "candidates", "postprocess", "evaluate", "export")
SLURM_LOGS = Path(".snakemake/slurm_logs")
"""Where Snakemake's executor keeps what SLURM says of jobs that failed."""
KILLED = re.compile(r"exceeded memory limit|oom.?kill|DUE TO|CANCELLED AT|\bKilled\b", re.IGNORECASE)
ABOUT = re.compile(r"^Job \d+: |^(Group|Rule):? ", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """Progress of one stage: numbers of cases (or models), and the seconds done ones took."""

    name: str
    done: int
    rejected: int
    total: int
    seconds: float
    note: str = ""

    def __str__(self) -> str:
        finished = self.done + self.rejected
        left = self.total - finished
        text = f"{self.name:<28}{self.done:>6} done {self.rejected:>5} rejected {left:>6} to do of {self.total:>6}"
        if left and finished and self.seconds:
            text += f"   about {_span(self.seconds / finished * left)} of work left"
        return f"{text}   {self.note}".rstrip()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The study, and whether to go on looking."""
    parser.add_argument("study", type=Path, help="study folder, for example results/demo")
    parser.add_argument("--case", metavar="CASE", help="the logs of one case, with the last word of each on it")
    parser.add_argument("--follow", type=int, metavar="PID", help="print changes until this process ends")


def run(arguments: argparse.Namespace) -> None:
    """Print the state once, or follow it."""
    layout = Layout(arguments.study)
    if arguments.follow is not None:
        follow(layout, arguments.follow)
        return
    if not layout.cases_table.exists():
        raise StudyError(f"no study at {layout.root}; run `snakemake --cores all` first")
    if arguments.case is not None:
        print("\n".join(logs_of_case(layout, arguments.case)))
        return
    print("\n".join(str(line) for line in progress(layout)))
    for problem in (*failures(layout), *killed(SLURM_LOGS)):
        print(problem)


def progress(layout: Layout) -> list[Line]:
    """The state of all stages that have begun or are known to come."""
    cases = read_cases(layout.cases_table)
    lines = [_cohort_line(layout, stage, cases) for stage in COHORT_STAGES if _begun(layout, stage)]
    for folder in sorted(path for path in (layout.root / "experiments").glob("*") if path.is_dir()):
        if (folder / "tune").is_dir() and layout.asked(f"tune-{folder.name}").exists():
            lines.append(_search_line(layout, folder))
        if (folder / "done" / "pseudolabel").is_dir():
            lines.append(_pseudo_line(layout, folder.name, cases))
        models = sorted(folder.glob("fold-*-seed-*"))
        if models:
            done = [model for model in models if (model / "train.json").exists()]
            n_seeds = len({model.name.rpartition("-")[2] for model in models})
            n_folds = int(read_json(layout.ledger)["split"]["folds"])
            seconds = sum(run_seconds(model / "train.json") or 0.0 for model in done)
            note = "; ".join(_training(layout, model) for model in models if model not in done)
            lines.append(Line(f"{folder.name}: train", len(done), 0, n_folds * n_seeds, seconds, note))
        lines += [
            _experiment_line(layout, folder.name, stage, cases)
            for stage in EXPERIMENT_STAGES
            if (folder / "done" / stage).is_dir()
        ]
        if (folder / "done" / "stability").is_dir() and layout.asked(f"stability-{folder.name}").exists():
            lines.append(_stability_line(layout, folder.name, cases))
    lines.append(Line("report", int(layout.report.exists()), 0, 1, 0.0))
    return lines


def _search_line(layout: Layout, folder: Path) -> Line:
    """The trials of a search; failed ones count as rejected proposals."""
    asked = read_json(layout.asked(f"tune-{folder.name}"))
    numbers = range(int(asked["trials"]))
    paths = [layout.trial(folder.name, fold, number) for fold in asked["folds"] for number in numbers]
    records = {path: record for path in paths if (record := read_sidecar(path)) is not None}
    failed = sum(record["status"] != "ok" for record in records.values())
    seconds = sum(run_seconds(path) or 0.0 for path in records)
    return Line(f"{folder.name}: trials", len(records) - failed, failed, len(paths), seconds)


def _pseudo_line(layout: Layout, experiment: str, cases: list[Case]) -> Line:
    """The labels that an experiment learns from instead of references: of each fold those of its training cases."""
    paths, total = [], 0
    for fold in (str(number) for number in range(int(read_json(layout.ledger)["split"]["folds"]))):
        members = read_json(layout.members(fold))["train"] if layout.members(fold).exists() else []
        present = [case.case for case in cases if case.case in set(members)]
        total += len(present)
        paths += [layout.pseudo(experiment, fold, name) / "pseudo.json" for name in present]
    line = _line(f"{experiment}: pseudo labels", paths)
    return Line(line.name, line.done, line.rejected, total, line.seconds)


def _stability_line(layout: Layout, experiment: str, cases: list[Case]) -> Line:
    """The cases whose image is changed, as the settings of the last run choose them."""
    _, settings = read_json(layout.asked(f"stability-{experiment}"))
    asked = json.loads(settings)["stability"]
    wanted = set(some_of(cases, asked["cases"], seed=asked["seed"]))
    return _experiment_line(layout, experiment, "stability", [case for case in cases if case.case in wanted])


def _training(layout: Layout, model: Path) -> str:
    """The last word of a training that is not done."""
    log = layout.root / "logs" / "train" / model.parent.name / f"{model.name}.log"
    steps = (
        [line for line in log.read_text(errors="replace").splitlines() if line.startswith("step ")]
        if log.exists()
        else []
    )
    return f"{model.name} {steps[-1]}" if steps else f"{model.name} has begun"


def _begun(layout: Layout, stage: str) -> bool:
    return (layout.root / "cohort" / "done" / stage).is_dir()


def _cohort_line(layout: Layout, stage: str, cases: list[Case]) -> Line:
    name = {"convert": "image.json", "fingerprint": "fingerprint.json", "preprocess": "prepared.json"}[stage]
    return _line(stage, [layout.case(case.case) / name for case in cases])


def _experiment_line(layout: Layout, experiment: str, stage: str, cases: list[Case]) -> Line:
    name = {"predict": "raw", "postprocess": "post", "evaluate": "metrics"}.get(stage, stage)
    found = sorted((layout.root / "experiments" / experiment).glob(f"*/cases/*/{name}.json"))
    if stage == "candidates":
        # Only cases that a fold kept out from the beginning take part in choices.
        cases = [case for case in cases if case.role == "cohort" and case.fold != TEST]
    present = {case.case for case in cases}
    models = {path.parts[-4] for path in found}
    seeds = max(1, len({model.rpartition("-seed-")[2] for model in models}))
    line = _line(f"{experiment}: {stage}", [path for path in found if path.parts[-2] in present])
    return Line(line.name, line.done, line.rejected, len(cases) * seeds, line.seconds)


def _line(name: str, sidecars: list[Path]) -> Line:
    records = [record for path in sidecars if (record := read_sidecar(path)) is not None]
    seconds = [run_seconds(path) or 0.0 for path in sidecars]
    rejected = sum(record["status"] == "rejected" for record in records)
    # Later stages hand a refusal on: the first one says why.
    reasons = Counter(record["reason"] for record in records if record["status"] == "rejected" and name == "convert")
    note = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
    return Line(name, len(records) - rejected, rejected, len(sidecars), sum(seconds), note)


def failures(layout: Layout) -> list[str]:
    """The failed jobs, by their logs: case, log and where the command stands."""
    found = []
    for log in sorted((layout.root / "logs").rglob("*.log")):
        text = log.read_text(errors="replace")
        bad = [line for line in text.splitlines() if "FAILED" in line or line.startswith("cohortseg ")]
        # A log whose job succeeded later is overwritten by that job, so what stands here is the last word.
        if bad:
            found.append(
                f"failed: {bad[-1].strip()}\n  log: {log}\n  again: snakemake --cores all (finished cases are kept)"
            )
    return found


def killed(folder: Path) -> list[str]:
    """The jobs that SLURM ended, by its own logs; those of jobs that ended well are removed by the run."""
    found = []
    for log in sorted(folder.rglob("*.log")):
        lines = log.read_text(errors="replace").splitlines()
        words = [line.strip() for line in lines if KILLED.search(line)]
        about = next((line.strip() for line in lines if ABOUT.search(line)), log.parent.name)
        if words:
            found.append(f"killed: {about}\n  {words[-1]}\n  log: {log}")
    return found


def logs_of_case(layout: Layout, name: str) -> list[str]:
    """The logs of the jobs that a case was in, each with the last line that names it.

    Raises
    ------
    StudyError
        When there is no such case.
    """
    found = next((case for case in read_cases(layout.cases_table) if case.case == name), None)
    if found is None:
        raise StudyError(f"no case {name!r}; `cohort/cases.tsv` lists them")
    folder, lines = layout.root / "logs", []
    places = [folder / stage / f"{found.batch}.log" for stage in COHORT_STAGES]
    for stage in EXPERIMENT_STAGES:
        places += sorted((folder / stage).glob(f"*/{found.fold_batch}.log"))
    for place in places:
        if place.exists():
            words = [line for line in place.read_text(errors="replace").splitlines() if name in line]
            lines.append(f"{place}\n  {words[-1].strip() if words else 'does not name the case'}")
    return lines


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min" if minutes else "1 min"


def follow(layout: Layout, pid: int) -> None:
    """Print a line for each stage that moved, every few seconds, until the process ends."""
    started = time.monotonic()
    shown: dict[str, tuple[int, int, str]] = {}
    while True:
        alive = _alive(pid)
        if layout.cases_table.exists():
            for line in progress(layout):
                state = (line.done, line.rejected, line.note)
                if shown.get(line.name) != state and any(state):
                    shown[line.name] = state
                    print(f"{_clock(time.monotonic() - started)}  {line}", file=sys.stderr, flush=True)
        if not alive:
            return
        time.sleep(2)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A finished child that nobody has waited for yet still has a number.
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:3d}:{int(seconds) % 60:02d}"

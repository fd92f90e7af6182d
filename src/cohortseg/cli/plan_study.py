"""`cohortseg plan-study`: what a study will cost in jobs, hours, memory and disk, before anything runs."""

import argparse
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cohortseg.cli.config import load_config
from cohortseg.cohort import Case, read_cases, some_of
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import write_text
from cohortseg.layout import TEST, Layout
from cohortseg.settings import LearnedMethod, Study, UNetMethod, seeds_of
from cohortseg.settings.methods import DEFAULT_STEPS
from cohortseg.sizing import Need, Size, memory_mb, shipped
from cohortseg.steps.records import ERROR_COLUMNS, error_rows, needs_of, parts_of, records_of, shipped_for, work_of
from cohortseg.steps.tuning import searched_folds

JOB_START_S = 2.0
"""CPU seconds that a job takes beside its work: the start of Python, and on a cluster two starts of Snakemake."""
SECONDS_PER_STEP = {"gpu": 0.25, "cpu": 6.0}
"""One optimiser step of a network made for 8 GB, before a training of this study has told better."""
BYTES_PER_VOXEL = {
    **{"convert": 1.0, "preprocess": 1.6, "preprocess_low": 0.2, "crossfit": 0.01},
    **{"predict": 0.01, "postprocess": 0.01, "export": 0.01},
}
"""What a stored voxel takes compressed: int16 images (0.8 on a thorax CT), float16 images in model space, labels."""
FILES_PER_CASE = {
    "convert": 10,
    "fingerprint": 2,
    "preprocess": 9,
    "preprocess_low": 9,
    "contest": 2,
    "crossfit": 5,
    "predict": 5,
    "candidates": 2,
    "postprocess": 5,
    "evaluate": 2,
    "stability": 2,
    "export": 3,
}
"""Stores of one channel with up to one shard, sidecars and private records; a test counts them."""


@dataclass(frozen=True)
class Row:
    """The cost of one work of the study."""

    work: str
    jobs: int
    cases: int
    cpu_hours: float
    gpu_hours: float
    peak_mb: int
    disk_gb: float
    files: int
    measured: str

    def __str__(self) -> str:
        return (
            f"{self.work:<28}{self.jobs:>7}{self.cases:>8}{self.cpu_hours:>10.1f}{self.gpu_hours:>10.1f}"
            f"{self.peak_mb:>9}{self.disk_gb:>9.1f}{self.files:>9}  {self.measured}"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The config file, and whether to index first."""
    parser.add_argument("--configfile", type=Path, default=Path("config/config.yaml"), help="settings as YAML")
    parser.add_argument("--no-index", action="store_true", help="take the table of cases as it is")
    parser.add_argument("--cpu", action="store_true", help="networks train and predict on CPUs")


def run(arguments: argparse.Namespace) -> None:
    """Print the table of costs, and how far predictions were from what finished cases took.

    Raises
    ------
    StudyError
        When there is no case.
    """
    study = load_config(arguments.configfile)
    if not arguments.no_index:
        from cohortseg.steps.index import index

        index(study)
    layout = Layout(study.folder)
    cases = read_cases(layout.cases_table)
    if not cases:
        raise StudyError("no case to plan for; see cohort/rejected.tsv")
    rows = list(plan(study, cases, needs_of(layout, study, cases), on_gpu=not arguments.cpu))
    head = f"{'work':<28}{'jobs':>7}{'cases':>8}{'CPU h':>10}{'GPU h':>10}{'peak MB':>9}"
    print(f"{head}{'disk GB':>9}{'files':>9}  lines from")
    print("\n".join(str(row) for row in [*rows, total(rows)]))
    _show_errors(layout, study, cases)


def plan(study: Study, cases: Sequence[Case], needs: dict[str, Need], *, on_gpu: bool) -> Iterator[Row]:
    """The rows of all works, in the order of the flow."""
    batches, fold_batches = ({getattr(case, key) for case in cases} for key in ("batch", "fold_batch"))
    for stage in ("convert", "fingerprint", *(["preprocess"] if study.networks else [])):
        yield _row(study, stage, None, cases, len(batches), needs, gpu=False)
    if any(getattr(method, "resolution", "full") == "low" for method in study.experiments.values()):
        yield _row(study, "preprocess_low", None, cases, len(batches), needs, gpu=False)
    for experiment, method in sorted(study.experiments.items()):
        by_network = on_gpu and experiment in study.networks
        if experiment in study.tune:
            yield _search(study, experiment, cases, needs, on_gpu=on_gpu)
        if isinstance(method, UNetMethod):
            yield _training(experiment, method, study.split.folds, on_gpu=on_gpu)
        if study.before(experiment) is not None:
            yield from _cascade(study, experiment, [case for case in cases if case.fold != TEST], needs, on_gpu=on_gpu)
        if (source := study.labels_of(experiment)) is not None:
            # Each fold has its training cases labelled: all batches but its own.
            folds, gpu = study.split.folds, on_gpu and source in study.networks
            n_jobs = (folds - 1) * len(fold_batches)
            yield _row(study, "pseudolabel", experiment, cases, n_jobs, needs, gpu=gpu, runs=folds - 1)
        seeds = len(seeds_of(method)) if isinstance(method, UNetMethod | LearnedMethod) else 1
        chosen = study.choices(experiment)
        stages = ["contest"] if "model" in chosen else []
        stages += ["predict", *(["candidates"] if "cleaning" in chosen else [])]
        stages += [*(["postprocess"] if study.synthesis is None else []), "evaluate"]
        stages += ["export"] if study.export.formats else []
        for stage in stages:
            gpu = by_network and stage == "predict"
            yield _row(study, stage, experiment, cases, len(fold_batches), needs, gpu=gpu, runs=seeds)
        if study.stability is not None and not study.members(experiment):
            names = set(some_of(cases, study.stability.cases, seed=study.stability.seed))
            changed = [case for case in cases if case.case in names]
            n_jobs = len({case.fold_batch for case in changed})
            yield _row(study, "stability", experiment, changed, n_jobs, needs, gpu=by_network, runs=seeds)
    yield Row(
        "tables and report",
        3,
        len(cases),
        0.1,
        0.0,
        memory_mb("report", Size(0), shipped("report")),
        0.1,
        40,
        "shipped",
    )


def _row(  # noqa: PLR0913 (what one row is made of)
    study: Study,
    stage: str,
    experiment: str | None,
    cases: Sequence[Case],
    n_jobs: int,
    needs: dict[str, Need],
    *,
    gpu: bool,
    runs: int = 1,
) -> Row:
    work, parts = work_of(stage, experiment), parts_of(study)
    disk_per_voxel, files_per_case = BYTES_PER_VOXEL.get(stage, 0.0), FILES_PER_CASE.get(stage, 0)
    stage = stage.removesuffix("_low")  # at most what it takes at full resolution
    blocks_above = study.blocks_above(stage)
    need = needs.get(work) or shipped_for(study, stage)
    sizes = [Size(case.voxels, *parts) for case in cases]
    hours = runs * sum(need.seconds.at(size.for_time(stage)) for size in sizes) / 3600
    images = parts[0] if stage in ("convert", "preprocess") else 1
    disk = runs * images * disk_per_voxel * sum(size.voxels for size in sizes) / 1e9
    return Row(
        work=work,
        jobs=n_jobs,
        cases=len(cases),
        cpu_hours=hours + n_jobs * JOB_START_S / 3600,
        gpu_hours=hours if gpu else 0.0,
        peak_mb=max(memory_mb(stage, size, need, blocks_above=blocks_above) for size in sizes),
        disk_gb=disk,
        files=runs * len(cases) * files_per_case,
        measured=f"{need.seconds.n} cases" if need.seconds.n else "shipped",
    )


def _cascade(
    study: Study, experiment: str, cases: Sequence[Case], needs: dict[str, Need], *, on_gpu: bool
) -> Iterator[Row]:
    """What a cascade takes beside its own networks: one for each pair of folds, labels of all cases for each."""
    source, folds = study.before(experiment), study.split.folds
    assert source is not None
    method = study.experiments[source]
    assert isinstance(method, UNetMethod)
    one = method.model_copy(update={"seeds": method.seeds[:1]})
    # Two cascades of one experiment share these.
    if experiment == min(name for name in study.experiments if study.before(name) == source):
        pairs = _training(source, one, folds * (folds - 1) // 2, on_gpu=on_gpu)
        yield replace(pairs, work=work_of("train_pair", source))
    n_jobs = folds * len({case.fold_batch for case in cases})
    yield _row(study, "crossfit", experiment, cases, n_jobs, needs, gpu=on_gpu, runs=folds)


def _search(study: Study, experiment: str, cases: Sequence[Case], needs: dict[str, Need], *, on_gpu: bool) -> Row:
    """The trials of a search: trainings of inner folds and what they predict, or predictions of all training cases."""
    search, method, folds = study.tune[experiment], study.experiments[experiment], searched_folds(study, experiment)
    sizes = [Size(case.voxels, *parts_of(study)) for case in cases]
    need = needs.get(work_of("predict", experiment)) or shipped_for(study, "predict")
    predicted = sum(need.seconds.at(size.for_time("predict")) for size in sizes)
    seconds, memory = predicted, max(memory_mb("predict", size, need) for size in sizes)
    if isinstance(method, UNetMethod):
        steps = (search.steps or method.steps or DEFAULT_STEPS) * search.scored_folds
        seconds = steps * SECONDS_PER_STEP["gpu" if on_gpu else "cpu"]
        seconds += predicted * search.scored_folds / search.inner_folds
        memory = memory_mb("train", Size(0), shipped("train"))
    n_jobs = len(folds) * study.n_trials[experiment]
    hours = n_jobs * seconds / 3600
    gpu_hours = hours if on_gpu and isinstance(method, UNetMethod) else 0.0
    start = (n_jobs + len(folds)) * JOB_START_S / 3600
    work = work_of("trial", experiment)
    return Row(work, n_jobs + len(folds), 0, hours + start, gpu_hours, memory, 0.0, 2 * n_jobs + len(folds), "shipped")


def _training(experiment: str, method: UNetMethod, folds: int, *, on_gpu: bool) -> Row:
    n_jobs = folds * len(method.seeds)
    seconds_per_step = SECONDS_PER_STEP["gpu" if on_gpu else "cpu"]
    seconds = 60 * method.minutes if method.minutes is not None else (method.steps or DEFAULT_STEPS) * seconds_per_step
    hours = n_jobs * seconds / 3600
    memory = memory_mb("train", Size(0), shipped("train"))
    return Row(
        work_of("train", experiment),
        n_jobs,
        0,
        hours,
        hours if on_gpu else 0.0,
        memory,
        0.1 * n_jobs,
        5 * n_jobs,
        "shipped",
    )


def total(rows: Sequence[Row]) -> Row:
    """All works together; the memory is the largest."""
    return Row(
        work="total",
        jobs=sum(row.jobs for row in rows),
        cases=max(row.cases for row in rows),
        cpu_hours=sum(row.cpu_hours for row in rows),
        gpu_hours=sum(row.gpu_hours for row in rows),
        peak_mb=max(row.peak_mb for row in rows),
        disk_gb=sum(row.disk_gb for row in rows),
        files=sum(row.files for row in rows),
        measured="",
    )


def _show_errors(layout: Layout, study: Study, cases: Sequence[Case]) -> None:
    """Print how predictions compare with the records, and keep it as a table beside the benchmark records."""
    records = records_of(layout, cases, *parts_of(study))
    if not records:
        return
    rows = error_rows(records, needs_of(layout, study, cases))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=ERROR_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = layout.root / "benchmarks" / "prediction_error.csv"
    write_text(path, text.getvalue())
    print(f"\nasked for and used (medians over cases; {path}):\n{text.getvalue()}", end="")

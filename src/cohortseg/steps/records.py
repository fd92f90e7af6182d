"""What the finished cases of a study took, and what the ones to come are expected to take."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from cohortseg.cohort import Case
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import read_json, read_sidecar, run_path
from cohortseg.layout import Layout
from cohortseg.settings import Study
from cohortseg.sizing import Need, Record, Size, fitted, memory_mb, shipped

MOST_CASES = 60
"""Records are read of so many cases, spread evenly: more would not change a line."""
COHORT_SIDECARS = {"convert": "image.json", "fingerprint": "fingerprint.json", "preprocess": "prepared.json"}
EXPERIMENT_SIDECARS = {
    "predict": "raw.json",
    "candidates": "candidates.json",
    "postprocess": "post.json",
    "evaluate": "metrics.json",
    "stability": "stability.json",
}
ERROR_COLUMNS = ("work", "n", "asked_mb", "used_mb", "mb_asked_per_used", "expected_s", "used_s", "s_error_percent")


def work_of(stage: str, experiment: str | None = None) -> str:
    """Name of what is sized together: a stage, of one experiment where there are several."""
    return stage if experiment is None else f"{stage} {experiment}"


def shipped_for(study: Study, stage: str) -> Need:
    """The need of a stage of this study before there are records."""
    return shipped(stage, crf=study.postprocess.crf is not None, images=study.synthesis is not None)


def needs_of(layout: Layout, study: Study, cases: Sequence[Case]) -> dict[str, Need]:
    """The lines of each work that has records: made of these where they are enough, else as shipped."""
    found = {}
    for work, records in records_of(layout, cases, *parts_of(study)).items():
        stage = work.split(" ")[0]
        found[work] = fitted(shipped_for(study, stage), stage, records)
    return found


def parts_of(study: Study) -> tuple[int, int]:
    """How many channels and classes a case of the study has."""
    return len(study.cohort.channel_names), len(study.cohort.labels.classes)


def records_of(layout: Layout, cases: Sequence[Case], channels: int, classes: int) -> dict[str, list[Record]]:
    """The records of finished, not rejected cases by work."""
    chosen = cases[:: max(1, math.ceil(len(cases) / MOST_CASES))]
    found: dict[str, list[Record]] = {}
    for case in chosen:
        size = Size(case.voxels, channels, classes)
        for work, sidecar in _sidecars(layout, case.case):
            if (record := _record(sidecar, size)) is not None:
                found.setdefault(work, []).append(record)
    return found


def _sidecars(layout: Layout, case: str) -> Iterator[tuple[str, Path]]:
    for stage, name in COHORT_SIDECARS.items():
        yield stage, layout.case(case) / name
    for folder in sorted((layout.root / "experiments").glob(f"*/*/cases/{case}")):
        for stage, name in EXPERIMENT_SIDECARS.items():
            yield work_of(stage, folder.parts[-4]), folder / name


def _record(sidecar: Path, size: Size) -> Record | None:
    done = read_sidecar(sidecar)
    if done is None or done["status"] != "ok":
        return None
    try:
        told = read_json(run_path(sidecar))
        return Record(size, float(told["peak_memory_mb"]), float(told["seconds"]))
    except (StudyError, KeyError):
        return None


def error_rows(records: dict[str, list[Record]], shipped_or_fitted: dict[str, Need]) -> list[dict[str, object]]:
    """How far the lines are from the records: medians over the cases of each work, one row each."""
    rows: list[dict[str, object]] = []
    for work, found in sorted(records.items()):
        stage, need = work.split(" ")[0], shipped_or_fitted[work]
        asked = [memory_mb(stage, record.size, need) for record in found]
        expected = [need.seconds.at(record.size.for_time(stage)) for record in found]
        used_mb = [record.memory_mb for record in found]
        used_s = [record.seconds for record in found]
        errors = [100.0 * (e - u) / u for e, u in zip(expected, used_s, strict=True) if u > 0.0]
        rows.append(
            {
                "work": work,
                "n": len(found),
                "asked_mb": round(_median(asked)),
                "used_mb": round(_median(used_mb)),
                "mb_asked_per_used": round(min(a / u for a, u in zip(asked, used_mb, strict=True)), 2),
                "expected_s": round(_median(expected), 2),
                "used_s": round(_median(used_s), 2),
                "s_error_percent": round(_median([abs(error) for error in errors])) if errors else None,
            }
        )
    return rows


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2

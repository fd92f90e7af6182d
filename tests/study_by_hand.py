"""A study folder written by hand, without any step: tables, sidecars and small stores."""

from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.cohort import Case, cases_text
from cohortseg.io import store
from cohortseg.io.sidecar import digest, run_path, write_json, write_text
from cohortseg.layout import Layout
from cohortseg.volume import Grid, Volume

GRID = Grid((5, 7, 6), (2.5, 0.8, 0.7), (-31.0, 12.5, 47.25))


def case_of(name: str, subject: str | None = None, **facts: Any) -> Case:
    blank = dict.fromkeys(("manufacturer", "model", "kernel", "slice_thickness_mm", "shape"), "")
    places = {"fold": "0", "role": "cohort", "batch": "b0001", "fold_batch": "f0-b0001"}
    base = {"modality": "CT", "voxels": 210, "label": "rtstruct", "positive": "yes", "source": f"sha256:{name}"}
    return Case(case=name, subject=subject or name.partition("_")[0], **(blank | base | places | facts))


def study_of(root: Path, *cases: Case, rejected: tuple[tuple[str, str], ...] = ()) -> Layout:
    """A study with its tables: cases, and (case, reason) of those that the index refused."""
    layout = Layout(root)
    write_text(layout.cases_table, cases_text(cases))
    columns = ["case", "subject", "stage", "reason", "meaning", "found"]
    rows = [[name, name, "index", reason, "", "found so"] for name, reason in rejected]
    write_text(layout.rejected_table, "".join("\t".join(row) + "\n" for row in [columns, *rows]))
    places = {case.case: {"subject": case.subject, "fold": case.fold, "role": case.role} for case in cases}
    write_json(layout.ledger, {"split": {"folds": 2, "seed": 1}, "cases": places})
    return layout


def image_of(seed: int = 1, grid: Grid = GRID) -> Volume:
    return Volume(np.random.default_rng(seed).integers(-1000, 2000, grid.shape).astype(np.int16), grid)


def label_of(grid: Grid = GRID) -> Volume:
    array = np.zeros(grid.shape, np.uint8)
    array[1:3, 2:5, 1:4] = 1
    return Volume(array, grid)


def sidecar_of(stage: str, content: Any = "sha256:0", **more: Any) -> dict[str, Any]:
    record = {"status": "ok", "stage": stage, "revision": 1, "key": f"key of {stage}", "inputs": {}}
    return record | {"reason": None, "found": None, "content": content} | more


def refused(stage: str, reason: str, found: str = "found so") -> dict[str, Any]:
    return sidecar_of(stage, digest([reason, found]), status="rejected", reason=reason, found=found)


def write_sidecar(path: Path, record: dict[str, Any]) -> None:
    write_json(path, record)
    write_json(run_path(path), {"seconds": 1.5, "peak_memory_mb": 100.0, "cohortseg": "0", "finished": "now"})


def write_case(layout: Layout, name: str, *, image: Volume | None = None, label: Volume | None = None) -> None:
    """A converted case, as `convert` leaves it."""
    folder = layout.case(name)
    contents = {
        "image": store.write_volume(folder / "image.zarr", image or image_of()),
        "label": store.write_volume(folder / "label.zarr", label, name="label") if label else None,
    }
    facts = {"modality": "CT", "grid": GRID.as_dict()}
    write_sidecar(
        folder / "image.json", sidecar_of("convert", digest(list(contents.values())), contents=contents, facts=facts)
    )


def write_prediction(layout: Layout, experiment: str, unit: str, label: Volume | None = None) -> None:
    """A raw and a cleaned label, and metrics of a sort."""
    model, _, name = unit.rpartition("/")
    folder = layout.prediction(experiment, model, name)
    content = ""
    for part, stage in (("raw", "predict"), ("post", "postprocess")):
        content = store.write_volume(folder / f"{part}.zarr", label or label_of(), name="label")
        write_sidecar(folder / f"{part}.json", sidecar_of(stage, content))
    write_sidecar(folder / "metrics.json", sidecar_of("evaluate", digest(content), metrics={}))


def write_token(layout: Layout, stage: str, batch: str, units: list[str], experiment: str | None = None) -> Path:
    path = layout.token(stage, batch, experiment)
    write_json(path, {"cases": {unit: {"status": "ok"} for unit in units}})
    return path

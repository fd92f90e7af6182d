"""A folder of anything through the public path: index, then convert each case; what became of each."""

import argparse
import contextlib
import csv
import io
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.cohort import read_cases
from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.settings import load_study
from cohortseg.stages import stage_settings
from cohortseg.steps import convert
from cohortseg.steps.index import index
from cohortseg.volume import Grid

LABELS = {"structures": {"tumour": "GTV.*"}}


@dataclass(frozen=True)
class Outcome:
    """One case: refused for a reason, or an array on a grid (and a label)."""

    name: str
    reason: str | None
    array: np.ndarray | None = None
    grid: Grid | None = None
    label: np.ndarray | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Accepted:
    """All cases of a folder, and what became of each file (path: kind, fate, problem)."""

    outcomes: list[Outcome]
    files: dict[str, dict[str, str]]


def accept(folder: Path, *, labels: dict[str, Any] | None = None, **cohort: Any) -> list[Outcome]:
    """Every case that the index finds or refuses below a folder, converted."""
    return accept_all(folder, labels=labels, **cohort).outcomes


def accept_all(folder: Path, *, labels: dict[str, Any] | None = None, **cohort: Any) -> Accepted:
    """As `accept`, with the table of files."""
    with tempfile.TemporaryDirectory(prefix="accept-") as results:
        study = load_study(
            {
                "study": "fuzz",
                "results": results,
                "cohort": {"source": str(folder), "labels": labels or LABELS, **cohort},
                "experiments": {"net": {"method": "unet"}},
            }
        )
        index(study)
        layout = Layout(study.folder)
        outcomes = [Outcome(row["case"], row["reason"]) for row in _rows(layout.rejected_table)]
        settings = stage_settings(study, "convert")
        for case in read_cases(layout.cases_table):
            token = layout.token("convert", case.batch)
            arguments = argparse.Namespace(study=layout, settings=settings, cases=[case.case], token=token)
            with contextlib.redirect_stderr(io.StringIO()) as log:
                try:
                    convert.run(arguments)
                except Exception as error:
                    # The step's log tells where in the code a fault arose.
                    raise RuntimeError(f"{error}\n{log.getvalue()}") from error
            outcomes.append(_outcome(layout, case.case))
        files = {row["path"]: row for row in _rows(layout.files_table)}
    return Accepted(sorted(outcomes, key=lambda one: one.name), files)


def _outcome(layout: Layout, case: str) -> Outcome:
    record = read_json(layout.case(case) / "image.json")
    if record["status"] != "ok":
        return Outcome(case, record["reason"], facts=record)
    image = store.read_volume(layout.case(case) / "image.zarr")
    path = layout.case(case) / "label.zarr"
    label = store.read_volume(path).array if path.exists() else None
    return Outcome(case, None, image.array, image.grid, label, record["facts"])


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))

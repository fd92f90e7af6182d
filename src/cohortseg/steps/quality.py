"""Quality control without labels: the records of the cleaned predictions -> `quality.csv`.

Shapes were measured by `postprocess` and stand in its sidecars; only where several models predicted a case are labels
read here, and what was found is remembered by their contents.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cohortseg.cohort import read_cases, safe_cell
from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, read_sidecar, write_json, write_text
from cohortseg.layout import Layout
from cohortseg.metrics.outliers import PROPERTIES, rank_predictions
from cohortseg.preprocess.drift import drift
from cohortseg.steps.units import all_units, split_unit

COLUMNS = ["experiment", "model", "case", "subject", "is_scored", "label", *PROPERTIES]
SLAB = 64


def quality(layout: Layout, experiments: Sequence[str], classes: Sequence[str]) -> pd.DataFrame:
    """Every prediction with its score and findings; columns of `metrics.outliers`."""
    rows = list(_predictions(layout, experiments, classes))
    table = pd.DataFrame(rows, columns=COLUMNS)
    floats = table.astype(dict.fromkeys(PROPERTIES, float))
    return rank_predictions(floats, agreement=_agreement(layout, experiments), drift=drifting(layout))


def write_quality(layout: Layout, table: pd.DataFrame) -> None:
    """Write the table so that a spreadsheet can open it safely."""
    write_text(layout.table("quality"), table.map(safe_cell).to_csv(index=False, lineterminator="\n"))


def _predictions(layout: Layout, experiments: Sequence[str], classes: Sequence[str]) -> Iterator[list[Any]]:
    subjects = {case.case: case.subject for case in read_cases(layout.cases_table)}
    for experiment in experiments:
        for unit in all_units(layout, experiment, "postprocess"):
            model, case = split_unit(unit)
            record = read_sidecar(layout.prediction(experiment, model, case) / "post.json")
            shapes = (record or {}).get("shapes")
            if shapes is None:
                continue
            image = read_json(layout.case(case) / "image.json")
            is_scored = image["contents"]["label"] is not None
            raw = read_sidecar(layout.prediction(experiment, model, case) / "raw.json") or {}
            bits = (raw.get("uncertainty") or {}).get("disagreement_bits")
            for number, (label, shape) in enumerate(zip(classes, shapes, strict=True)):
                # The networks disagree on a case, not on a class: said once.
                known = {**shape, "disagreement_bits": bits if number == 0 else None}
                numbers = [known[name] for name in PROPERTIES]
                yield [experiment, model, case, subjects[case], is_scored, label, *numbers]


def drifting(layout: Layout) -> dict[str, list[str]]:
    """Cases outside what the frozen plan saw: those that it was not made from; none without a plan."""
    if not layout.plan.exists() or not layout.cohort_fingerprint.exists():
        return {}
    plan, gathered = read_json(layout.plan), read_json(layout.cohort_fingerprint)
    seen = set(plan["seen"]["cases"])
    found = {name: drift(plan, case) for name, case in sorted(gathered.items()) if name not in seen}
    return {name: [f"scan: {text}" for text in texts] for name, texts in found.items() if texts}


def _agreement(layout: Layout, experiments: Sequence[str]) -> dict[tuple[str, str], float]:
    """Mean Dice between the labels of the models that predicted the same case; remembered by their contents."""
    memory = layout.report.parent / "agreement.json"
    try:
        known: dict[str, float] = read_json(memory)
    except StudyError:
        known = {}
    used: dict[str, float] = {}
    found = {}
    for experiment, case, folders in _predicted_twice(layout, experiments):
        records = [read_sidecar(folder / "post.json") for folder in folders]
        contents = [record["content"] for record in records if record is not None and record["status"] == "ok"]
        if len(contents) < len(folders):
            continue
        key = digest(contents)
        if key in known:
            used[key] = known[key]
        else:
            used[key] = _mean_dice([store.open_array(folder / "post.zarr") for folder in folders])
        found[experiment, case] = used[key]
    if used:
        write_json(memory, used)
    return found


def _predicted_twice(layout: Layout, experiments: Sequence[str]) -> Iterator[tuple[str, str, list[Path]]]:
    """Experiment, case and the folders of its predictions, where several models predicted it."""
    for experiment in experiments:
        models: dict[str, list[str]] = defaultdict(list)
        for model, case in map(split_unit, all_units(layout, experiment, "postprocess")):
            models[case].append(model)
        for case, names in models.items():
            if len(names) > 1:
                yield experiment, case, [layout.prediction(experiment, model, case) for model in names]


def _mean_dice(labels: Sequence[Any]) -> float:
    """Mean over pairs of models of the Dice of all labelled voxels that have the same class; 1 where all are empty."""
    sizes = np.zeros(len(labels))
    shared = np.zeros((len(labels), len(labels)))
    for low in range(0, labels[0].shape[0], SLAB):
        slabs = [np.asarray(label[low : low + SLAB]) for label in labels]
        sizes += [np.count_nonzero(slab) for slab in slabs]
        for a, b in itertools.combinations(range(len(labels)), 2):
            shared[a, b] += np.count_nonzero((slabs[a] == slabs[b]) & (slabs[a] != 0))
    pairs = [
        2 * shared[a, b] / (sizes[a] + sizes[b]) if sizes[a] + sizes[b] else 1.0
        for a, b in itertools.combinations(range(len(labels)), 2)
    ]
    return float(np.mean(pairs))

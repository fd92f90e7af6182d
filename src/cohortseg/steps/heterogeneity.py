"""The tables on what the scans of a cohort are like: heterogeneity of the acquisition, repairs and warnings."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from cohortseg.cohort import read_cases
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.metrics.heterogeneity import measure

REPAIR_COLUMNS = ["case", "what", "count"]
FLAGS: dict[str, str] = {
    "resampled": "label resampled onto the image",
    "registration": "channel registered to the first one",
    "n_interpolated_slices": "label slices interpolated between contours",
    "n_clipped": "contours cut off at the edge of the image",
    "n_ignored": "contours left out: points, open, too short or repeated",
    "n_overlap_voxels": "voxels that two classes claim, left to the first",
    "n_uncovered": "voxels that no mask covers, taken for empty",
    "n_not_judged": "voxels labelled `ignore`, left out of training and metrics",
}
"""Facts that are true, present or a count: what they say of a case."""
LISTS: dict[str, str] = {
    "missing_channels": "channel filled with zeros",
    "missing": "class without structure, taken for empty",
}
"""Facts that are lists: what each entry says."""
MENDS: dict[str, str] = {
    "stray_slices": "slices of another kind left out",
    "repeated_slices": "repeated slices left out",
    "missing_slices": "missing slices interpolated",
    "uneven_spacing": "slices of uneven spacing resampled",
    "gantry_tilt": "slices moved to straighten a gantry tilt",
}


def scans_of_cases(layout: Layout) -> pd.DataFrame:
    """`heterogeneity.csv`: one row per series that is (a channel of) a case, with what makes it differ."""
    table = pd.read_csv(layout.series_table, sep="\t", dtype=str, keep_default_na=False)
    return measure(table[table["status"] == "case"].sort_values("case", kind="stable"))


def repairs(layout: Layout) -> pd.DataFrame:
    """`repairs.csv`: what was mended or borne when the cases were converted; columns `REPAIR_COLUMNS`.

    `count` is the number of slices, contours or voxels that `what` speaks of, else of times. Rejected cases have no
    row: nothing was mended.
    """
    rows = []
    for case in read_cases(layout.cases_table):
        record = read_json(layout.case(case.case) / "image.json")
        if record["status"] == "ok":
            notes: Counter[str] = Counter()
            for what, count in _notes(record["facts"]):
                notes[what] += count
            rows += [[case.case, what, count] for what, count in sorted(notes.items())]
    return pd.DataFrame(rows, columns=REPAIR_COLUMNS)


def _notes(facts: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Repairs and warnings in the facts of a case, at any depth: those of channels and labels lie deeper."""
    for name, value in facts.items():
        if name == "mended" and isinstance(value, Mapping):
            yield from ((MENDS.get(mend, mend.replace("_", " ")), int(n)) for mend, n in value.items() if n)
        elif name == "warnings" and isinstance(value, list | tuple):
            yield from ((f"warning: {str(text).replace('_', ' ')}", 1) for text in value)
        elif name in LISTS and isinstance(value, list | tuple):
            yield from ((f"{LISTS[name]}: {entry}", 1) for entry in value)
        elif name in FLAGS and value and not isinstance(value, str):
            yield FLAGS[name], 1 if isinstance(value, Mapping) else int(value)
        elif isinstance(value, Mapping):
            yield from _notes(value)

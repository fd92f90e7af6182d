"""The data dictionary of panoptic quality over several classes."""

from cohortseg.metrics.columns import Column
from cohortseg.metrics.table_words import Table, count, number, share, text

Columns = dict[str, Column]

_LABEL = {
    "label": text("class; in panoptic.csv also `all`, `things` and `stuff`: means over their classes"),
    "kind": text("thing: each object counts; stuff: one region in a case"),
}
_COUNTS: Columns = {
    "n_matched": count("segments with a partner of their class, Jaccard index above 0.5"),
    "n_false": count("predicted segments without one, but for those mostly in voxels that count for nothing"),
    "n_missed": count("segments of the reference without one"),
}


def panoptic_tables(head: Columns, by: Columns, note: Columns) -> dict[str, Table]:
    """`panoptic.csv` and `panoptic_by_case.csv`; `head` and `by` begin their rows, `note` ends them."""
    head, by = {**head, **_LABEL}, {**by, **_LABEL}
    qualities: Columns = {}
    for name, definition in {
        "pq": "sum of the Jaccard indices of matches / (matches + half of all unmatched), over all cases together",
        "sq": "mean Jaccard index of the matches",
        "rq": "matches / (matches + half of all unmatched)",
    }.items():
        qualities[name] = Column("fraction", definition, (0.0, 1.0), True, "Kirillov 2019")
        qualities[f"{name}_ci_low"] = share("low end of its interval: percentiles over resampled subjects")
        qualities[f"{name}_ci_high"] = share("high end of its interval")
    return {
        "panoptic": Table(
            "panoptic quality of each class, and its mean over classes, things and stuff",
            {
                **by,
                "n_cases": count("cases (times seeds)"),
                "n_subjects": count("subjects"),
                "n_classes": count("classes with a segment, over which a mean is taken"),
                **_COUNTS,
                **qualities,
                **note,
            },
        ),
        "panoptic_by_case": Table(
            "segments of each class in each case",
            {
                **head,
                **_COUNTS,
                "jaccard_sum": number("count", "sum of the Jaccard indices of the matches", 0.0),
                "pq": Column("fraction", "as in panoptic.csv, of this case alone", (0.0, 1.0), True, "Kirillov 2019"),
            },
        ),
    }

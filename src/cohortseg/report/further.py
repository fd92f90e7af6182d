"""Further analyses of the study, each shown where its table is there: ranks, agreement, covariates and the like."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cohortseg.report.content import ReportContent, with_columns
from cohortseg.report.numbers import METRICS, counted, is_number, metric_look, significant
from cohortseg.report.results import SAME_STAGE
from cohortseg.report.table import Cell, Column, Table, rows_of, sort_key, words

MOST_LINES = 40


@dataclass(frozen=True)
class Analysis:
    """How a table is presented: its heading, and what it answers."""

    title: str
    words: str


ANALYSES: dict[str, Analysis] = {
    "choices": Analysis(
        "Chosen on validation folds",
        "What is done to the cases of a fold was chosen by the cases of the other folds, so the gain on the fold "
        "itself (held out) is an honest one; nothing is done where no gain is beyond chance.",
    ),
    "ranks": Analysis(
        "Ranks", "Which experiment leads, and how often that order returns when subjects are drawn anew."
    ),
    "agreement": Analysis(
        "Agreement of volumes", "How far predicted volumes lie from those of the reference (Bland & Altman; ICC)."
    ),
    "detection": Analysis(
        "Detection of cases", "How well cases with the structure are told from cases without it (area under the ROC)."
    ),
    "operating_points": Analysis(
        "Detection at an operating point",
        "Lesions found and false candidates where only candidates from a score on count; the score was chosen by the "
        "validation cases of the other folds (for the test set by those of all), so no case chose for itself.",
    ),
    "panoptic": Analysis(
        "Panoptic quality",
        "Objects of things and regions of stuff scored together (Kirillov 2019), all cases added up; PQ = SQ × RQ.",
    ),
    "types": Analysis(
        "Types of segmented cases",
        "Told from volume, intensities and texture of the region by a support vector machine; for each fold it was "
        "fitted on the cases of the other folds, for the test set on those of all. The reference shows what better "
        "segmentation could give, the most frequent type what needs no image.",
    ),
    "stability_summary": Analysis(
        "Stability under changes of the image",
        "How far the raw label stays the same (Dice, no reference) when the image is mirrored, turned, noisy, coarser.",
    ),
    "covariates": Analysis("Covariates", "How the primary metric goes with properties of the scans."),
    "variance": Analysis("Folds and seeds", "How much of the spread comes from the fold and the seed, not the case."),
    "gaps": Analysis("Gaps between subgroups", "The largest difference between two groups of cases, with its test."),
    "interactions": Analysis(
        "Interactions", "Whether the difference between two experiments depends on the group of cases."
    ),
}
"""Name of the table: its presentation, in the order of the page."""
ESTIMATES = Analysis(
    "Estimates of memory and time",
    "What a first run asks for each case before anything was measured, and what was used: medians, the least "
    "memory asked per memory used (below 1 a job would have needed a retry), and the median error of the seconds.",
)

HIDDEN = ("study",)
KEYS = ("label", "stage", "split")
WITHOUT_WORDS = ("", "1", "count", "text", "fraction", "rank", "nan", "unit of the metric", "as the curve")
"""Units that say nothing beside the heading."""

HEADINGS = {
    **{"pq": "PQ", "sq": "SQ", "rq": "RQ"},
    **{"ci_low": "CI low", "ci_high": "CI high", "n_cases": "Cases", "roc_auc": "ROC area"},
    **{"p_value": "p", "p_value_holm": "p (Holm)", "p_groups": "p", "p_groups_holm": "p (Holm)"},
    **{"icc_agreement": "ICC, agreement", "icc_consistency": "ICC, consistency"},
    **{"icc_low": "ICC low", "icc_high": "ICC high", "mean_rank": "Mean rank", "slope_p": "p of the slope"},
    **{
        "held_out_gain": "Gain, held out",
        "n_held_out": "Predictions, held out",
        "share_first": "Share of first places",
    },
    **{
        "applied_to": "Fold",
        "p_interaction": "p",
        "p_interaction_holm": "p (Holm)",
        "experiment_a": "A",
        "experiment_b": "B",
    },
    **{
        "sd": "SD",
        "sd_ml": "SD",
        "sd_of_means": "SD of means",
        "sd_within": "SD within",
        "sd_component": "SD component",
        **{"asked_mb": "Asked, MB", "used_mb": "Used, MB", "mb_asked_per_used": "Least asked / used"},
        **{"expected_s": "Expected, s", "used_s": "Used, s", "s_error_percent": "Error of the time, %"},
        **{"work": "Stage", "n": "Records"},
    },
}
RESULTS = {
    "covariates": ("rho",),
    "variance": ("lowest", "sd_of_means"),
    "gaps": ("gap",),
    "interactions": ("p_interaction",),
}
"""Columns of which one must hold a number for a line to be worth a place on the page; the file has all lines."""


@dataclass(frozen=True)
class Further:
    """One analysis with its table."""

    title: str
    words: str
    table: Table


def further(content: ReportContent) -> list[Further]:
    """The analyses whose tables are there and hold something."""
    return [
        Further(analysis.title, analysis.words, _table(content, name, analysis.title, content.tables[name]))
        for name, analysis in ANALYSES.items()
        if name in content.tables and len(_with_results(name, content.tables[name]))
    ]


def asked_and_used(content: ReportContent) -> Further | None:
    """What jobs asked for and used; it stands with the resources, the one part of a page that differs between runs."""
    frame = content.tables.get("estimates")
    if frame is None or not len(frame):
        return None
    return Further(ESTIMATES.title, ESTIMATES.words, _table(content, "estimates", ESTIMATES.title, frame))


def _with_results(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The lines that hold a result."""
    needed = [column for column in RESULTS.get(name, ()) if column in frame]
    return frame[frame[needed].notna().any(axis=1)] if needed else frame


def _table(content: ReportContent, name: str, title: str, frame: pd.DataFrame) -> Table:
    """The first lines of a table, without columns that hold nothing; what is the same in all lines is said once."""
    n_empty, frame = len(frame), _with_results(name, frame)
    n_empty -= len(frame)
    frame = _stages_once(frame)
    same = {column: str(frame[column].iloc[0]) for column in KEYS if column in frame and _is_constant(frame[column])}
    names = [str(c) for c in frame.columns if c not in HIDDEN and c not in same and not _is_empty(frame[c])]
    shown, units = frame.head(MOST_LINES), _units(content, name)
    numbers = {column: bool(pd.to_numeric(frame[column], errors="coerce").notna().any()) for column in names}
    columns = tuple(
        Column(_heading(column, units.get(column, "")), units.get(column, ""), is_number=numbers[column])
        for column in names
    )
    rows = rows_of([_cell(line[column], numbers[column]) for column in names] for line in shown.to_dict("records"))
    n_left = len(frame) - len(shown)
    notes = [f"All lines: {', '.join(f'{key} {value}' for key, value in same.items())}."] if same else []
    notes += [f"{counted(n_left, 'more line')} in tables/{name}.csv."] if n_left else []
    notes += [f"{counted(n_empty, 'line')} without a result in tables/{name}.csv, with the reason."] if n_empty else []
    return Table(title, columns, rows, note=" ".join(notes))


def _stages_once(frame: pd.DataFrame) -> pd.DataFrame:
    """Lines that are the same before and after post-processing, once."""
    if "stage" not in frame:
        return frame
    is_twin = frame.duplicated([column for column in frame if column != "stage"], keep=False)
    kept = frame[~(is_twin & (frame["stage"] == "raw"))]
    return kept.assign(stage=kept["stage"].mask(is_twin[kept.index], SAME_STAGE))


def _is_constant(values: pd.Series) -> bool:
    return len(values) > 1 and values.nunique(dropna=False) == 1 and not _is_empty(values)


def _is_empty(values: pd.Series) -> bool:
    return bool((values.isna() | (values.astype(str) == "")).all())


def _units(content: ReportContent, name: str) -> dict[str, str]:
    """The units of the columns, where the data dictionary gives one worth writing."""
    table = with_columns(content.dictionary, ["table", "column", "unit"])
    table = table[(table["table"].astype(str).str.removesuffix(".csv") == name) & table["unit"].notna()]
    known = {str(line["column"]): str(line["unit"]) for line in table.to_dict("records")}
    return {column: unit for column, unit in known.items() if unit not in WITHOUT_WORDS}


def _heading(column: str, unit: str) -> str:
    """`false_positives_per_case` as `False positives per case`; metrics by their names, units not twice."""
    if column in METRICS:
        return metric_look(column).title
    if column in HEADINGS:
        return HEADINGS[column]
    words_of_name = column.removeprefix("n_").removesuffix(f"_{unit}" if unit else "").replace("_", " ")
    return words_of_name[:1].upper() + words_of_name[1:]


def _cell(value: Any, is_numeric: bool) -> Cell:
    """Numbers in four digits, texts as they are."""
    if is_numeric and is_number(value):
        return Cell(significant(value, 4), key=sort_key(value))
    if isinstance(value, str) and value in METRICS:
        return words(METRICS[value].title)
    return words(
        value.replace("_", " ") if isinstance(value, str) and re.fullmatch(r"[a-z]+(_[a-z]+)+", value) else value
    )

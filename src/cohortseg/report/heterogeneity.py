"""The section on heterogeneity: properties of the acquisition, scans that differ, repairs and warnings."""

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cohortseg.report.content import ReportContent, text_column, with_columns
from cohortseg.report.numbers import counted, is_number, number, significant
from cohortseg.report.table import Cell, Column, Table, figure, headed, rows_of, sort_key, words

MOST_OUTLIERS = 20
MOST_REPAIRS = 30
SUMMARY = (
    *("modality", "channel", "property", "n", "n_known", "n_values", "most_common", "share"),
    *("min", "median", "max", "n_outliers"),
)
SCANS = ("case", "channel", "modality", "spacing_mm", "outlier")
REPAIRS = ("case", "what", "count")

TITLES: dict[str, tuple[str, str]] = {
    "manufacturer": ("Manufacturer", ""),
    "model": ("Model", ""),
    "kernel": ("Kernel", ""),
    "body_part": ("Body part", ""),
    "orientation": ("Orientation", ""),
    "contrast": ("Contrast agent", ""),
    "transfer_syntax": ("Transfer syntax", ""),
    "lossy": ("Lossy compression", ""),
    "burned_in": ("Burned-in text", ""),
    "slice_thickness_mm": ("Slice thickness", "mm"),
    "spacing_z_mm": ("Slice distance", "mm"),
    "pixel_mm": ("Pixel size", "mm"),
    "rows": ("Rows", ""),
    "columns": ("Columns", ""),
    "n_slices": ("Slices", ""),
    "kvp": ("Tube voltage", "kV"),
    "exposure_mas": ("Exposure", "mAs"),
    "te_ms": ("Echo time", "ms"),
    "tr_ms": ("Repetition time", "ms"),
    "flip_angle_deg": ("Flip angle", "°"),
    "field_strength_t": ("Field strength", "T"),
    "days": ("Days since the first scan", ""),
}
"""Property: how the page calls it, and its unit."""


def property_tables(content: ReportContent) -> list[Table]:
    """One table per modality and channel: the properties in which its scans are not all the same; none without."""
    summary = _summary(content)
    varied = summary[(summary["n_values"] > 1) | (summary["n_outliers"] > 0)]
    groups = varied.groupby(["modality", "channel"], sort=True)
    return [_property_table(_group_words(summary, str(key[0]), str(key[1])), part) for key, part in groups]


def _summary(content: ReportContent) -> pd.DataFrame:
    summary = with_columns(content.heterogeneity_summary, SUMMARY)
    return summary.assign(**{name: text_column(summary, name) for name in ("modality", "channel")})


def _group_words(summary: pd.DataFrame, modality: str, channel: str) -> str:
    """`CT`, or `MR (t2)` where a modality has several channels."""
    n_channels = summary.loc[summary["modality"] == modality, "channel"].nunique()
    return f"{modality} ({channel})" if n_channels > 1 else modality


def _property_table(group: str, part: pd.DataFrame) -> Table:
    rows = []
    for line in part.to_dict("records"):
        title, unit = TITLES.get(line["property"], (str(line["property"]), ""))
        usual = str(line["most_common"])
        rows.append(
            [
                Cell(title, note=unit, key=title.casefold()),
                Cell(f"{number(line['n_known'], 0)} of {number(line['n'], 0)}", key=sort_key(line["n_known"])),
                figure(line["n_values"], 0),
                Cell(_told(usual, unit), note=_percent(line["share"]), key=usual.casefold()),
                *(Cell(significant(line[name]), key=sort_key(line[name])) for name in ("min", "median", "max")),
                figure(line["n_outliers"], 0),
            ]
        )
    columns = (
        *headed("Property"),
        *headed("Known", "Values", is_number=True),
        Column("Most common", is_number=False),
        *headed("Min", "Median", "Max", "Differ", is_number=True),
    )
    n = number(part["n"].max(), 0)
    return Table(f"Properties that vary between the {n} series of {group}", columns, rows_of(rows))


def _percent(share: Any) -> str:
    return f"{number(100 * float(share), 0)} %"


def _told(value: Any, unit: str) -> str:
    """A value of a header: what has a unit in three digits, anything else as it is (a model may be called 7600)."""
    return significant(value) if unit and is_number(value) else str(value)


def alike_sentence(content: ReportContent) -> str:
    """The properties that are the same in all series of a modality, with their values; empty where none is."""
    summary = _summary(content)
    same = summary[(summary["n_values"] == 1) & (summary["n_outliers"] == 0)]
    parts = []
    for key, part in same.groupby(["modality", "channel"], sort=True):
        listed = [_same_words(line) for line in part.to_dict("records")]
        parts.append(
            f"The same in all series of {_group_words(summary, str(key[0]), str(key[1]))}: {', '.join(listed)}."
        )
    return " ".join(parts)


def _same_words(line: dict[Any, Any]) -> str:
    title, unit = TITLES.get(line["property"], (str(line["property"]), ""))
    unknown = f", unknown in {number(line['n'] - line['n_known'], 0)}" if line["n_known"] < line["n"] else ""
    value = f"{_told(line['most_common'], unit)} {unit}".rstrip()
    return f"{title[0].lower()}{title[1:]} ({value}{unknown})"


def outlier_table(content: ReportContent) -> Table | None:
    """The series that differ in most properties, with their values beside the usual ones; None where none differs."""
    scans = with_columns(content.heterogeneity, SCANS)
    scans = scans.assign(**{name: text_column(scans, name) for name in SCANS})
    scans = scans[scans["outlier"] != ""]
    if scans.empty:
        return None
    n_properties = scans["outlier"].map(lambda text: len(text.split(";")))
    ordered = scans.assign(n=n_properties).sort_values(["n", "case"], ascending=[False, True], kind="stable")
    usual = _usual_values(_summary(content))
    rows = []
    for line in ordered.head(MOST_OUTLIERS).to_dict("records"):
        names = str(line["outlier"]).split(";")
        told = "; ".join(_difference(line, name, usual) for name in names)
        group = _group_words(_summary(content), str(line["modality"]), str(line["channel"]))
        rows.append([words(line["case"]), words(group), figure(len(names), 0), Cell(told)])
    n_left = len(ordered) - len(rows)
    columns = (*headed("Case", "Series"), Column("Properties"), Column("Differs in", is_number=False))
    note = f"{counted(n_left, 'more series', 'more series')} in tables/heterogeneity.csv." if n_left else ""
    return Table("Series that differ from the others", columns, rows_of(rows), note=note, is_prose=True)


def _usual_values(summary: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    """The median of each property of each group, or its most common value where it is a word."""
    return {
        (line["modality"], line["channel"], line["property"]): significant(line["median"])
        if not pd.isna(line["median"])
        else str(line["most_common"])
        for line in summary.to_dict("records")
    }


def _difference(line: dict[Any, Any], name: str, usual: dict[tuple[str, str, str], str]) -> str:
    """`slice thickness 10 mm (usual: 3)`."""
    title, unit = TITLES.get(name, (name, ""))
    value = _value(line, name)
    known = usual.get((line["modality"], line["channel"], name), "")
    told = f"{title[0].lower()}{title[1:]} {_told(value, unit)} {unit}".rstrip()
    return f"{told} (usual: {known})" if known else told


def _value(line: dict[Any, Any], name: str) -> str:
    if name not in ("spacing_z_mm", "pixel_mm"):
        return str(line.get(name, ""))
    sizes: Sequence[str] = str(line["spacing_mm"]).split("x")
    return sizes[0] if name == "spacing_z_mm" else max(sizes[1:], key=float)


def repair_table(content: ReportContent) -> Table | None:
    """What was mended or borne, the most frequent first; None where nothing was."""
    table = with_columns(content.repairs, REPAIRS)
    if table.empty:
        return None
    # Warnings carry the numbers of their case; without them they are counted together.
    kinds = table["what"].map(lambda text: re.sub(r"\d+(\.\d+)?", "…", str(text)))
    rows = []
    for kind, part in table.assign(count=table["count"].astype(float)).groupby(kinds, sort=True):
        cases = sorted(part["case"].unique())
        told = ", ".join(cases[:3]) + (f" and {number(len(cases) - 3, 0)} more" if len(cases) > 3 else "")
        what = str(part["what"].iloc[0]) if part["what"].nunique() == 1 else str(kind)
        rows.append([words(what), figure(len(cases), 0), figure(part["count"].sum(), 0), words(told)])
    rows.sort(key=lambda row: (-float(row[1].key), row[0].text))
    n_left = len(rows) - MOST_REPAIRS
    return Table(
        "Repairs and warnings",
        (*headed("What"), *headed("Cases", "Count", is_number=True), *headed("Where")),
        rows_of(rows[:MOST_REPAIRS]),
        note=f"{counted(n_left, 'more kind')} in tables/repairs.csv." if n_left > 0 else "",
        is_prose=True,
    )

"""Subgroups of cases: a forest plot and a table for each property, and the gaps between the groups in words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cohortseg.report.content import (
    SUBGROUP_COLUMNS,
    ReportContent,
    last_stage,
    of_leading_split,
    of_split,
    splits_in,
    with_columns,
)
from cohortseg.report.forest import ForestLine, forest_plot
from cohortseg.report.glance import unit_of
from cohortseg.report.numbers import as_float, counted, interval, is_number, metric_look, number, p_value
from cohortseg.report.results import split_cells
from cohortseg.report.style import series
from cohortseg.report.table import Cell, Table, figure, headed, rows_of, sort_key, words

FEW_CASES = 5
"""Below this a group is drawn pale."""

GAP_COLUMNS = ("experiment", "best", "worst", "gap", "ci_low", "ci_high", "p_groups", "p_groups_holm")
INTERACTION_COLUMNS = (
    *("experiment_a", "experiment_b", "lowest_group", "lowest_difference", "highest_group", "highest_difference"),
    *("p_interaction", "p_interaction_holm"),
)
DEPENDS_BELOW = 0.05
SAYS_NOTHING = "no sign that the difference depends on the group"
MOST_PAIRS = 3
"""More pairs of experiments than these are summed up, and only those that depend on the group are named."""

MOST_GROUPS = 24
MOST_FORESTS_OF_A_LABEL = 3
"""Labels that get a forest plot; the table has all."""


@dataclass(frozen=True)
class Subgroup:
    """One property: its plots (title and SVG), what they show in words, and its table."""

    title: str
    plots: tuple[tuple[str, bytes], ...]
    gaps: tuple[str, ...]
    table: Table


def subgroups(content: ReportContent) -> list[Subgroup]:
    """The primary metric by each property, after post-processing; none for an empty table."""
    table = with_columns(content.subgroups, SUBGROUP_COLUMNS)
    table = table[table["property"].notna()]
    if "metric" in table.columns:
        table = table[table["metric"].isna() | (table["metric"] == content.primary_metric)]
    table = table[table["stage"] == last_stage(table["stage"])]
    return [_subgroup(content, str(name), part) for name, part in table.groupby("property", sort=False)]


def _subgroup(content: ReportContent, name: str, part: pd.DataFrame) -> Subgroup:
    look, unit = metric_look(content.primary_metric), unit_of(content, content.primary_metric)
    title = f"{look.title} ({unit})" if unit else look.title
    leading = of_leading_split(part)
    labels = [str(label) for label in leading["label"].dropna().unique()][:MOST_FORESTS_OF_A_LABEL]
    heading = f"{title} by {_property(name).lower()}"
    values = leading["value"].astype(str).unique()
    if len(values) == 1:
        only = f"One group only, nothing to compare: {_property(name).lower()} {values[0]} in all cases."
        return Subgroup(heading, (), (only,), _table(content, name, part, title))
    plots = [
        (f"{heading}: {label}", _forest(content, leading[leading["label"] == label], label, title)) for label in labels
    ]
    sentences = (*_gaps(content, name, labels), *_interactions(content, name, labels))
    return Subgroup(heading, tuple(plots), sentences, _table(content, name, part, title))


def _forest(content: ReportContent, part: pd.DataFrame, label: str, title: str) -> bytes:
    names = sorted(content.rows["experiment"].dropna().unique()) if "experiment" in content.rows else []
    names = names or sorted(part["experiment"].dropna().unique())
    looks = {str(name): series(k) for k, name in enumerate(names)}
    ordered = sorted(part.to_dict("records"), key=_subgroup_order)
    values = list(dict.fromkeys(str(line["value"]) for line in ordered))[:MOST_GROUPS]
    lines = [
        ForestLine(
            str(line["value"]),
            looks.get(str(line["experiment"]), series(0)),
            int(line["n_cases"]) if is_number(line["n_cases"]) else 0,
            as_float(line["mean"]),
            as_float(line["ci_low"]),
            as_float(line["ci_high"]),
            is_small=_is_few(line),
        )
        for line in ordered
        if str(line["value"]) in values
    ]
    overall = [(look, _overall(content, name, label)) for name, look in looks.items()]
    return forest_plot(
        lines, content.primary_metric, axis_title=f"mean {title}, {content.confidence} interval", overall=overall
    )


def _is_few(line: dict[Any, Any]) -> bool:
    return not is_number(line["n_cases"]) or int(line["n_cases"]) < FEW_CASES


def _overall(content: ReportContent, experiment: str, label: str) -> float:
    """The mean over all cases of the leading split, from the summary."""
    table = of_leading_split(with_columns(content.summary, ["split", "experiment", "label", "stage", "metric", "mean"]))
    here = (table["experiment"] == experiment) & (table["label"] == label)
    here &= (table["metric"] == content.primary_metric) & (table["stage"] == last_stage(table["stage"]))
    return as_float(table.loc[here, "mean"].iloc[0]) if here.any() else float("nan")


def _gaps(content: ReportContent, name: str, labels: Sequence[str]) -> list[str]:
    """Per experiment the gap between the best and the worst group with its interval and test, in words."""
    look = metric_look(content.primary_metric)
    sentences = []
    for line in _about(content, "gaps", GAP_COLUMNS, name, labels):
        if not is_number(line["gap"]):
            continue
        apart, around = number(line["gap"], look.decimals), interval(line["ci_low"], line["ci_high"], look.decimals)
        gap = f"a gap of {apart} ({content.confidence} CI {around})"
        sentences.append(
            f"{_prefix(line['label'], labels)}{line['experiment']}: {gap} between "
            f"“{line['best']}” (best) and “{line['worst']}” (worst){_tested(line, 'p_groups')}."
        )
    return sentences


def _interactions(content: ReportContent, name: str, labels: Sequence[str]) -> list[str]:
    """Per pair of experiments whether their difference depends on the group; many pairs are summed up."""
    look = metric_look(content.primary_metric)
    lines = [
        line
        for line in _about(content, "interactions", INTERACTION_COLUMNS, name, labels)
        if is_number(line["p_interaction"])
    ]
    depends = [line for line in lines if as_float(line["p_interaction_holm"]) < DEPENDS_BELOW]
    sentences = []
    for line in lines if len(lines) <= MOST_PAIRS else depends[:MOST_PAIRS]:
        pair = f"{_prefix(line['label'], labels)}{line['experiment_a']} against {line['experiment_b']}"
        ends = [
            f"{number(line[f'{end}_difference'], look.decimals)} in “{line[f'{end}_group']}”"
            for end in ("lowest", "highest")
        ]
        says = f"the difference depends on the group, from {ends[0]} to {ends[1]}" if line in depends else SAYS_NOTHING
        sentences.append(f"{pair}: {says}{_tested(line, 'p_interaction')}.")
    if len(lines) > MOST_PAIRS:
        sentences.append(
            f"Of {counted(len(lines), 'pair')} of experiments {len(depends)} differ by group (p after Holm below "
            f"{DEPENDS_BELOW:g}); tables/interactions.csv has all."
        )
    return sentences


def _about(
    content: ReportContent, table: str, columns: Sequence[str], name: str, labels: Sequence[str]
) -> list[dict[Any, Any]]:
    """The lines of a table about one property and the primary metric, of the leading split."""
    found = with_columns(content.tables.get(table), ["split", "label", "property", "metric", *columns])
    found = of_leading_split(found)
    found = found[(found["property"] == name) & (found["metric"] == content.primary_metric)]
    return found[found["label"].isin(labels)].to_dict("records")


def _prefix(label: Any, labels: Sequence[str]) -> str:
    return f"{label}, " if len(labels) > 1 else ""


def _tested(line: Mapping[Any, Any], column: str) -> str:
    """The corrected p of a line, else the plain one, else nothing."""
    p, corrected = as_float(line[column]), as_float(line[f"{column}_holm"])
    if is_number(corrected):
        return f"; p {p_value(corrected)} after Holm’s correction"
    return f"; p {p_value(p)}" if is_number(p) else ""


def _table(content: ReportContent, name: str, part: pd.DataFrame, title: str) -> Table:
    decimals = metric_look(content.primary_metric).decimals
    splits = splits_in(part)
    is_split = len(splits) > 1
    lines = [line for split in splits for line in sorted(of_split(part, split).to_dict("records"), key=_subgroup_order)]
    rows = [
        [
            *(words(line[key]) for key in ("value", "label", "experiment")),
            *split_cells(is_split, line["split"]),
            figure(line["n_cases"], 0),
            figure(line["median"], decimals, is_strong=True),
            Cell(interval(line["q1"], line["q3"], decimals), key=sort_key(line["q1"])),
            figure(line["mean"], decimals),
            Cell(interval(line["ci_low"], line["ci_high"], decimals), key=sort_key(line["ci_low"])),
        ]
        for line in lines[: 4 * MOST_GROUPS]
    ]
    columns = (
        *headed(_property(name), "Label", "Experiment", *(["Split"] if is_split else [])),
        *headed(
            "Cases", f"Median {title}", "Quartiles", "Mean", f"{content.confidence} CI of the mean", is_number=True
        ),
    )
    n_left = len(lines) - len(rows)
    note = f"{counted(n_left, 'more line')} in tables/subgroups.csv." if n_left > 0 else ""
    return Table(f"{title} by {_property(name).lower()}", columns, rows_of(rows), note=note)


def _property(name: str) -> str:
    """`slice_thickness_mm` as `Slice thickness (mm)`."""
    words_of_name = name.removesuffix("_mm").replace("_", " ").capitalize()
    return f"{words_of_name} (mm)" if name.endswith("_mm") else words_of_name


def _subgroup_order(line: dict[Any, Any]) -> tuple[str, int, float, str, str]:
    """By label, then from few to much (`no …`, `below 5 …`, `5 to 30 …`, `above 30 …`), then by experiment."""
    value = str(line["value"])
    found = re.search(r"[0-9.]+", value)
    rank = {"no": 0, "below": 1, "above": 3}.get(value.partition(" ")[0], 2)
    size = float(found.group()) if found and is_number(found.group()) else 0.0
    return str(line["label"]), rank, size, value, str(line["experiment"])

"""Quality control without labels: the cases that somebody should look at, and why."""

from collections import Counter
from typing import Any

from cohortseg.report.content import QUALITY_COLUMNS, ReportContent, text_column, with_columns
from cohortseg.report.numbers import counted, number
from cohortseg.report.table import Cell, Column, Table, figure, headed, rows_of, words

MOST_CASES = 25


def quality_table(content: ReportContent) -> Table | None:
    """The most striking predictions with what was found about them; None where nothing stands out."""
    table = with_columns(content.quality, QUALITY_COLUMNS)
    striking = table[table["score"].astype(float) > 0]
    if striking.empty:
        return None
    lines = striking.head(MOST_CASES).to_dict("records")
    columns = (
        *headed("Case", "Experiment"),
        Column("Score"),
        *headed("Scored", "What was found"),
    )
    n_left = len(striking) - len(lines)
    note = f"{counted(n_left, 'more prediction')} that stand out in tables/quality.csv." if n_left else ""
    return Table(
        "Predictions to look at, the most striking first", columns, rows_of(map(_row, lines)), note=note, is_prose=True
    )


def _row(line: dict[Any, Any]) -> list[Cell]:
    is_scored = str(line["is_scored"]).lower() == "true"
    return [
        words(line["case"]),
        words(line["experiment"]),
        figure(line["score"], 1),
        words("yes" if is_scored else "no reference"),
        Cell(str(line["findings"]), key=str(line["findings"]).casefold()),
    ]


def quality_sentence(content: ReportContent) -> str:
    """How many predictions were looked at and how many stand out; empty without the table."""
    table = with_columns(content.quality, QUALITY_COLUMNS)
    if table.empty:
        return ""
    n_striking = int((table["score"].astype(float) > 0).sum())
    n_unscored = int((table["is_scored"].astype(str).str.lower() != "true").sum())
    return (
        f"Of {counted(len(table), 'prediction')} ({number(n_unscored, 0)} without a reference) "
        f"{number(n_striking, 0)} stand out."
    )


def empty_sentences(content: ReportContent) -> list[str]:
    """Experiments and classes of which more than half of the predictions hold nothing, with the counts."""
    table = with_columns(content.quality, QUALITY_COLUMNS)
    found = []
    for experiment, part in table.assign(empty=text_column(table, "empty")).groupby("experiment", sort=True):
        counts = Counter(name for text in part["empty"] for name in text.split(";") if name)
        found += [
            f"{experiment}: {number(n, 0)} of {counted(len(part), 'prediction')} hold no {label}."
            for label, n in sorted(counts.items())
            if 2 * n > len(part)
        ]
    return found

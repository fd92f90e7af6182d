"""The tables around the results: rejected cases, training, definitions."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from cohortseg.report.content import (
    HISTORY_COLUMNS,
    REJECTED_COLUMNS,
    ROW_COLUMNS,
    ReportContent,
    last_stage,
    splits_in,
    with_columns,
)
from cohortseg.report.gallery import address
from cohortseg.report.numbers import METRICS, UNDEFINED, counted, metric_look, number
from cohortseg.report.style import Series, series
from cohortseg.report.table import Cell, Column, Table, figure, headed, rows_of, words
from cohortseg.report.ways_out import way_out

MOST_REJECTED_LINES = 200
UNDEFINED_WORDS = {
    "both_empty": "reference and prediction empty",
    "prediction_empty": "prediction empty",
    "reference_empty": "reference empty",
}
SPLIT_WORDS = {
    "val": "by a model that did not train on the case (cross-validation)",
    "test": "as independent test cases, by the models of all folds together",
    "unseen": "as cases that came after the training",
}


@dataclass(frozen=True)
class Rejection:
    """All cases rejected for one reason: meaning, what to do, the cases (the first 200), pictures (case, address)."""

    reason: str
    meaning: str
    way_out: Markup
    n: int
    table: Table
    thumbnails: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Model:
    """One trained model in the legend and table of the training section."""

    name: str
    look: Series


def rejections(content: ReportContent) -> list[Rejection]:
    """The rejected cases by reason, the most frequent first."""
    table = with_columns(content.rejected, REJECTED_COLUMNS)
    result = []
    for reason, part in table.groupby("reason", sort=True):
        lines = part.head(MOST_REJECTED_LINES).to_dict("records")
        rows = rows_of([words(line[name]) for name in ("case", "stage", "found")] for line in lines)
        n_left = len(part) - len(lines)
        note = f"{counted(n_left, 'more line')} in cohort/rejected.tsv and tables/rejected.csv." if n_left else ""
        cases = Table(
            f"Rejected as {reason}", headed("Case", "Stage", "What was found"), rows, note=note, is_prose=True
        )
        meaning = next((text for text in part["meaning"] if isinstance(text, str)), "")
        pictures = tuple(
            (str(case), address(content.thumbnails[case]))
            for case in part["case"].unique()
            if case in content.thumbnails
        )
        out = with_code(way_out(str(reason)))
        result.append(Rejection(str(reason), _sentence(meaning), out, len(part), cases, pictures))
    return sorted(result, key=lambda group: (-group.n, group.reason))


def _sentence(text: str) -> str:
    """A meaning as a sentence: first letter large, full stop; empty stays empty."""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def with_code(text: str) -> Markup:
    """Words between backticks as code; everything is escaped."""
    parts = (Markup("<code>{}</code>" if k % 2 else "{}").format(part) for k, part in enumerate(text.split("`")))
    return Markup("").join(parts)


def models(content: ReportContent) -> list[Model]:
    """The trained models in the order of the figures."""
    return [Model(name, series(k)) for k, name in enumerate(sorted(content.histories))]


def training_table(content: ReportContent) -> Table | None:
    """Per model: steps, last losses, best Dice (of images: least error) in validation and when; None without models."""
    rows, score = [], "dice" if content.images is None else "mae"
    for name in sorted(content.histories):
        history = with_columns(content.histories[name], HISTORY_COLUMNS)
        scores = with_columns(history, [score])[["step", score]].dropna().astype(float)
        values = scores[score].to_numpy()
        best = scores.iloc[int(values.argmax() if score == "dice" else values.argmin())] if len(scores) else None
        rows.append(
            [
                words(name),
                figure(history["step"].max(), 0),
                figure(_last(history["epoch"]), 0),
                figure(_last(history["loss"]), 3),
                figure(_last(history["validation_loss"]), 3),
                figure(None if best is None else best[score], 3 if score == "dice" else 1),
                figure(None if best is None else best["step"], 0),
            ]
        )
    titles = (
        "Steps",
        "Epochs",
        "Last loss",
        "Last validation loss",
        f"Best validation {'Dice' if score == 'dice' else 'MAE'}",
        "at step",
    )
    columns = (*headed("Model"), *headed(*titles, is_number=True))
    return Table("Training of each model", columns, rows_of(rows)) if rows else None


def _last(values: Any) -> Any:
    """The last defined value of a column; None without one."""
    defined = values.dropna()
    return defined.iloc[-1] if len(defined) else None


def dictionary_table(content: ReportContent) -> Table | None:
    """Unit, direction and definition of every metric; None without definitions."""
    order = {name: k for k, name in enumerate(METRICS)}
    names = sorted(content.metric_info, key=lambda name: (order.get(name, len(order)), name))
    better = {"higher": "higher is better", "lower": "lower is better", "none": ""}
    rows = [
        [
            Cell(name),
            Cell(metric_look(name).title if name in METRICS else UNDEFINED),
            Cell(str(content.metric_info[name][0]) or UNDEFINED),
            Cell(str(content.metric_info[name][1]), note=better[metric_look(name).better]),
        ]
        for name in names
    ]
    columns = (*headed("Column", "Shown as", "Unit"), Column("Definition", is_number=False))
    if not rows:
        return None
    return Table("Columns of metrics_by_case.csv", columns, rows_of(rows), is_sortable=False, is_prose=True)


def split_sentence(content: ReportContent) -> str:
    """How the evaluated cases were kept from the training; empty for no rows."""
    rows = with_columns(content.rows, ROW_COLUMNS)
    counts = rows.groupby("split")["case"].nunique()
    splits = [split for split in splits_in(rows) if split in counts.index]
    parts = [f"{counted(counts[split], 'case')} {SPLIT_WORDS.get(split, split)}" for split in splits]
    apart = " These are never mixed in one number; the first bears the verdict." if len(parts) > 1 else ""
    return f"Scored: {'; '.join(parts)}.{apart}" if parts else ""


def undefined_sentence(content: ReportContent, label: str) -> str:
    """How many results of a label have undefined metrics, and why; empty when all are defined."""
    rows = with_columns(content.rows, ROW_COLUMNS)
    reasons = rows.loc[(rows["label"] == label) & (rows["stage"] == last_stage(rows["stage"])), "undefined"]
    counts = reasons[reasons.map(lambda reason: isinstance(reason, str) and reason != "")].value_counts()
    parts = [
        f"{UNDEFINED_WORDS.get(reason, reason)} ({number(counts[reason], 0)})"
        for reason in sorted(counts.index, key=lambda reason: (-counts[reason], reason))
    ]
    share = f"{number(counts.sum(), 0)} of {number(len(reasons), 0)}"
    return f"Some metrics are undefined in {share} results: {', '.join(parts)}." if parts else ""

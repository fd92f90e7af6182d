"""Searches of settings: what was tried in each fold, how well it did on the inner folds, and what was chosen."""

import json
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cohortseg.report.content import ReportContent, with_columns
from cohortseg.report.drawing import svg_of
from cohortseg.report.numbers import as_float, counted, metric_look
from cohortseg.report.style import Series, series
from cohortseg.report.table import Cell, Column, Table, figure, headed, rows_of, sort_key, words

WIDTH_IN = 3.4
MOST_LINES = 40
MOST_SETTINGS = 5
"""Settings with a figure of their own."""
MAGNITUDES = 30.0
"""Largest over smallest value of a setting above which its axis counts orders of magnitude."""
COLUMNS = ("experiment", "fold", "trial", "status", "is_chosen", "metric", "score", "n_cases", "settings", "reason")


@dataclass(frozen=True)
class Search:
    """All about the search of one experiment: title, sentences, folds with their looks, figures, tables."""

    experiment: str
    words: str
    folds: tuple[tuple[str, Series], ...]
    plots: tuple[tuple[str, bytes], ...]
    chosen: Table
    trials: Table


def searches(content: ReportContent) -> list[Search]:
    """The experiments that were searched, from `trials.csv`; those whose trials are all still to come are left out."""
    table = with_columns(content.tables.get("trials"), COLUMNS)
    table = table.assign(fold=[_fold(value) for value in table["fold"]])
    return [_search(str(name), part.reset_index(drop=True)) for name, part in table.groupby("experiment", sort=True)]


def _fold(value: Any) -> str:
    """The name of a fold, also where the table was read back and took it for a number."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _search(experiment: str, table: pd.DataFrame) -> Search:
    tried = [dict(json.loads(text)) for text in table["settings"]]
    names = list(dict.fromkeys(name for point in tried for name in point))
    looks = {fold: series(place) for place, fold in enumerate(dict.fromkeys(table["fold"]))}
    metric = metric_look(str(table["metric"].iloc[0])).title
    plots = [(f"{metric} of each trial; line: the best so far", _progress(table, looks, metric))]
    for name in names[:MOST_SETTINGS]:
        values = pd.Series([as_float(point.get(name)) for point in tried])
        if values.notna().any() and values.nunique() > 1:
            plots.append((f"{metric} against {name}", _against(table, values, name, looks, metric)))
    return Search(
        experiment,
        _words(table, metric),
        tuple((_fold_words(fold), look) for fold, look in looks.items()),
        tuple(plots),
        _chosen(experiment, table, tried, names, metric),
        _trials(experiment, table, tried, names, metric),
    )


def _fold_words(fold: str) -> str:
    return "for the test set" if fold == "test" else f"fold {fold}"


def _words(table: pd.DataFrame, metric: str) -> str:
    n_folds, n_failed = table["fold"].nunique(), int((table["status"] != "ok").sum())
    each = table.groupby("fold").size()
    failed = f"; {counted(n_failed, 'trial')} failed and counted as 0" if n_failed else ""
    return (
        f"{counted(int(each.max()), 'trial')} in each of {counted(n_folds, 'fold')}{failed}. A trial was scored by its "
        f"mean {metric} on inner validation cases of the fold's training part; the held-out cases were not opened. The "
        "best of many scores is too good by chance: results are those of the held-out cases, above."
    )


# ---- tables ---------------------------------------------------------------------------------------------------------


def _chosen(experiment: str, table: pd.DataFrame, tried: list[dict[str, Any]], names: list[str], metric: str) -> Table:
    """The settings of each fold, with the score that chose them and the spread of all trials."""
    rows = []
    for place in table.index[table["is_chosen"] == "yes"]:
        line = table.loc[place]
        scores = table.loc[(table["fold"] == line["fold"]) & (table["status"] == "ok"), "score"].astype(float)
        numbers = [figure(line["trial"], 0), figure(line["score"], 3), figure(scores.median(), 3)]
        settings = [_value(tried[place], name) for name in names]
        rows.append([words(line["fold"]), *numbers, figure(line["n_cases"], 0), *settings])
    columns = (
        *headed("Fold"),
        *headed("Trial", metric, "Median of all trials", "Cases", is_number=True),
        *_setting_columns(tried, names),
    )
    return Table(f"Settings chosen for {experiment}", columns, rows_of(rows))


def _trials(experiment: str, table: pd.DataFrame, tried: list[dict[str, Any]], names: list[str], metric: str) -> Table:
    """The best trials first; failed ones last, with their reason."""
    failed = bool((table["status"] != "ok").any())
    order = table["score"].astype(float).sort_values(ascending=False, kind="stable").index
    rows = [
        [
            words(table.loc[place, "fold"]),
            figure(table.loc[place, "trial"], 0),
            figure(table.loc[place, "score"], 3, is_strong=table.loc[place, "is_chosen"] == "yes"),
            *(_value(tried[place], name) for name in names),
            *([words(table.loc[place, "reason"])] if failed else []),
        ]
        for place in order[:MOST_LINES]
    ]
    columns = (*headed("Fold"), *headed("Trial", metric, is_number=True), *_setting_columns(tried, names))
    n_left = len(table) - len(rows)
    left = f" {counted(n_left, 'more trial')} in tables/trials.csv." if n_left else ""
    return Table(
        f"Trials of {experiment}",
        (*columns, *headed(*(["Why it failed"] if failed else []))),
        rows_of(rows),
        note=f"Strong: chosen.{left}",
        n_heads=2,
    )


def _setting_columns(tried: list[dict[str, Any]], names: list[str]) -> tuple[Column, ...]:
    return tuple(Column(name, is_number=all(_is_plain(point.get(name)) for point in tried)) for name in names)


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(point: dict[str, Any], name: str) -> Cell:
    """A setting: numbers in four digits, all else as written in JSON."""
    value = point.get(name)
    if _is_plain(value):
        return Cell(f"{value:.4g}".replace("-", "−"), key=sort_key(value))
    return words(value if isinstance(value, str) else json.dumps(value))


# ---- figures --------------------------------------------------------------------------------------------------------


def _progress(table: pd.DataFrame, looks: dict[str, Series], metric: str) -> bytes:
    """SVG: the score of each trial by its number, and the best so far as a line."""

    def draw(axes: Axes) -> None:
        for fold, look in looks.items():
            part = table[table["fold"] == fold].sort_values("trial")
            numbers, scores = part["trial"].astype(int), part["score"].astype(float)
            axes.plot(numbers, scores, linestyle="none", marker=look.marker, markersize=3.2, color=look.colour)
            best = scores.cummax().ffill()
            axes.step(numbers, best, where="post", color=look.colour, linewidth=1.1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _finish(axes, "trial", metric)

    return svg_of(draw, width_in=WIDTH_IN, height_in=WIDTH_IN * 0.8)


def _against(table: pd.DataFrame, values: pd.Series, name: str, looks: dict[str, Series], metric: str) -> bytes:
    """SVG: the score of each trial by the value of one setting."""
    low, high = float(values.min()), float(values.max())

    def draw(axes: Axes) -> None:
        for fold, look in looks.items():
            own = table["fold"] == fold
            scores = table.loc[own, "score"].astype(float)
            axes.plot(values[own], scores, linestyle="none", marker=look.marker, markersize=3.2, color=look.colour)
        if low > 0 and high / low > MAGNITUDES:
            axes.set_xscale("log")
            axes.set_xlim(low * math.sqrt(low / high) ** 0.1, high * math.sqrt(high / low) ** 0.1)
        _finish(axes, name, metric)

    return svg_of(draw, width_in=WIDTH_IN, height_in=WIDTH_IN * 0.8)


def _finish(axes: Axes, x_title: str, y_title: str) -> None:
    axes.grid(visible=True)
    axes.set_xlabel(x_title)
    axes.set_ylabel(y_title)

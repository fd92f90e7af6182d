"""What the reader sees first: the counts, the best experiment, and a verdict where the comparison supports one."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from cohortseg.report.content import (
    COMPARISON_COLUMNS,
    ROW_COLUMNS,
    SPLITS,
    SUMMARY_COLUMNS,
    ReportContent,
    last_stage,
    of_leading_split,
    of_split,
    splits_in,
    with_columns,
)
from cohortseg.report.flow import Flow
from cohortseg.report.numbers import SHARES, counted, interval, is_number, metric_look, number, p_value, signed

SIGNIFICANT = 0.05
MOST_SENTENCES = 4
MOST_TYPICAL = 3


@dataclass(frozen=True)
class Tile:
    """One number at the top of the page: what it counts, the number, a remark, the section that tells more."""

    title: str
    figure: str
    remark: str
    section: str


@dataclass(frozen=True)
class Best:
    """The leading experiment of one label by the median of the primary metric, with the line of the summary."""

    label: str
    experiment: str
    row: dict[str, Any]


def tiles(content: ReportContent, flow: Flow, leaders: list[Best]) -> list[Tile]:
    """Found, evaluated, rejected, and the leading experiment (of most labels when there are several)."""
    rows = with_columns(content.rows, ROW_COLUMNS)
    n_evaluated = int(rows["case"].nunique())
    subjects = counted(rows["subject"].nunique(), "subject") if n_evaluated else "no case has been scored"
    n_open = max(0, flow.n_found - flow.n_rejected - flow.n_not_selected - n_evaluated)
    open_words = f"{number(n_open, 0)} more not scored" if n_open else "before any experiment"
    not_meant = f"{number(flow.n_not_selected, 0)} more of another kind" if flow.n_not_selected and not n_open else ""
    section = "rejected" if flow.n_rejected + flow.n_not_selected else "flow"
    shown = [
        Tile("Scans found", number(flow.n_found, 0), "in the source folders", "flow"),
        Tile("Cases evaluated", number(n_evaluated, 0), subjects, "results"),
        Tile("Scans rejected", number(flow.n_rejected, 0), not_meant or open_words, section),
    ]
    if not leaders:
        return shown
    summary = with_columns(content.summary, SUMMARY_COLUMNS)
    is_only = summary["experiment"].nunique() == 1
    tile = _one_leader(leaders[0], content, is_only) if len(leaders) == 1 else _many_leaders(leaders, content, is_only)
    splits = splits_in(summary)
    # Where there are several, the reader must know which of them the number is about.
    remark = f"{tile.remark}; {SPLITS.get(splits[0], splits[0])}" if len(splits) > 1 else tile.remark
    return [*shown, replace(tile, remark=remark)]


def _many_leaders(leaders: list[Best], content: ReportContent, is_only: bool) -> Tile:
    """Who leads most labels, and the range of the medians over those labels."""
    look, unit = metric_look(content.primary_metric), unit_of(content, content.primary_metric)
    names = [leader.experiment for leader in leaders]
    first = min(set(names), key=lambda name: (-names.count(name), name))
    medians = [leader.row["median"] for leader in leaders if leader.experiment == first]
    span = interval(min(medians), max(medians), look.decimals) + (f" {unit}" if unit else "")
    labels = f"medians of {names.count(first)} of {len(names)} labels"
    title = f"{look.title} of {first}" if is_only else f"Best {look.title}: {first}"
    return Tile(title, span, labels, "results")


def _one_leader(leader: Best, content: ReportContent, is_only: bool) -> Tile:
    look, unit = metric_look(content.primary_metric), unit_of(content, content.primary_metric)
    title = f"{look.title} of {leader.experiment}" if is_only else f"Best {look.title}: {leader.experiment}"
    row = leader.row
    figure = number(row["median"], look.decimals) + (f" {unit}" if unit else "")
    remark = "median"
    if is_number(row["ci_low"]):
        ends = interval(row["ci_low"], row["ci_high"], look.decimals)
        remark += f"; mean {number(row['mean'], look.decimals)} ({content.confidence} CI {ends})"
    remark += f"; n={number(row['n_cases'], 0)}"
    if is_number(row["n_undefined"]) and row["n_undefined"] > 0:
        remark += f", {number(row['n_undefined'], 0)} undefined"
    return Tile(title, figure, remark, "results")


def unit_of(content: ReportContent, metric: str) -> str:
    """`mm`, `ml`, `s`; empty for shares, counts and texts."""
    unit = str(content.metric_info.get(metric, ("", ""))[0])
    return "" if unit in ("fraction", "count", "text", "1") else unit


def best(summary: pd.DataFrame, metric: str) -> list[Best]:
    """Per label the experiment with the best median after post-processing, in the leading split.

    Empty where no median is defined or where neither direction of the metric is better; the first in alphabetical
    order of equals.
    """
    direction = metric_look(metric).better
    table = of_leading_split(with_columns(summary, SUMMARY_COLUMNS))
    table = table[(table["metric"] == metric) & (table["stage"] == last_stage(table["stage"]))]
    table = table[table["median"].map(is_number)]
    if direction == "none" or table.empty:
        return []
    leaders = []
    for label, part in table.groupby("label", sort=False):
        ordered = part.sort_values(["median", "experiment"], ascending=[direction == "lower", True])
        row = {str(key): value for key, value in ordered.iloc[0].to_dict().items()}
        leaders.append(Best(str(label), str(row["experiment"]), row))
    return leaders


def verdicts(content: ReportContent, leaders: list[Best]) -> list[str]:
    """One sentence for each of the nearest rivals of a leading experiment, on the primary metric after post-processing.

    Both come from the leading split of the summary: a verdict never rests on another split than the leaders.

    "Beats" needs three things: p below 0.05 after the correction for several comparisons, a paired difference and both
    medians in the same direction, and no more undefined values than the other. All else is said as it is.
    """
    split = next(iter(splits_in(with_columns(content.summary, SUMMARY_COLUMNS))), "")
    table = of_split(with_columns(content.comparison, COMPARISON_COLUMNS), split)
    table = table[(table["metric"] == content.primary_metric) & (table["stage"] == last_stage(table["stage"]))]
    sentences = []
    for leader in leaders:
        pairs = [
            pair
            for pair in table[table["label"] == leader.label].to_dict("records")
            if leader.experiment in (pair["experiment_a"], pair["experiment_b"])
        ]
        prefix = f"{leader.label}: " if len(leaders) > 1 else ""
        nearest = sorted(pairs, key=lambda pair: _behind(pair, leader, content))[:MOST_SENTENCES]
        sentences += [f"{prefix}{_sentence(pair, content)}" for pair in nearest]
    return sentences[:MOST_SENTENCES]


def _behind(pair: dict[Any, Any], leader: Best, content: ReportContent) -> float:
    """How far the median of the other one of a pair is from that of the leader; infinite where it has none."""
    other = pair["experiment_b"] if pair["experiment_a"] == leader.experiment else pair["experiment_a"]
    line = _line(content, pair, str(other))
    return abs(line["median"] - leader.row["median"]) if line is not None and is_number(line["median"]) else math.inf


def _sentence(pair: dict[Any, Any], content: ReportContent) -> str:
    """What one line of the comparison says, in words."""
    metric = content.primary_metric
    look = metric_look(metric)
    a, b = str(pair["experiment_a"]), str(pair["experiment_b"])
    is_corrected = is_number(pair["p_holm"])
    p = pair["p_holm"] if is_corrected else pair["p_value"]
    pairs = counted(pair["n_pairs"], "pair")
    if not is_number(p) or pd.isna(pair["median_difference"]):
        return f"{a} and {b} cannot be compared ({pairs})."
    basis = f"n={pairs}, p {p_value(p)}{' after Holm correction' if is_corrected else ''}"
    if p >= SIGNIFICANT or pair["median_difference"] == 0:
        return f"The data do not tell {a} and {b} apart on {look.title} ({basis})."
    is_a_ahead = (pair["median_difference"] > 0) == (look.better == "higher")
    winner, loser = (a, b) if is_a_ahead else (b, a)
    first, second = (_line(content, pair, name) for name in (winner, loser))
    if first is None or second is None or not _agree(first, second, is_higher_better=look.better == "higher"):
        if math.isinf(pair["median_difference"]):
            return f"{winner} is ahead of {loser}, which found nothing in half of the cases or more ({basis})."
        difference = signed(pair["median_difference"], look.decimals)
        return f"{winner} is ahead of {loser} case by case ({look.title} {a} minus {b}: median {difference}; {basis})."
    if content.primary_metric in SHARES and number(first["median"], look.decimals) == number(0.0, look.decimals):
        means = f"{number(first['mean'], look.decimals)} vs {number(second['mean'], look.decimals)}"
        return f"{winner} and {loser} both miss half of the cases or more; mean {look.title} {means} ({basis})."
    unit = unit_of(content, metric)
    medians = f"{number(first['median'], look.decimals)} vs {number(second['median'], look.decimals)}"
    return f"{winner} beats {loser}: {look.title} median {medians}{f' {unit}' if unit else ''} ({basis})."


def _line(content: ReportContent, pair: dict[Any, Any], experiment: str) -> dict[Any, Any] | None:
    """The line of the summary that belongs to one side of a pair."""
    table = of_leading_split(with_columns(content.summary, SUMMARY_COLUMNS))
    keys = {"experiment": experiment, "label": pair["label"], "stage": pair["stage"], "metric": pair["metric"]}
    for key, value in keys.items():
        table = table[table[key] == value]
    return table.iloc[0].to_dict() if len(table) else None


def _agree(winner: dict[Any, Any], loser: dict[Any, Any], *, is_higher_better: bool) -> bool:
    """Whether the medians point the same way, and the winner is not undefined more often."""
    if not (is_number(winner["median"]) and is_number(loser["median"])):
        return False
    is_better = winner["median"] > loser["median"] if is_higher_better else winner["median"] < loser["median"]
    n_undefined = [line["n_undefined"] if is_number(line["n_undefined"]) else 0 for line in (winner, loser)]
    return bool(is_better and n_undefined[0] <= n_undefined[1])


def typical(content: ReportContent, leaders: list[Best]) -> list[str]:
    """What the leader of each label (the first three) does on a usual case, on a weak one, and how often it fails."""
    look, unit = metric_look(content.primary_metric), unit_of(content, content.primary_metric)
    is_higher = look.better == "higher"
    sentences = []
    for leader in leaders[:MOST_TYPICAL]:
        row = leader.row
        middle, weak = (
            f"{number(row[name], look.decimals)}{f' {unit}' if unit else ''}"
            for name in ("median", "q1" if is_higher else "q3")
        )
        whose = f"{leader.experiment} on {leader.label}" if len(leaders) > 1 else leader.experiment
        scale = " (0: no overlap, 1: identical)" if content.primary_metric == "dice" else ""
        sentence = (
            f"{whose}: half of the cases have a {look.title} of {middle} or better{scale}, a quarter {weak} or worse."
        )
        sentences.append(f"{sentence} {_misses(content, leader)}".strip())
    return sentences


def empty_handed(content: ReportContent) -> list[str]:
    """Warnings of experiments that found nothing in at least half of the cases that hold something."""
    rows = of_leading_split(with_columns(content.rows, [*ROW_COLUMNS, "prediction_ml"]))
    rows = rows[(rows["stage"] == last_stage(rows["stage"])) & (rows["reference_ml"].astype(float) > 0)]
    found = []
    for (experiment, label), part in rows.groupby(["experiment", "label"], sort=True):
        n_missed = int((part["prediction_ml"].astype(float) == 0).sum())
        if 2 * n_missed >= len(part):
            found.append(f"{experiment} found no {label} in {number(n_missed, 0)} of {counted(len(part), 'case')}.")
    return found


def _misses(content: ReportContent, leader: Best) -> str:
    """In how many cases nothing was found although the reference holds something."""
    rows = of_leading_split(with_columns(content.rows, [*ROW_COLUMNS, "prediction_ml"]))
    rows = rows[(rows["experiment"] == leader.experiment) & (rows["label"] == leader.label)]
    rows = rows[(rows["stage"] == last_stage(rows["stage"])) & (rows["reference_ml"].astype(float) > 0)]
    n_missed = int((rows["prediction_ml"].astype(float) == 0).sum())
    return f"In {number(n_missed, 0)} of {counted(len(rows), 'case')} it found nothing." if n_missed else ""

"""The tables of results: per label, over labels, comparison of experiments, subgroups of cases."""

import math
from typing import Any

import pandas as pd

from cohortseg.report.content import (
    COMPARISON_COLUMNS,
    SPLITS,
    SUMMARY_COLUMNS,
    ReportContent,
    of_leading_split,
    splits_in,
    text_column,
    with_columns,
)
from cohortseg.report.glance import unit_of
from cohortseg.report.numbers import (
    METRICS,
    OF_PROBABILITIES,
    as_float,
    interval,
    is_number,
    metric_look,
    number,
    p_value,
    signed,
)
from cohortseg.report.table import Cell, Column, Table, figure, headed, rows_of, sort_key, words

STAGE_WORDS = {"raw": "raw", "post": "post-processed"}
SAME_STAGE = "raw = post"
HEADLINES = ("dice", "nsd", "hd95_mm", "assd_mm", "sensitivity", "precision", "volume_difference_ml")
MOST_HEADLINES = 6


def same_when_cleaned(summary: pd.DataFrame) -> frozenset[tuple[str, str]]:
    """The (experiment, label) whose every number of the label is the same before and after post-processing."""
    table = with_columns(summary, SUMMARY_COLUMNS)
    table = table[~table["metric"].isin(OF_PROBABILITIES)]
    statistics = [name for name in SUMMARY_COLUMNS if name not in ("experiment", "label", "stage")]
    same = set()
    for (experiment, label), part in table.groupby(["experiment", "label"], sort=False):
        raw, post = (
            part.loc[part["stage"] == stage, statistics].sort_values(["split", "metric"]).reset_index(drop=True)
            for stage in ("raw", "post")
        )
        if len(raw) and raw.equals(post):
            same.add((str(experiment), str(label)))
    return frozenset(same)


def merge_stages(table: pd.DataFrame, same: frozenset[tuple[str, str]]) -> pd.DataFrame:
    """The table without raw lines that equal their post-processed twins; those get the stage `raw = post`.

    What was measured of probabilities has its numbers in the raw line, so there the other one goes.
    """
    is_same = pd.Series(
        [key in same for key in zip(table["experiment"], table["label"], strict=True)], index=table.index, dtype=bool
    )
    is_once = table["metric"].isin(OF_PROBABILITIES) if "metric" in table else pd.Series(False, index=table.index)
    kept = table[~(is_same & (table["stage"] == is_once.map({True: "post", False: "raw"})))]
    return kept.assign(stage=kept["stage"].mask(is_same[kept.index], SAME_STAGE))


def stage_words(stage: Any) -> str:
    """A stage as the tables write it."""
    return STAGE_WORDS.get(str(stage), str(stage))


def split_words(split: Any) -> str:
    """How cases were kept from the training, as the tables write it."""
    return SPLITS.get(str(split), str(split))


def split_cells(is_shown: bool, split: Any) -> list[Cell]:
    """A cell for the split where a table has more than one."""
    return [words(split_words(split))] if is_shown else []


def label_table(content: ReportContent, summary: pd.DataFrame, label: str) -> Table:
    """The headline metrics of one label: a line per split, experiment and stage, medians over quartiles."""
    part = with_columns(summary[summary["label"] == label], SUMMARY_COLUMNS)
    metrics = _headlines(part, content.primary_metric)
    is_split = len(splits_in(part)) > 1
    columns = [*headed(*(["Split"] if is_split else []), "Experiment", "Stage"), Column("Cases")]
    columns += [Column(metric_look(metric).title, unit_of(content, metric)) for metric in metrics]
    rows = []
    for (split, experiment, stage), lines in _by_experiment(part):
        by_metric = {line["metric"]: line for line in lines.to_dict("records")}
        first = by_metric.get(content.primary_metric) or next(iter(by_metric.values()))
        subjects = f"{number(first['n_subjects'], 0)} subjects" if is_number(first["n_subjects"]) else ""
        head = [*split_cells(is_split, split), words(experiment), words(stage_words(stage))]
        head.append(figure(first["n_cases"], 0, note=subjects))
        cells = [_median_cell(by_metric.get(metric), metric, is_strong=k == 0) for k, metric in enumerate(metrics)]
        rows.append([*head, *cells])
    return Table(
        f"Medians of {label}, with quartiles below",
        tuple(columns),
        rows_of(rows),
        n_heads=2 if is_split else 1,
        note="A cell says n where some results are undefined." if (part["n_undefined"] > 0).any() else "",
    )


def _headlines(part: pd.DataFrame, primary: str) -> list[str]:
    """The primary metric, then the headline metrics that have a value."""
    defined = set(part.loc[part["median"].map(is_number), "metric"])
    return [primary, *(name for name in HEADLINES if name in defined and name != primary)][:MOST_HEADLINES]


def _by_experiment(part: pd.DataFrame) -> list[tuple[tuple[str, str, str], pd.DataFrame]]:
    """Lines per split, experiment and stage: the leading split first, experiments by alphabet, raw before post."""
    order = {split: k for k, split in enumerate(splits_in(part))}
    groups = part.assign(split=text_column(part, "split")).groupby(["split", "experiment", "stage"], sort=False)
    keyed = [((str(key[0]), str(key[1]), str(key[2])), lines) for key, lines in groups]
    return sorted(keyed, key=lambda group: (order[group[0][0]], group[0][1], group[0][2] != "raw", group[0][2]))


def _median_cell(line: dict[Any, Any] | None, metric: str, *, is_strong: bool = False) -> Cell:
    if line is None:
        return Cell("–")
    decimals = metric_look(metric).decimals
    note = interval(line["q1"], line["q3"], decimals)
    if is_number(line["n_undefined"]) and line["n_undefined"] > 0:
        note = f"{note}, n={number(line['n_defined'], 0)}"
    return figure(line["median"], decimals, note=note, is_strong=is_strong)


def overview_table(content: ReportContent, summary: pd.DataFrame) -> Table:
    """The primary metric: a line per label, a column per experiment, after post-processing, in the leading split."""
    metric = content.primary_metric
    splits = splits_in(with_columns(summary, SUMMARY_COLUMNS))
    leading = of_leading_split(with_columns(summary, SUMMARY_COLUMNS))
    part = leading[(leading["metric"] == metric) & (leading["stage"] != "raw")]
    part = part if len(part) else leading[leading["metric"] == metric]
    experiments = sorted(part["experiment"].dropna().unique())
    rows = []
    for label in summary["label"].dropna().unique():
        lines = {line["experiment"]: line for line in part[part["label"] == label].to_dict("records")}
        rows.append([words(label), *(_median_cell(lines.get(name), metric) for name in experiments)])
    title = metric_look(metric).title
    return Table(
        f"{title} of each label: medians, with quartiles below",
        (*headed("Label"), *(Column(str(name), unit_of(content, metric)) for name in experiments)),
        rows_of(rows),
        note=f"Scored here: {split_words(splits[0])}." if len(splits) > 1 else "",
    )


def detail_table(content: ReportContent, summary: pd.DataFrame, label: str) -> Table:
    """Everything the summary holds about one label."""
    part = with_columns(summary[summary["label"] == label], SUMMARY_COLUMNS)
    order = {name: k for k, name in enumerate(METRICS)}
    splits = splits_in(part)
    is_known = part["median"].map(is_number)
    unknown = [name for name in part["metric"].unique() if not is_known[part["metric"] == name].any()]
    part = part[~part["metric"].isin(unknown)]
    lines = sorted(
        part.assign(split=text_column(part, "split")).to_dict("records"),
        key=lambda line: (
            order.get(line["metric"], len(order)),
            line["metric"],
            splits.index(line["split"]),
            str(line["experiment"]),
            line["stage"] != "raw",
        ),
    )
    is_split = len(splits) > 1
    columns = (
        *headed("Metric", *(["Split"] if is_split else []), "Experiment", "Stage"),
        *headed("Cases", "Defined", "Undefined", "Median", is_number=True),
        *headed("Quartiles", "Mean", f"{content.confidence} CI of the mean", "SD", "Range", is_number=True),
    )
    rows = rows_of(_detail_row(content, line, is_split=is_split) for line in lines)
    listed = ", ".join(metric_look(str(name)).title for name in unknown)
    note = f"Defined for no case: {listed}." if unknown else ""
    return Table(f"{label}: all metrics", columns, rows, note=note, n_heads=3 if is_split else 2)


def _detail_row(content: ReportContent, line: dict[Any, Any], *, is_split: bool) -> list[Cell]:
    metric = str(line["metric"])
    look, unit = metric_look(metric), unit_of(content, metric)
    digits = look.decimals
    return [
        Cell(look.title, note=unit, key=look.title.casefold()),
        *split_cells(is_split, line["split"]),
        words(line["experiment"]),
        words(stage_words(line["stage"])),
        *(figure(line[name], 0) for name in ("n_cases", "n_defined", "n_undefined")),
        figure(line["median"], digits, is_strong=True),
        Cell(interval(line["q1"], line["q3"], digits), key=sort_key(line["q1"])),
        figure(line["mean"], digits),
        Cell(interval(line["ci_low"], line["ci_high"], digits), key=sort_key(line["ci_low"])),
        figure(line["sd"], digits),
        Cell(interval(line["min"], line["max"], digits), key=sort_key(line["min"])),
    ]


def comparison_tables(content: ReportContent) -> tuple[Table | None, Table | None]:
    """The comparison on the primary metric in the leading split, and all others; None where there is none."""
    table = with_columns(content.comparison, COMPARISON_COLUMNS)
    table = table[table["metric"].notna()]
    is_primary = (table["metric"] == content.primary_metric) & table.index.isin(of_leading_split(table).index)
    first, others = table[is_primary], table[~is_primary]
    title = metric_look(content.primary_metric).title
    is_split = len(splits_in(table)) > 1
    rest = "in other metrics or splits" if is_split else "on the other metrics"
    return (
        _comparison(content, first, f"Pairs of experiments on {title}", is_split) if len(first) else None,
        _comparison(content, others, f"Pairs of experiments {rest}", is_split) if len(others) else None,
    )


def _comparison(content: ReportContent, lines: pd.DataFrame, caption: str, is_split: bool) -> Table:
    stages = sorted({str(stage) for stage in lines["stage"]})
    extra = [*(["Split"] if is_split else []), *(["Stage"] if len(stages) > 1 else [])]
    columns = (
        *headed("A", "B", "Label", "Metric", *extra),
        *headed("Pairs", "Median of A minus B", "p", "p (Holm)", "Effect size", is_number=True),
        *headed("Note"),
    )
    rows = []
    for line in lines.to_dict("records"):
        metric = str(line["metric"])
        look, unit = metric_look(metric), unit_of(content, metric)
        rows.append(
            [
                *(words(line[name]) for name in ("experiment_a", "experiment_b", "label")),
                words(look.title),
                *split_cells(is_split, line["split"]),
                *([words(stage_words(line["stage"]))] if len(stages) > 1 else []),
                figure(line["n_pairs"], 0, note=_pairs_note(line)),
                _difference(line["median_difference"], look.decimals, unit),
                *(
                    Cell(p_value(line[name]).removeprefix("= "), key=sort_key(line[name]))
                    for name in ("p_value", "p_holm")
                ),
                figure(line["effect_size"], 2),
                words(line["note"]),
            ]
        )
    note = f"Compared: {stage_words(stages[0])} labels." if len(stages) == 1 else ""
    return Table(caption, columns, rows_of(rows), note=note, n_heads=2)


def _difference(value: Any, decimals: int, unit: str) -> Cell:
    """A median difference; without bound where one of the two found nothing in half of the pairs."""
    key = sort_key(value)
    if math.isinf(as_float(value)):
        return Cell(
            f"{'A' if as_float(value) > 0 else 'B'} found nothing", note="in half of the pairs or more", key=key
        )
    return Cell(signed(value, decimals), note=unit, key=key)


def _pairs_note(line: dict[Any, Any]) -> str:
    """Subjects behind the pairs, and the pairs left out as undefined, where the table knows them."""
    n_subjects, n_excluded = line.get("n_subjects", ""), line.get("n_excluded", 0)
    parts = [f"{number(n_subjects, 0)} subjects"] if is_number(n_subjects) else []
    if is_number(n_excluded) and int(n_excluded) > 0:
        parts.append(f"{number(n_excluded, 0)} undefined")
    return ", ".join(parts)

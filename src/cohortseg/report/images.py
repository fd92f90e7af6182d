"""The parts of the page of a study that makes images: errors by experiment, experiments in pairs, panels of cases."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cohortseg.report.content import SPLITS, splits_in, text_column
from cohortseg.report.numbers import counted, interval, is_number, number, p_value, signed
from cohortseg.report.table import Cell, Column, Table, figure, headed, rows_of, words

DECIMALS: dict[str, int] = {"mae": 1, "mae_grey": 2, "rmse": 1, "bias": 1, "psnr_db": 2, "ssim": 3}
TITLES: dict[str, str] = {
    "mae": "MAE",
    "mae_grey": "MAE",
    "rmse": "RMSE",
    "bias": "Bias",
    "psnr_db": "PSNR",
    "ssim": "SSIM",
}
HIGHER = ("psnr_db", "ssim")
"""Metrics of which more is better; bias has no direction."""
SIGNIFICANT = 0.05
LEADING_REGION = "body"


@dataclass(frozen=True)
class CasePanel:
    """A figure of one case: what is shown of it and why.

    Parameters
    ----------
    case, kind : str
        Which, and `worst`, `median` or `best`.
    experiment, value : str, float
        Of whom and by what error it was chosen: MAE in the body.
    png : bytes
        Of `image_panel`.
    """

    case: str
    kind: str
    experiment: str
    value: float
    png: bytes

    @property
    def address(self) -> str:
        """The picture as the page holds it."""
        return f"data:image/png;base64,{b64encode(self.png).decode('ascii')}"


@dataclass(frozen=True)
class ImageResults:
    """What a study that makes images found.

    Parameters
    ----------
    rows, summary, comparison : DataFrame
        `images.csv`, `images_summary.csv`, `images_comparison.csv`.
    target, unit : str
        Channel that was made, and its unit.
    inputs : sequence of str
        Channels it was made from.
    low, high : float
        Range of values that was made and scored.
    bits : int
        Of the grey levels.
    coarser : (int, int, int)
        Voxels of the blocks that the inputs were averaged over.
    panels : sequence of CasePanel
    confidence : str
        Of the intervals.
    """

    rows: pd.DataFrame
    summary: pd.DataFrame
    comparison: pd.DataFrame
    target: str
    unit: str
    inputs: Sequence[str]
    low: float
    high: float
    bits: int
    coarser: tuple[int, int, int] = (1, 1, 1)
    panels: Sequence[CasePanel] = ()
    confidence: str = "95 %"


def parts(results: ImageResults) -> dict[str, object]:
    """What the template shows."""
    return {
        "sentence": sentence(results),
        "tables": tables(results),
        "pairs": pairs(results),
        "panels": results.panels,
    }


def unit_of(results: ImageResults, metric: str) -> str:
    """What a metric is counted in."""
    if metric == "mae_grey":
        return f"of {2**results.bits - 1}"
    return {"psnr_db": "dB", "ssim": ""}.get(metric, results.unit)


def sentence(results: ImageResults) -> str:
    """What was made from what, and what the numbers mean."""
    low, high = (number(value, 0) for value in (results.low, results.high))
    unit = f" {results.unit}" if results.unit else ""
    came = f", averaged over blocks of {' × '.join(map(str, results.coarser))} voxels (z, y, x)"
    return (
        f"{results.target} was made from {', '.join(results.inputs)}{came if results.coarser != (1, 1, 1) else ''}. "
        f"Real and made images are clipped to {low} to {high}{unit} before they are compared; the width of this range, "
        f"{number(results.high - results.low, 0)}{unit}, is the peak of the PSNR and the range of the SSIM for all "
        "cases. Means over cases, with the interval of the mean over resampled subjects below."
    )


def tables(results: ImageResults) -> list[Table]:
    """A table for each split and region: a line per experiment, the best in bold."""
    found = []
    for split in splits_in(results.summary):
        here = results.summary[text_column(results.summary, "split") == split]
        for region in regions(here):
            found.append(
                _table(results, here[here["region"] == region], f"{_where(region)}, {SPLITS.get(split, split)}")
            )
    return found


def regions(table: pd.DataFrame) -> list[str]:
    """The regions of a table: the body, the whole image, then classes by alphabet."""
    order = {LEADING_REGION: 0, "whole": 1}
    return sorted(map(str, table["region"].dropna().unique()), key=lambda name: (order.get(name, 2), name))


def _where(region: str) -> str:
    return {"body": "Inside the body", "whole": "Whole image"}.get(region, f"Inside {region}")


def _table(results: ImageResults, part: pd.DataFrame, caption: str) -> Table:
    by = {(str(line["experiment"]), str(line["metric"])): line for line in part.to_dict("records")}
    metrics = [
        name for name in TITLES if any(metric == name and is_number(by[key, metric]["mean"]) for key, metric in by)
    ]
    experiments = sorted({key for key, _ in by})
    best = {metric: _best([(name, by[name, metric]["mean"]) for name in experiments], metric) for metric in metrics}
    columns = [
        *headed("Experiment"),
        Column("Cases"),
        *(Column(TITLES[name], unit_of(results, name)) for name in metrics),
    ]
    lines = []
    for name in experiments:
        first = by[name, metrics[0] if metrics else "mae"]
        cells = [_cell(by[name, metric], metric, is_strong=best[metric] == name) for metric in metrics]
        subjects = counted(first["n_subjects"], "subject")
        lines.append([words(name), figure(first["n_cases"], 0, note=subjects), *cells])
    return Table(caption, tuple(columns), rows_of(lines))


def _cell(line: dict[Any, Any], metric: str, *, is_strong: bool) -> Cell:
    note = interval(line["ci_low"], line["ci_high"], DECIMALS[metric])
    if line["n_undefined"] > 0:
        note += f", n={number(line['n_defined'], 0)}"
    return figure(line["mean"], DECIMALS[metric], note=note, is_strong=is_strong)


def _best(means: Sequence[tuple[str, Any]], metric: str) -> str:
    """The experiment with the best mean; none of a single one, or where no direction is better."""
    defined = [(float(value), name) for name, value in means if is_number(value)]
    if metric == "bias" or len(defined) < 2:
        return ""
    sign = -1 if metric in HIGHER else 1
    return min(defined, key=lambda pair: (sign * pair[0], pair[1]))[1]


def pairs(results: ImageResults) -> Table | None:
    """Experiments in pairs, on the same cases; None where there is nothing to compare."""
    table = results.comparison
    if table.empty:
        return None
    lines = []
    for split in splits_in(table):
        here = table[text_column(table, "split") == split]
        for region in regions(here):
            for line in here[here["region"] == region].to_dict("records"):
                lines.append([words(SPLITS.get(split, split)), words(_where(region)), *_pair(results, line)])
    columns = (*headed("Split", "Region", "A", "B", "Metric"), Column("Pairs"), Column("A − B, mean"))
    columns += (Column(f"{results.confidence} interval"), Column("p"), Column("p (Holm)"), *headed("Better"))
    return Table("Experiments in pairs", columns, rows_of(lines), n_heads=4)


def _pair(results: ImageResults, line: dict[Any, Any]) -> list[Cell]:
    metric = str(line["metric"])
    unit, digits = unit_of(results, metric), DECIMALS[metric]
    shown = f"{TITLES[metric]}{f' ({unit})' if unit else ''}"
    difference = Cell(signed(line["mean_difference"], digits), key=repr(line["mean_difference"]))
    ends = words(interval(line["ci_low"], line["ci_high"], digits))
    chances = [Cell(p_value(line[name]).removeprefix("= "), key=repr(line[name])) for name in ("p_value", "p_holm")]
    names = [words(str(line[name])) for name in ("experiment_a", "experiment_b")]
    return [*names, words(shown), figure(line["n_pairs"], 0), difference, ends, *chances, words(line["better"])]


def leader(results: ImageResults) -> dict[Any, Any] | None:
    """The line of the summary with the smallest mean error in the body, in the leading split; None without any."""
    table, split = results.summary, next(iter(splits_in(results.summary)), "")
    here = table[(text_column(table, "split") == split) & (table["metric"] == "mae")]
    here = here[(here["region"] == next(iter(regions(here)), "")) & here["mean"].map(is_number)]
    lines = here.sort_values(["mean", "experiment"]).to_dict("records")
    return lines[0] if lines else None


def verdicts(results: ImageResults) -> list[str]:
    """What the leader's error is, and a sentence for each other experiment: beaten, or not told apart."""
    first = leader(results)
    if first is None:
        return []
    unit = f" {results.unit}" if results.unit else ""
    ends = interval(first["ci_low"], first["ci_high"], 1)
    found = [
        f"{first['experiment']} makes {results.target} with a mean absolute error of {number(first['mean'], 1)}{unit} "
        f"({results.confidence} CI {ends}; {counted(first['n_cases'], 'case')}) {_where(str(first['region'])).lower()}."
    ]
    table = results.comparison
    for line in table[table["metric"] == "mae"].to_dict("records") if len(table) else []:
        names = (str(line["experiment_a"]), str(line["experiment_b"]))
        if (line["region"], line["split"]) != (first["region"], first["split"]) or first["experiment"] not in names:
            continue
        other = names[1] if names[0] == first["experiment"] else names[0]
        sign = 1 if names[0] == first["experiment"] else -1
        gain = f"{signed(sign * line['mean_difference'], 1)}{unit}"
        if is_number(line["p_holm"]) and line["p_holm"] < SIGNIFICANT and line["better"] == first["experiment"]:
            found.append(f"It beats {other}: {gain} (p {p_value(line['p_holm'])} after Holm correction).")
        else:
            found.append(f"The data do not tell it apart from {other} ({gain}, {counted(line['n_pairs'], 'pair')}).")
    return found

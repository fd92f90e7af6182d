"""The tables that describe and compare experiments: summary, comparison, ranks, variance, agreement of volumes."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from cohortseg.metrics.agreement import AGREEMENT_COLUMNS, volume_agreement
from cohortseg.metrics.comparison import COMPARISON_COLUMNS, compare
from cohortseg.metrics.corrections import benjamini_hochberg
from cohortseg.metrics.ranks import RANK_COLUMNS, rank_experiments
from cohortseg.metrics.summary import groups_of, summarise
from cohortseg.metrics.variance import VARIANCE_COLUMNS, fold_variance, seed_variance
from cohortseg.settings import StatisticsSettings

BY = ["experiment", "label", "stage", "split"]
SUMMARISED = (
    *("dice", "jaccard", "sensitivity", "precision", "hd_mm", "hd95_mm", "assd_mm", "nsd", "boundary_jaccard"),
    *("added_path_mm", "volume_difference_ml", "relative_volume_difference"),
    *("lesion_sensitivity", "lesion_precision", "lesion_f1", "lesion_dice"),
    *("ece", "brier", "roc_auc", "average_precision"),
)
COMPARED = ("dice", "nsd", "hd95_mm", "assd_mm")
RENAMED = {"first": "experiment_a", "second": "experiment_b", "p": "p_value", "rank_biserial": "effect_size"}


def summary_table(rows: pd.DataFrame, statistics: StatisticsSettings) -> pd.DataFrame:
    """`summary.csv`: every metric of every experiment, label, stage and split."""
    return summarise(
        rows,
        by=BY,
        metrics=SUMMARISED,
        seed=statistics.seed,
        n_bootstrap=statistics.bootstrap,
        confidence=statistics.confidence,
    )


def compared_metrics(primary: str) -> list[str]:
    """The metrics that experiments are compared by."""
    return [*COMPARED, *([] if primary in COMPARED else [primary])]


def comparison_table(rows: pd.DataFrame, primary: str, statistics: StatisticsSettings) -> pd.DataFrame:
    """`comparison.csv`: all pairs of experiments, on the cleaned labels, per metric, label and split.

    `p_holm` counts the pairs of experiments of one label, metric and split; `p_bh` all rows of the table.
    """
    post = rows[rows["stage"] == "post"]
    return compared_in_groups(post, ["label", "stage", "split"], compared_metrics(primary), statistics)


def compared_in_groups(
    rows: pd.DataFrame, by: list[str], metrics: Iterable[str], statistics: StatisticsSettings
) -> pd.DataFrame:
    """All pairs of experiments per metric, in each group of rows; the columns of the groups come last, then `p_bh`."""
    options: dict[str, Any] = {
        "seed": statistics.seed,
        "n_bootstrap": statistics.bootstrap,
        "n_permutations": statistics.permutations,
        "confidence": statistics.confidence,
    }
    tables = [
        compare(part, metric=metric, **options).assign(**dict(zip(by, map(str, key), strict=True)))
        for key, part in groups_of(rows, by)
        for metric in metrics
    ]
    tables = [table for table in tables if len(table)]
    nothing = pd.DataFrame(columns=[*COMPARISON_COLUMNS, *by])
    joined = (pd.concat(tables, ignore_index=True) if tables else nothing).rename(columns=RENAMED)
    joined["p_bh"] = benjamini_hochberg(joined["p_value"].to_numpy(dtype=np.float64))
    return joined


def rank_table(rows: pd.DataFrame, primary: str, statistics: StatisticsSettings) -> pd.DataFrame:
    """`ranks.csv`: the order of the experiments by each compared metric, on the cleaned labels."""
    tables = []
    for key, part in groups_of(rows[rows["stage"] == "post"], ["label", "split"]):
        for metric in compared_metrics(primary):
            table = rank_experiments(
                part,
                metric=metric,
                seed=statistics.seed,
                n_bootstrap=statistics.bootstrap,
                confidence=statistics.confidence,
            )
            tables.append(table.assign(label=str(key[0]), stage="post", split=str(key[1])))
    tables = [table for table in tables if len(table)]
    return (
        pd.concat(tables, ignore_index=True)
        if tables
        else pd.DataFrame(columns=[*RANK_COLUMNS, "label", "stage", "split"])
    )


def variance_table(rows: pd.DataFrame, primary: str) -> pd.DataFrame:
    """`variance.csv`: spread over folds and over seeds, of trained experiments that have several of either."""
    lines = []
    for key, part in groups_of(rows, BY):
        is_trained = bool((part["seed"] != "").any())
        is_seeded, is_folded = part["seed"].nunique() > 1, is_trained and part["fold"].nunique() > 1
        for metric in compared_metrics(primary):
            head = dict(zip(BY, key, strict=True))
            if is_folded:
                lines.append(head | fold_variance(part, metric=metric))
            if is_seeded:
                lines.append(head | seed_variance(part, metric=metric))
    return pd.DataFrame(lines, columns=[*BY, *VARIANCE_COLUMNS])


def agreement_table(rows: pd.DataFrame, statistics: StatisticsSettings) -> pd.DataFrame:
    """`agreement.csv`: predicted against reference volumes."""
    lines = []
    for key, part in groups_of(rows, BY):
        found = volume_agreement(
            part, seed=statistics.seed, n_bootstrap=statistics.bootstrap, confidence=statistics.confidence
        )
        lines.append({**dict(zip(BY, key, strict=True)), **found})
    return pd.DataFrame(lines, columns=[*BY, *AGREEMENT_COLUMNS])

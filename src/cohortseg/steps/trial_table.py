"""The trials of all searches of a study as one table."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cohortseg.io.sidecar import dumps, read_json, run_seconds
from cohortseg.layout import Layout
from cohortseg.metrics.tables_of_search import SEARCH_TABLES
from cohortseg.steps.tuning import best_of, read_trials


def trial_table(layout: Layout, n_trials: Mapping[str, int]) -> pd.DataFrame:
    """`trials.csv`: one row per experiment, fold and trial.

    Parameters
    ----------
    layout : Layout
        The study.
    n_trials : mapping
        Experiment that is searched: trials of a fold. What lies there of a longer search is left out.
    """
    rows = [
        row
        for experiment, n in sorted(n_trials.items())
        for fold in folds_of_search(layout, experiment)
        for row in _rows(layout, experiment, fold, n)
    ]
    return pd.DataFrame(rows, columns=list(SEARCH_TABLES["trials"].columns))


def folds_of_search(layout: Layout, experiment: str) -> list[str]:
    """The folds that an experiment is searched in, as the index wrote them down."""
    splits = layout.inner(experiment, "*")
    found = [path.name.removeprefix("fold-").partition("-inner-")[0] for path in splits.parent.glob(splits.name)]
    return sorted(found, key=lambda fold: (not fold.isdigit(), int(fold) if fold.isdigit() else 0))


def _rows(layout: Layout, experiment: str, fold: str, n: int) -> list[dict[str, Any]]:
    trials = read_trials(layout, experiment, fold, n)
    path = layout.tuned(experiment, fold)
    chosen = read_json(path)["settings"] if path.exists() else None
    best = best_of(trials)
    rows = []
    for one in trials:
        is_chosen = best is not None and one["number"] == best["number"] and one["settings"] == chosen
        rows.append(
            {
                **{"experiment": experiment, "fold": fold, "trial": one["number"]},
                "is_chosen": "yes" if is_chosen else "",
                "n_trained_on": sum(one["n_trained_on"]),
                "settings": dumps(one["settings"]),
                "reason": one["reason"] or "",
                "same_as": one.get("same_as"),
                "seconds_trial": run_seconds(layout.trial(experiment, fold, one["number"])),
                **{name: one[name] for name in ("status", "metric", "score", "n_cases")},
            }
        )
    return rows

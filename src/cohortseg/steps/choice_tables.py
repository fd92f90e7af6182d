"""The tables of what was chosen on validation folds, from the files that `threshold` and `choose` leave."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cohortseg.io.sidecar import dumps, read_json
from cohortseg.layout import Layout
from cohortseg.metrics.tables_of_choices import CHOICE_TABLES


def choice_tables(layout: Layout, choices: Mapping[str, Sequence[str]]) -> dict[str, pd.DataFrame]:
    """`candidates.csv` with every candidate, `choices.csv` with those that were kept; empty where nothing is chosen.

    Parameters
    ----------
    layout : Layout
    choices : dict
        Of each experiment what is chosen for it: threshold, cleaning.
    """
    rows: list[dict[str, Any]] = [
        {"experiment": experiment, **line, "options": _words(line["options"])}
        for experiment, chosen in sorted(choices.items())
        for what in chosen
        for line in read_json(layout.choices(experiment, what))
    ]
    frame = pd.DataFrame(rows).rename(columns={"before": "score_before", "after": "score_after"})
    columns = {name: list(table.columns) for name, table in CHOICE_TABLES.items()}
    candidates = frame.reindex(columns=columns["candidates"])
    kept = candidates[candidates["verdict"] == "kept"].rename(columns={"candidate": "chosen"})
    return {"choices": kept.reindex(columns=columns["choices"]), "candidates": candidates}


def _words(options: Mapping[str, Any]) -> str:
    """The options that do something; empty where nothing is done."""
    return " ".join(f"{name}={dumps(value)}" for name, value in options.items() if value not in (0, False, "all"))

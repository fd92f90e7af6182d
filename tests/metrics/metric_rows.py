"""Rows of `metrics_by_case.csv` made up for the tests of statistics."""

import math

import pandas as pd

from cohortseg.metrics.subgroups import with_groups


def table(
    experiment: str, values: list[float], metric: str = "dice", subjects: list[int] | None = None
) -> pd.DataFrame:
    """Rows of one experiment: one case a value, one subject a case unless given."""
    numbers = range(len(values))
    return pd.DataFrame(
        {
            "experiment": experiment,
            "case": [f"c{i:03}" for i in numbers],
            "subject": [f"s{i:03}" for i in (subjects or numbers)],
            "label": "tumour",
            "stage": "post",
            metric: values,
            "undefined": ["both_empty" if math.isnan(value) else "" for value in values],
        }
    )


def grouped(values: dict[str, list[float]], experiment: str = "a", metric: str = "dice") -> pd.DataFrame:
    """Rows of one experiment whose cases belong to the groups."""
    flat = [value for part in values.values() for value in part]
    rows = table(experiment, flat, metric).assign(split="test")
    names = [name for name, part in values.items() for _ in part]
    return with_groups(rows, dict(zip(rows["case"], names, strict=True)))

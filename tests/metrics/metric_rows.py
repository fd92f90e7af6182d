"""Rows of `metrics_by_case.csv` made up for the tests of statistics."""

import math

import pandas as pd


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

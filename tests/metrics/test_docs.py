"""The page about metrics says what the data dictionary says."""

from pathlib import Path

import pytest

from cohortseg.metrics.columns import COLUMNS, WORST, sign_of
from cohortseg.metrics.dictionary import TABLES, dictionary
from cohortseg.metrics.docs import fresh

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_tables_of_the_page_are_fresh() -> None:
    text = PAGE.read_text()
    assert fresh(text) == text, "run `python -m cohortseg.metrics.docs docs/metrics.md`"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the marks"):
        fresh("no marks")


def test_every_metric_is_defined_once() -> None:
    listed = dictionary()
    assert not listed.duplicated(["table", "column"]).any()
    # a name means the same wherever it occurs, unless it stands for whatever metric the row is about
    shared = listed[listed["column"].isin(COLUMNS) & (listed["table"] != "lesions")]
    assert (shared.groupby("column")["definition"].nunique() == 1).sum() >= len(COLUMNS) - 2


def test_directions_are_asked_of_one_place() -> None:
    assert (sign_of("dice"), sign_of("hd95_mm"), sign_of("reference_ml"), sign_of("no metric")) == (1, -1, 0, 0)
    assert all(sign_of(metric) for metric in WORST)
    assert set(WORST) <= set(TABLES["metrics_by_case"].columns)

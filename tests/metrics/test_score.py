"""The number that a choice of settings is made by: by hand, and with labels that are missing."""

import math

import numpy as np
import pytest

from cohortseg.metrics.case import case_metrics
from cohortseg.metrics.score import label_scores, mean_score

SPACING = (3.0, 2.0, 1.0)
NAN = math.nan


def score(reference, prediction, metric="dice", n_classes=2):
    return label_scores(
        reference, prediction, n_classes=n_classes, metric=metric, spacing_mm=SPACING, nsd_tolerance_mm=1.0
    )


@pytest.fixture
def pair():
    """Class 1: 6 voxels against 8, of which 4 are shared; class 2: 2 against 2, both shared."""
    reference, prediction = np.zeros((2, 5, 4, 7), np.uint8)
    reference[1:3, 1:4, 2] = 1
    prediction[1:3, 2:4, 2:4] = 1
    reference[4, 0, 0:2] = prediction[4, 0, 0:2] = 2
    return reference, prediction


def test_shares_are_those_of_the_counted_voxels(pair):
    assert score(*pair) == [pytest.approx(2 * 4 / (6 + 8)), 1.0]
    assert score(*pair, "jaccard") == [pytest.approx(4 / (6 + 8 - 4)), 1.0]


@pytest.mark.parametrize("metric", ["dice", "jaccard", "nsd"])
def test_it_is_the_metric_of_the_tables(pair, metric):
    for number, found in enumerate(score(*pair, metric), start=1):
        row = case_metrics(pair[0] == number, pair[1] == number, spacing_mm=SPACING, nsd_tolerance_mm=1.0)
        assert found == row[metric]


@pytest.mark.parametrize("metric", ["dice", "jaccard", "nsd"])
def test_a_class_that_only_one_label_holds_scores_nothing_and_one_that_neither_holds_is_not_asked(pair, metric):
    nothing = np.zeros_like(pair[0])
    assert score(pair[0], nothing, metric) == [0.0, 0.0]
    assert score(nothing, pair[0], metric) == [0.0, 0.0]
    assert np.isnan(score(nothing, nothing, metric)).all()


def test_the_mean_is_over_classes_of_what_each_class_has_over_cases():
    # Class 1 in three cases, class 2 in one: not the mean of the four numbers.
    assert mean_score([[0.2, NAN], [0.4, NAN], [0.6, 0.9]]) == pytest.approx((0.4 + 0.9) / 2)
    assert mean_score([[NAN, 0.5], [NAN, 0.7]]) == pytest.approx(0.6)
    assert math.isnan(mean_score([[NAN, NAN]]))
    assert math.isnan(mean_score([]))

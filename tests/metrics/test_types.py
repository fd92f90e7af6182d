"""How well types are told: by hand, subjects are resampled, an empty region is a wrong one."""

import numpy as np
import pytest
from sklearn import metrics

from cohortseg.metrics.types import accuracies, area_of_type

TRUTH = ["lipo", "lipo", "lipo", "lipo", "leio", "leio"]
TOLD = ["lipo", "lipo", "lipo", "leio", "leio", ""]
SUBJECTS = ["a", "a", "b", "c", "d", "e"]


def test_shares_are_those_by_hand_and_of_scikit_learn() -> None:
    found = accuracies(TRUTH, TOLD, SUBJECTS, seed=1, n_bootstrap=300)
    assert {name: value for name, (value, *_) in found.items()} == pytest.approx(
        {"accuracy": 4 / 6, "balanced_accuracy": (3 / 4 + 1 / 2) / 2, "leio": 1 / 2, "lipo": 3 / 4}
    )
    with pytest.warns(UserWarning, match="not in y_true"):
        judge = metrics.balanced_accuracy_score(TRUTH, TOLD)
    assert found["balanced_accuracy"][0] == pytest.approx(judge)
    assert all(low <= value <= high for value, low, high in found.values())


def test_copies_of_a_persons_scans_do_not_narrow_an_interval() -> None:
    once = accuracies(TRUTH, TOLD, SUBJECTS, seed=1, n_bootstrap=300)
    thrice = accuracies(TRUTH * 3, TOLD * 3, SUBJECTS * 3, seed=1, n_bootstrap=300)
    assert thrice["accuracy"] == pytest.approx(once["accuracy"])
    assert np.isnan(accuracies(TRUTH, TOLD, ["a"] * 6, seed=1)["accuracy"][1:]).all()


def test_the_area_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    is_type = rng.random(40) < 0.5
    scores = rng.random(40) + 0.3 * is_type
    value, low, high = area_of_type(scores, is_type, [f"s{k}" for k in range(40)], seed=1)
    assert value == pytest.approx(metrics.roc_auc_score(is_type, scores))
    assert low < value < high

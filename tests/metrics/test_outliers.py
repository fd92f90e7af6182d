"""Planted failures come first, with what was planted in words; ordinary predictions score nothing."""

import numpy as np
import pandas as pd
import pytest

from cohortseg.metrics.outliers import PROPERTIES, QUALITY_COLUMNS, rank_predictions


def predictions(n=30, **changes):
    """Ordinary predictions of one experiment; `changes` maps a case number to its own values."""
    chance = np.random.default_rng(5)
    rows = []
    for number in range(n):
        row = {"experiment": "unet", "model": "fold-0-seed-1", "case": f"c{number:02d}", "subject": f"s{number:02d}"}
        row |= {"is_scored": number % 2 == 0, "label": "tumour"}
        row |= {name: float(chance.uniform(0.45, 0.55)) for name in PROPERTIES}
        row |= {
            "volume_ml": float(chance.uniform(80, 120)),
            "n_components": 1.0,
            "extent_mm": float(chance.uniform(50, 60)),
        }
        rows.append({**row, **changes.get(row["case"], {})})
    return pd.DataFrame(rows)


def ranked(table, agreement=None, drift=None):
    return rank_predictions(table, agreement=agreement or {}, drift=drift or {})


def test_ordinary_predictions_score_nothing():
    found = ranked(predictions())
    assert list(found.columns) == list(QUALITY_COLUMNS)
    assert len(found) == 30
    assert set(found["score"]) == {0}
    assert set(found["findings"]) == {""}


def test_planted_failures_come_first_and_say_what_they_are():
    nothing = {"volume_ml": 0.0} | dict.fromkeys([name for name in PROPERTIES if name != "volume_ml"], np.nan)
    found = ranked(predictions(c03={"volume_ml": 5000.0}, c07=nothing, c08={"height": 0.9}))
    assert list(found["case"][:3]) == ["c03", "c08", "c07"]
    assert list(found["rank"]) == list(range(1, 31))
    assert found["findings"][0].startswith("volume 5e+03 ml, far above the usual")
    assert found["findings"][1].startswith("position along z 0.9, far above the usual 0.")
    assert found["findings"][2] == "nothing predicted"
    assert list(found["score"][:3]) == [3.0, 3.0, 2.0]
    assert (found["score"][3:] == 0).all()


def test_models_that_disagree_and_drift_are_counted():
    found = ranked(
        predictions(),
        agreement={("unet", "c05"): 0.3, ("unet", "c06"): 0.9},
        drift={"c05": ["scan: a"], "c09": ["scan: b"]},
    )
    assert list(found["case"][:2]) == ["c05", "c09"]
    assert found["score"][0] == pytest.approx(5 * 0.4 + 1)
    assert found["findings"][0] == "models disagree: mean Dice of their labels 0.30; scan: a"
    assert found.set_index("case")["agreement"]["c06"] == 0.9
    assert found["score"][2] == 0


def test_few_predictions_are_not_compared():
    assert set(ranked(predictions(n=9, c03={"volume_ml": 5000.0}))["score"]) == {0}


def test_a_class_that_is_often_empty_may_be_empty():
    empty = {f"c{k:02d}": {"volume_ml": 0.0} for k in range(12)}
    assert set(ranked(predictions(**empty))["score"]) == {0}


def test_classes_and_experiments_are_compared_among_themselves():
    first = predictions()
    second = predictions(c03={"volume_ml": 9000.0}).assign(label="organ")
    other = predictions().assign(experiment="otsu", volume_ml=5000.0)
    found = ranked(pd.concat([first, second, other], ignore_index=True))
    assert list(found.loc[found["score"] > 0, "case"]) == ["c03"]
    assert found["findings"][0].startswith("organ: volume")
    assert len(found) == 60


def test_no_prediction_is_an_empty_table():
    found = ranked(predictions()[:0])
    assert list(found.columns) == list(QUALITY_COLUMNS)
    assert found.empty

"""Planted failures come first, with what was planted in words; ordinary predictions score nothing."""

import numpy as np
import pandas as pd
import pytest

from cohortseg.metrics.outliers import PROPERTIES, QUALITY_COLUMNS, rank_predictions

NOTHING = {"volume_ml": 0.0} | dict.fromkeys([name for name in PROPERTIES if name != "volume_ml"], np.nan)


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
    found = ranked(predictions(c03={"volume_ml": 5000.0}, c07=NOTHING, c08={"height": 0.9}))
    assert list(found["case"][:3]) == ["c03", "c08", "c07"]
    assert list(found["rank"]) == list(range(1, 31))
    assert found["findings"][0].startswith("volume 5e+03 ml, far above the usual")
    assert found["findings"][1].startswith("position along z 0.9, far above the usual 0.")
    assert found["findings"][2] == "nothing predicted"
    assert list(found["score"][:3]) == [3.0, 3.0, 1.933]  # the empty one: 2 x 29 / 30
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


def test_where_most_are_empty_all_of_them_are_listed_behind_what_is_odder():
    empty = {f"c{k:02d}": NOTHING for k in range(18)}
    found = ranked(predictions(**empty, c20={"height": 0.9}))
    assert found["case"][0] == "c20"
    assert list(found["case"][1:19]) == sorted(empty)
    assert set(found["score"][1:19]) == {0.8}  # 2 x 12 / 30
    assert set(found["empty"][1:19]) == {"tumour"}
    assert (found["score"][19:] == 0).all()


def test_an_experiment_that_finds_nothing_at_all_is_listed_too():
    found = ranked(predictions(**{f"c{k:02d}": NOTHING for k in range(30)}))
    assert set(found["score"]) == {0.5}
    assert set(found["findings"]) == {"nothing predicted"}


def test_an_empty_prediction_among_few_is_told():
    found = ranked(predictions(n=4, c02=NOTHING))
    assert (found["case"][0], found["score"][0], found["findings"][0]) == ("c02", 1.5, "nothing predicted")


def test_several_empty_classes_are_one_finding():
    names = "abcdefg"
    parts = [predictions(c03=NOTHING if name != "a" else {}).assign(label=name) for name in names]
    found = ranked(pd.concat(parts, ignore_index=True))
    assert found["case"][0] == "c03"
    assert found["findings"][0] == "nothing predicted of b, c, d, e, f and 1 more"
    assert found["empty"][0] == "b;c;d;e;f;g"
    assert found["score"][0] == pytest.approx(2 * 29 / 30, abs=1e-3)


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

"""Evaluating one case by hand: both stages, probabilities, objects, places, another grid, no reference."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from study_by_hand import GRID, case_of, label_of, sidecar_of, study_of, write_case, write_prediction, write_sidecar

from cohortseg.errors import Rejected, StudyError
from cohortseg.io import store
from cohortseg.layout import Layout
from cohortseg.metrics.columns import COLUMNS, PROBABILITY_COLUMNS
from cohortseg.metrics.probabilities import histogram
from cohortseg.settings import CandidateSettings, MetricSettings
from cohortseg.stages import EvaluateStage
from cohortseg.steps.evaluate import evaluate, place_in
from cohortseg.volume import Grid, Volume

UNIT = "fold-0-seed-1/sub-1_ct1"
SETTINGS = EvaluateStage(classes=["tumour"], metrics=MetricSettings(trimap_bands_mm=[1.0, 50.0]))


def predicted(root: Path, *, raw: Volume | None = None, post: Volume | None = None, **record) -> Layout:
    """A case with its reference, a raw and a cleaned label."""
    layout = study_of(root, case_of("sub-1_ct1"))
    write_case(layout, "sub-1_ct1", label=label_of())
    write_prediction(layout, "net", UNIT, raw)
    folder = layout.prediction("net", "fold-0-seed-1", "sub-1_ct1")
    write_sidecar(folder / "raw.json", sidecar_of("predict", **record))
    if post is not None:
        store.write_volume(folder / "post.zarr", post, name="label")
    write_sidecar(folder / "post.json", sidecar_of("postprocess", n_voxels_changed=int(post is not None)))
    return layout


def moved(steps: int) -> Volume:
    return Volume(np.roll(label_of().array, steps, axis=2), GRID)


def test_both_stages_are_measured_when_cleaning_changed_something(tmp_path: Path) -> None:
    found = evaluate(predicted(tmp_path, raw=moved(1), post=label_of()), "net", UNIT, SETTINGS)
    dice = {stage: found["metrics"][stage]["tumour"]["dice"] for stage in ("raw", "post")}
    assert dice == {"raw": pytest.approx(2 / 3), "post": 1.0}
    assert list(found["metrics"]["raw"]["tumour"]) == list(COLUMNS)
    assert found["trimap"]["post"]["tumour"] == [(1.0, 1.0), (50.0, 1.0)]
    assert [line["side"] for line in found["lesions"]["raw"]["tumour"]] == ["reference", "prediction"]
    assert found["instances"] == {"raw": None, "post": None}


def test_probabilities_speak_of_the_raw_label_alone_also_when_cleaning_changed_nothing(tmp_path: Path) -> None:
    tally = histogram(np.array([0.1, 0.9]), np.array([False, True]))
    sums = [[tally.sums.tolist()], [tally.squares.tolist()]]
    layout = predicted(tmp_path, probabilities=[tally.counts.tolist()], probability_sums=sums)
    found = evaluate(layout, "net", UNIT, SETTINGS)["metrics"]
    assert found["raw"]["tumour"]["brier"] == pytest.approx(0.01)
    assert found["raw"]["tumour"]["roc_auc"] == 1.0
    assert all(np.isnan(found["post"]["tumour"][name]) for name in PROBABILITY_COLUMNS)
    assert found["post"]["tumour"]["dice"] == found["raw"]["tumour"]["dice"]


def test_a_reference_that_numbers_its_objects_is_scored_by_object(tmp_path: Path) -> None:
    layout = predicted(tmp_path)
    ids = label_of().array.astype(np.int32)
    ids[3, 5:, 4:] = 2
    store.write_volume(layout.instances("sub-1_ct1"), Volume(ids, GRID), name="label")
    found = evaluate(layout, "net", UNIT, SETTINGS)["instances"]["raw"]
    assert (found["n_reference"], found["n_prediction"], found["n_matched"]) == (2, 1, 1)
    assert found["panoptic_quality"] == pytest.approx(2 / 3)


def test_a_prediction_on_another_grid_is_a_fault_and_no_number(tmp_path: Path) -> None:
    other = Volume(label_of().array, replace(GRID, spacing_mm=(2.5, 0.8, 0.8)))
    with pytest.raises(StudyError, match="not on the grid of its reference"):
        evaluate(predicted(tmp_path, raw=other), "net", UNIT, SETTINGS)


def test_a_case_without_a_reference_is_rejected_by_name(tmp_path: Path) -> None:
    layout = study_of(tmp_path, case_of("sub-1_ct1"))
    write_case(layout, "sub-1_ct1")
    with pytest.raises(Rejected, match="NO_REFERENCE"):
        evaluate(layout, "net", UNIT, SETTINGS)


def test_places_are_told_in_directions_of_the_patient_whatever_the_axes() -> None:
    plain = Grid((11, 21, 31), (2.0, 1.0, 1.0), (-5.0, 7.0, 9.0))
    assert place_in(plain, (10, 5, 15)) == {"left": 0.5, "back": 0.25, "head": 1.0}
    turned = Grid((11, 21, 31), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), ((1, 0, 0), (0, 0, -1), (0, 1, 0)))
    assert place_in(turned, (10, 5, 15)) == {"left": 1.0, "back": 0.5, "head": 0.75}
    assert place_in(plain, None) is None
    assert place_in(Grid((1, 5, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), (0, 0, 4)) == {
        "left": 1.0,
        "back": 0.0,
        "head": 0.0,
    }


def test_candidates_of_the_cleaned_label_are_matched_and_those_of_probabilities_where_asked(tmp_path: Path) -> None:
    layout = predicted(tmp_path, raw=moved(1), post=moved(1))
    asked = SETTINGS.model_copy(update={"detection": CandidateSettings()})
    found = evaluate(layout, "net", UNIT, asked)["detection"]["tumour"]
    assert (found["source"], found["n_lesions"], found["n_false"], list(found["found"])) == (
        "label",
        1,
        0,
        ["volume_ml"],
    )
    probability = np.zeros((2, *GRID.shape), np.float16)
    probability[1, 1:3, 2:5, 1:3], probability[1, 4, 6, 4:] = 0.25, (0.75, 0.5)
    folder = layout.prediction("net", "fold-0-seed-1", "sub-1_ct1")
    with store.new_store(folder / "probabilities.zarr") as part:
        store.create(part, GRID, np.float16, channels=["background", "tumour"])[:] = probability
    asked = SETTINGS.model_copy(update={"detection": CandidateSettings(candidates_above=0.2)})
    found = evaluate(layout, "net", UNIT, asked)["detection"]["tumour"]
    assert (found["source"], found["n_false"]) == ("probability", 1)
    assert found["found"]["max_probability"] == [0.25]
    assert (found["false"]["max_probability"], found["false"]["mean_probability"]) == ([0.75], [0.625])
    assert "detection" not in evaluate(layout, "net", UNIT, SETTINGS)

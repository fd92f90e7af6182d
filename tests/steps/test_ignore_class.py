"""A class called `ignore`: whatever is claimed, learnt or predicted under it changes nothing that is counted."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from study_by_hand import GRID, case_of, label_of, study_of, write_case, write_prediction

from cohortseg.errors import SettingsError
from cohortseg.infer.networks import build_network
from cohortseg.io import store
from cohortseg.io.classes import stored_numbers
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.metrics.score import label_scores
from cohortseg.phantom.dicom import write_series
from cohortseg.phantom.labels import write_nifti, write_rtstruct
from cohortseg.postprocess.candidates import CANDIDATES, left_by, tally
from cohortseg.postprocess.chain import NOTHING, postprocess_classes
from cohortseg.preprocess.fingerprint import case_fingerprint, foreground_sample
from cohortseg.settings import MetricSettings, load_study
from cohortseg.stages import EvaluateStage, stage_settings
from cohortseg.steps import convert
from cohortseg.steps.best import counts_of
from cohortseg.steps.evaluate import evaluate
from cohortseg.steps.heterogeneity import repairs
from cohortseg.steps.index import index
from cohortseg.steps.predict import Result
from cohortseg.train.loop import train
from cohortseg.train.losses import LOSSES
from cohortseg.train.patches import Case, foreground_rows, patch_source
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import SCHEDULES
from cohortseg.train.validate import validation
from cohortseg.volume import Grid, Volume

SPACING_MM, ORIGIN_MM = (2.5, 0.8, 0.7), (-31.0, 12.5, 47.25)
SCAN = Grid((7, 18, 16), SPACING_MM, ORIGIN_MM)
TUMOUR, NODE, UNSURE = (np.zeros(SCAN.shape, bool) for _ in range(3))
TUMOUR[2:5, 3:9, 4:12] = True
NODE[1:3, 12:16, 2:6] = True
UNSURE[3:6, 6:15, 8:14] = True
PLANTED = np.random.default_rng(0).random(SCAN.shape) < 0.5


def converted(root: Path, masks: dict[str, np.ndarray], **labels) -> tuple[Layout, dict]:
    """One patient with these structures, indexed and converted."""
    hu = np.random.default_rng(3).integers(-1000, 2000, SCAN.shape).astype(np.int16)
    files = write_series(root / "source/P1/scan", hu, spacing_mm=SPACING_MM, origin_mm=ORIGIN_MM, patient_id="P1")
    if "values" in labels:
        numbers = sum(((k + 1) * mask for k, mask in enumerate(masks.values())), np.zeros(SCAN.shape, np.uint8))
        write_nifti(root / "source/P1/label.nii.gz", numbers.astype(np.uint8), SCAN)
        labels["files"] = r"(?P<subject>[^/]+)/label\.nii\.gz"
    else:
        write_rtstruct(root / "source/P1/rs.dcm", masks, files)
    cohort = {"source": str(root / "source"), "labels": labels}
    experiments = {"net": {"method": "unet"}}
    study = load_study(
        {"study": "small", "results": str(root / "results"), "cohort": cohort, "experiments": experiments}
    )
    index(study)
    layout = Layout(study.folder)
    convert.run(
        argparse.Namespace(
            study=layout,
            settings=stage_settings(study, "convert"),
            cases=["p1_ct1"],
            token=layout.token("convert", "b0001"),
        )
    )
    return layout, read_json(layout.case("p1_ct1") / "image.json")


STRUCTURES = {"ignore": "Unsure", "tumour": "GTV", "node": "Node"}


# ---- reading --------------------------------------------------------------------------------------------------------


def test_structures_drawn_under_the_first_named_ignore_leave_the_label_as_it_is(tmp_path):
    honest = {"Unsure": UNSURE, "GTV": TUMOUR, "Node": NODE}
    planted = {"Unsure": UNSURE, "GTV": TUMOUR & ~UNSURE | PLANTED & UNSURE, "Node": NODE | UNSURE & ~PLANTED}
    found = {}
    for name, masks in (("honest", honest), ("planted", planted)):
        layout, record = converted(tmp_path / name, masks, structures=STRUCTURES)
        found[name] = store.read_volume(layout.case("p1_ct1") / "label.zarr").array, record["contents"]["label"]
        assert record["facts"]["label"]["n_not_judged"] == UNSURE.sum()
        (row,) = repairs(layout).query("what.str.contains('ignore')").itertuples()
        assert row.count == UNSURE.sum()
    np.testing.assert_array_equal(found["honest"][0], np.where(UNSURE, 255, np.where(TUMOUR, 1, 2 * NODE)))
    assert found["honest"][1] == found["planted"][1]


def test_an_ignore_named_last_leaves_drawn_structures_their_voxels(tmp_path):
    structures = {"tumour": "GTV", "ignore": "Unsure"}
    layout, _ = converted(tmp_path, {"Unsure": UNSURE, "GTV": TUMOUR}, structures=structures)
    label = store.read_volume(layout.case("p1_ct1") / "label.zarr").array
    np.testing.assert_array_equal(label, np.where(TUMOUR, 1, np.where(UNSURE, 255, 0)))


def test_a_label_that_draws_no_ignore_is_whole(tmp_path):
    layout, record = converted(tmp_path, {"GTV": TUMOUR, "Node": NODE}, structures=STRUCTURES)
    assert record["status"] == "ok"
    assert record["facts"]["label"]["missing"] == []
    assert "n_not_judged" not in record["facts"]["label"]
    label = store.read_volume(layout.case("p1_ct1") / "label.zarr").array
    np.testing.assert_array_equal(label, np.where(TUMOUR, 1, 2 * NODE))


def test_a_value_of_a_label_file_is_ignored(tmp_path):
    masks = {"tumour": TUMOUR & ~UNSURE, "ignore": UNSURE, "node": NODE & ~UNSURE}
    layout, record = converted(tmp_path, masks, values={"tumour": 1, "ignore": 2, "node": 3})
    label = store.read_volume(layout.case("p1_ct1") / "label.zarr").array
    np.testing.assert_array_equal(label, np.where(UNSURE, 255, np.where(TUMOUR, 1, 2 * NODE)))
    assert record["facts"]["label"]["n_not_judged"] == UNSURE.sum()


def test_without_an_ignore_numbers_stay():
    label = np.array([[0, 1], [2, 1]], np.uint8)
    assert stored_numbers(label, ["a", "b"]) == 0
    assert label.tolist() == [[0, 1], [2, 1]]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({"structures": {"ignore": "Unsure"}}, "no class to find"),
        (
            {"values": {"cell": 1, "ignore": 9}, "instances": True, "kind": "files", "files": "(?P<subject>.)"},
            "no value",
        ),
    ],
)
def test_settings_that_leave_nothing_to_find_are_refused(labels, says):
    with pytest.raises(SettingsError, match=says):
        load_study(
            {
                "study": "s",
                "cohort": {"source": ".", "labels": labels},
                "experiments": {"net": {"method": "unet"}},
            }
        )


# ---- training -------------------------------------------------------------------------------------------------------


def test_fingerprint_and_sampled_voxels_know_the_judged_classes_alone():
    label = np.where(UNSURE, 255, np.where(TUMOUR, 1, 2 * NODE)).astype(np.uint8)
    image = np.arange(label.size, dtype=np.int16).reshape(label.shape)
    found = case_fingerprint({"image": image}, label, SCAN, n_classes=2)
    n_tumour, n_node = int((label == 1).sum()), int((label == 2).sum())
    assert found["voxels"] == [label.size - UNSURE.sum() - n_tumour - n_node, n_tumour, n_node]
    assert found["foreground_box"] == [[1, 3, 2], [5, 16, 12]]
    foreground = found["channels"]["image"]["intensity"]["foreground"]
    assert foreground["mean"] == pytest.approx(image[(label == 1) | (label == 2)].mean())
    sample = foreground_sample(label, n_classes=2, per_class=10_000, seed=1)
    np.testing.assert_array_equal(sample, foreground_rows(label))
    assert np.bincount(sample[:, 0]).tolist() == [0, n_tumour, n_node]


def trained(label: np.ndarray, n_classes: int) -> dict[str, torch.Tensor]:
    """Weights after some steps on two cases of this label."""
    image = np.random.default_rng(4).normal(size=label.shape).astype(np.float32)
    cases = [Case(image, label, foreground_rows(label)), Case(image[:, ::-1], label[:, ::-1], foreground_rows(label))]
    arguments = {"dims": 2, "in_channels": 1, "out_channels": n_classes + 1, "features": (4, 8)}
    network, loss = build_network("unet", arguments, seed=1), LOSSES["dice_ce"].build()
    source = patch_source(cases, patch=(1, 16, 16), batch_size=2, foreground_share=0.5, negative_share=0.25, seed=3)
    validate = validation(cases, patch=(1, 16, 16), n_classes=n_classes + 1, loss=loss)
    recipe = Recipe(loss=loss, schedule=SCHEDULES["cosine"].factor, steps=4, learning_rate=0.01, seed=5)
    train(network, source, validate, recipe)
    return network.state_dict()


def test_planted_labels_under_an_ignore_change_no_weight(tmp_path):
    weights = {}
    for name, ignored in (("honest", UNSURE), ("planted", UNSURE), ("seen", np.zeros_like(UNSURE))):
        label = np.where(TUMOUR, 2, np.where(NODE, 3, 0)).astype(np.uint8)
        if name != "honest":
            label[UNSURE & PLANTED] = 3
        label[ignored] = 1
        stored_numbers(label, ["ignore", "tumour", "node"])
        weights[name] = trained(label, 2)
    assert all(torch.equal(value, weights["planted"][key]) for key, value in weights["honest"].items())
    assert not all(torch.equal(value, weights["seen"][key]) for key, value in weights["honest"].items())


# ---- scoring --------------------------------------------------------------------------------------------------------


@pytest.fixture
def ignored() -> Volume:
    """The reference by hand, with its last labelled plane and a box beside it ignored."""
    array = label_of().array.copy()
    array[2] = 255
    array[1, 5:, 4:] = 255
    return Volume(array, GRID)


def scored(root: Path, reference: Volume, prediction: np.ndarray) -> dict:
    layout = study_of(root, case_of("sub-1_ct1"))
    write_case(layout, "sub-1_ct1", label=reference)
    write_prediction(layout, "net", "fold-0-seed-1/sub-1_ct1", Volume(prediction, GRID))
    sidecar = layout.prediction("net", "fold-0-seed-1", "sub-1_ct1") / "post.json"
    sidecar.write_text(sidecar.read_text().replace("{", '{"n_voxels_changed": 0,', 1))
    stage = EvaluateStage(classes=["tumour"], metrics=MetricSettings())
    return evaluate(layout, "net", "fold-0-seed-1/sub-1_ct1", stage)


def test_predictions_under_an_ignore_change_no_metric(tmp_path, ignored):
    prediction = np.roll(label_of().array, 1, axis=2)
    planted = np.where(ignored.array == 255, np.random.default_rng(1).integers(0, 2, GRID.shape), prediction)
    plain = scored(tmp_path / "plain", ignored, prediction)
    assert plain["content"] == scored(tmp_path / "planted", ignored, planted.astype(np.uint8))["content"]
    row = plain["metrics"]["raw"]["tumour"]
    n_ignored = int((ignored.array == 255).sum())
    # One plane of 3 x 3 voxels is left, of which two columns are shared.
    assert row["dice"] == pytest.approx(2 * 6 / 18)
    assert row["accuracy"] == pytest.approx(1 - 6 / (210 - n_ignored))
    assert row["specificity"] == pytest.approx(1 - 3 / (210 - n_ignored - 9))
    assert row["not_judged_ml"] == pytest.approx(n_ignored * 2.5 * 0.8 * 0.7 / 1000)
    assert row["reference_ml"] == row["prediction_ml"]


def test_a_choice_of_settings_or_models_does_not_see_what_is_ignored(ignored):
    prediction, reference = np.roll(label_of().array, 1, axis=2), ignored.array
    planted = np.where(reference == 255, 1, prediction).astype(np.uint8)
    assert counts_of(prediction, reference, 1) == counts_of(planted, reference, 1) == [[9, 9, 6]]
    judged = np.where(reference == 255, 0, prediction).astype(np.uint8)
    options = {"n_classes": 1, "metric": "dice", "spacing_mm": GRID.spacing_mm, "nsd_tolerance_mm": 1.0}
    assert label_scores(reference, judged, **options) == [pytest.approx(2 / 3)]


class Probabilities:
    """One block of two channels."""

    def __init__(self, foreground: np.ndarray) -> None:
        self.first, self.stop, self.foreground = 0, len(foreground), foreground

    def channel(self, number: int) -> np.ndarray:
        return self.foreground if number else 1 - self.foreground


def test_calibration_does_not_count_what_is_ignored(ignored):
    random = np.random.default_rng(2)
    plain = random.random(GRID.shape).astype(np.float32)
    planted = np.where(ignored.array == 255, random.random(GRID.shape), plain).astype(np.float32)
    results = [Result(1, None, {}), Result(1, None, {})]
    for result, foreground in zip(results, (plain, planted), strict=True):
        list(result.labels(iter([Probabilities(foreground)]), ignored.array))
    assert results[0].record() == results[1].record()
    assert results[0].tally[0].sum() == (ignored.array != 255).sum()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999))
def test_candidates_of_cleaning_are_counted_where_the_reference_was_judged(seed):
    random = np.random.default_rng(seed)
    label, reference = (random.integers(0, 3, (4, 9, 8)).astype(np.uint8) for _ in range(2))
    reference[:, 2:6, 3:7] = 255
    judged = reference != 255
    for value, record in enumerate(tally(label, reference, spacing_mm=(2.5, 0.7, 1.1), n_classes=2), start=1):
        for name, candidate in CANDIDATES.items():
            options = [NOTHING, NOTHING]
            options[value - 1] = candidate.options(0.01)
            cleaned = postprocess_classes(label, spacing_mm=(2.5, 0.7, 1.1), options=options) == value
            left = left_by(record, candidate, usual_ml=0.01, voxel_ml=2.5 * 0.7 * 1.1 / 1000)
            assert left.n_left == (cleaned & judged).sum(), name
            assert left.n_shared == (cleaned & (reference == value)).sum(), name
            assert left.n_changed == ((cleaned ^ (label == value)) & judged).sum(), name

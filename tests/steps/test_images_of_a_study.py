"""CT from MR step by step: model space, a network and three rules, and what is measured of the images they make."""

import argparse

import numpy as np
import pytest
from image_phantom import RANGE, SHAPE, pair
from study_by_hand import case_of, sidecar_of, study_of, write_sidecar
from test_channels import run

from cohortseg.infer.weights import read_metadata
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, write_json
from cohortseg.settings import IntensityMethod, SynthesisSettings, TuneSettings, UNetMethod
from cohortseg.stages import EvaluateStage, ExperimentStage, FingerprintStage, PlanStage, PreprocessStage, TrialStage
from cohortseg.steps import evaluate, fingerprint, plan, predict, preprocess, survey, train, trial
from cohortseg.steps.training_pieces import usable
from cohortseg.volume import Grid, Volume

CHANNELS = ["ct", "mr"]
TILTED = ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (-1.0, 0.0, 0.0))
GRID = Grid(SHAPE, (4.0, 0.9, 1.1), (-31.0, 12.5, 47.25), TILTED)
TRAINED, HELD_OUT, WITHOUT = ["p1_ct1", "p2_ct1", "p3_ct1", "p4_ct1"], ["p5_ct1", "p6_ct1"], "p7_ct1"
CASES = [*TRAINED, *HELD_OUT, WITHOUT]
MODEL = "fold-0-seed-1"
FROM_MR = SynthesisSettings(target="ct", range=RANGE, body_above=-500.0)
FROM_CT = SynthesisSettings(target="mr", inputs=["ct"], range=(0.0, 600.0))
NETWORK = UNetMethod(
    method="unet", architecture={"name": "synthetic_ct", "features": (8, 16)}, loss="l1", steps=300, batch=4,
    learning_rate=0.01, validate_every=100, foreground_share=1.0, augmentation="none",
)  # fmt: skip
COMMON = {"classes": [], "channels": CHANNELS}


def write_case(layout, name, seed, *, missing=()):
    ct, mr = pair(seed)
    stores = dict(zip(("image", "image-mr"), layout.images(name, CHANNELS), strict=True))
    arrays = {"image": ct, "image-mr": np.zeros_like(mr) if "mr" in missing else mr}
    contents = {part: store.write_volume(stores[part], Volume(array, GRID)) for part, array in arrays.items()}
    facts = {
        "modality": "CT",
        "grid": GRID.as_dict(),
        "channels": {"ct": {"modality": "CT", "unit": "HU"}, "mr": {"modality": "MR", "unit": ""}},
        "missing_channels": list(missing),
    }
    record = sidecar_of("convert", digest(list(contents.values())), contents={"label": None, **contents}, facts=facts)
    write_sidecar(layout.case(name) / "image.json", record)


def prepared(root, task, spacing_mm=None):
    """A study in model space; of the last case there is no MR."""
    layout = study_of(root, *[case_of(name, fold="1" if name in TRAINED else "0") for name in CASES])
    for seed, name in enumerate(CASES):
        write_case(layout, name, seed, missing=("mr",) if name == WITHOUT else ())
    write_json(layout.members("0"), {"train": TRAINED, "validation": HELD_OUT})
    run(fingerprint, layout, FingerprintStage(**COMMON), cases=CASES)
    survey.run(argparse.Namespace(study=layout))
    run(plan, layout, PlanStage(**COMMON, plan={"dims": 2, "spacing_mm": spacing_mm}))
    run(preprocess, layout, PreprocessStage(**COMMON, preprocess={}, synthesis=task), cases=CASES)
    return layout


def stage_of(method, task=FROM_MR):
    return ExperimentStage(**COMMON, experiment=method, synthesis=task)


def made(layout, name, method, task=FROM_MR, cases=HELD_OUT):
    """Train on fold 0, predict and measure what it keeps out; the rows of each case by region."""
    where = {"experiment": name, "token": layout.model(name, "0", 1) / "train.json"}
    run(train, layout, stage_of(method, task), **where, fold="0", seed=1, upstream="")
    token = layout.token("predict", "f0-b0001", name)
    run(predict, layout, stage_of(method, task), experiment=name, cases=cases, token=token)
    settings = EvaluateStage(classes=[], metrics={}, channels=CHANNELS, synthesis=task)
    run(evaluate, layout, settings, experiment=name, cases=cases)
    return [read_json(layout.prediction(name, MODEL, case) / "metrics.json") for case in cases]


def error_of(records, region="body"):
    return float(np.mean([record["images"][region]["mae"] for record in records]))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("study"), FROM_MR)


def test_model_space_holds_the_inputs_the_target_in_shares_of_its_range_and_voxels_of_the_body(study):
    folder = study.case(TRAINED[0]) / "prepared.zarr"
    ct, mr = pair(0)
    image, target = (np.asarray(store.open_array(folder, name)[:], np.float64) for name in ("0", "target"))
    assert image.shape == target.shape == SHAPE
    np.testing.assert_allclose(target, (np.clip(ct, *RANGE) + 1000.0) / 2000.0, atol=1e-3)
    assert np.corrcoef(image.ravel(), mr.ravel())[0, 1] > 0.999
    places = np.asarray(store.open_array(folder, "foreground")[:])
    assert set(places[:, 0]) == {1}
    assert (ct[tuple(places[:, 1:].T)] > -500).all()


def test_the_network_beats_what_sees_intensities_alone(study):
    errors = {
        rule: error_of(made(study, rule, IntensityMethod(method="intensity", rule=rule)))
        for rule in ("mean", "linear", "histogram")
    }
    network = error_of(made(study, "unet", NETWORK))
    assert network < 0.6 * min(errors.values()), (network, errors)
    # No increasing map leads from one to the other, and none is as bad as no image at all.
    assert max(errors.values()) < 400.0
    history = (study.model("unet", "0", 1) / "history.csv").read_text().splitlines()
    assert "mae" in history[0].split(",")
    assert "dice" not in history[0]
    metadata = read_metadata(study.model("unet", "0", 1) / "weights.safetensors")
    assert metadata["synthesis"]["target"] == "ct"
    assert metadata["arguments"]["in_channels"] == metadata["arguments"]["out_channels"] == 1


def test_images_lie_on_the_native_grid_in_hu_and_within_the_range(study):
    made(study, "rough", NETWORK.model_copy(update={"steps": 2, "validate_every": 2}))
    volume = store.read_volume(study.prediction("rough", MODEL, HELD_OUT[0]) / "raw.zarr")
    assert volume.grid.matches(GRID)
    assert volume.array.dtype == np.float32
    assert volume.array.min() >= RANGE[0]
    assert volume.array.max() <= RANGE[1]


def test_a_case_without_the_input_of_a_rule_is_refused_and_without_the_real_image_made_but_not_scored(tmp_path, study):
    method = IntensityMethod(method="intensity", rule="mean")
    (record,) = made(study, "lacking", method, cases=[WITHOUT])
    assert (record["status"], record["reason"]) == ("rejected", "MISSING_CHANNEL")
    other = prepared(tmp_path, FROM_CT)
    (record,) = made(other, "mean", method, FROM_CT, cases=[WITHOUT])
    assert (record["status"], record["reason"]) == ("rejected", "NO_REFERENCE")
    assert (other.prediction("mean", MODEL, WITHOUT) / "raw.zarr").exists()
    assert "target" not in store.zarr.open_group(other.case(WITHOUT) / "prepared.zarr", mode="r")


def test_no_network_learns_from_or_is_shown_a_case_without_any_input(study):
    record = read_json(study.case(WITHOUT) / "prepared.json")
    assert (record["status"], record["reason"]) == ("rejected", "MISSING_CHANNEL")
    assert not (study.case(WITHOUT) / "prepared.zarr").exists()
    assert usable(study, [HELD_OUT[0], WITHOUT], FROM_MR) == [HELD_OUT[0]]


def test_a_search_is_judged_by_the_error_in_the_body_and_prefers_the_better_of_two_rates(study):
    space = {"learning_rate": [1e-6, 1e-2]}
    tune = TuneSettings(search="grid", space=space, metric="closeness", steps=60, inner_folds=2)
    inner = {"folds": [{"train": TRAINED[:2], "validation": TRAINED[2:]}]}
    write_json(study.inner("searched", "0"), inner)
    given = {**COMMON, "experiment": NETWORK, "tune": tune, "postprocess": {}, "metrics": {}, "synthesis": FROM_MR}
    scores = []
    for number in (0, 1):
        token = study.token("trial", f"fold-0-{number:03d}", "searched")
        where = {"experiment": "searched", "fold": "0", "number": number, "upstream": "", "token": token}
        run(trial, study, TrialStage(**given), **where)
        record = read_json(study.trial("searched", "0", number))
        assert (record["status"], record["metric"], record["n_cases"]) == ("ok", "closeness", 2)
        scores.append(record["score"])
    assert 0.0 < scores[0] < scores[1] - 0.1 < 1.0
    assert not list(study.trial("searched", "0", 0).parent.rglob("*.zarr"))


def test_finished_work_is_seen_and_another_range_is_other_work(study):
    method = IntensityMethod(method="intensity", rule="mean")
    made(study, "again", method)
    token = study.model("again", "0", 1) / "train.json"
    first = read_json(token)
    made(study, "again", method)
    assert read_json(token)["key"] == first["key"]
    made(study, "again", method, FROM_MR.model_copy(update={"range": (-1000.0, 500.0)}))
    assert read_json(token)["key"] != first["key"]


def test_what_is_made_finer_begins_with_means_of_blocks(tmp_path):
    """The input as it is, is linear interpolation: what super-resolution must beat."""
    task = SynthesisSettings(target="ct", range=RANGE, coarser=(1, 3, 3), body_above=-500.0)
    layout = prepared(tmp_path, task)
    records = made(layout, "interpolated", IntensityMethod(method="intensity", rule="input"), task)
    interpolated = error_of(records)
    assert 10.0 < interpolated < 200.0
    network = error_of(made(layout, "unet", NETWORK, task))
    assert network < interpolated

"""Cases of several channels through the whole flow: what only the second channel shows is found."""

import argparse
import json

import numpy as np
import pytest
from study_by_hand import case_of, sidecar_of, study_of, write_sidecar

from cohortseg.errors import SettingsError, StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, write_json
from cohortseg.settings import ThresholdMethod, UNetMethod
from cohortseg.stages import ExperimentStage, FingerprintStage, PlanStage, PreprocessStage
from cohortseg.steps import fingerprint, plan, predict, preprocess, survey, train
from cohortseg.steps.views import displayed
from cohortseg.volume import Grid, Volume

CHANNELS = ["ct", "pet"]
GRID = Grid((3, 31, 26), (4.0, 0.9, 1.1), (-31.0, 12.5, 47.25), ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (-1.0, 0.0, 0.0)))
WITH_BOTH, WITHOUT = ["p1_ct1", "p2_ct1", "p3_ct1", "p4_ct1"], "p5_ct1"
CASES = [*WITH_BOTH, WITHOUT]
HELD_OUT = ["p3_ct1", "p4_ct1", WITHOUT]
MODEL = "fold-0-seed-1"
NETWORK = UNetMethod(
    method="unet", features=(8, 16), steps=60, batch=8, loss="dice_ce", validate_every=60, augmentation="light"
)


def shifted_box(seed: int, grid: Grid) -> np.ndarray:
    """A lopsided object, somewhere else in each case."""
    label = np.zeros(grid.shape, np.uint8)
    y, x = np.random.default_rng(seed).integers(3, 12, 2)
    label[:, y : y + 11, x : x + 8] = 1
    return label


def write_case(layout, name: str, seed: int, *, missing: bool = False, grid: Grid = GRID) -> None:
    """A CT of noise, and a PET in which the object glows; as `convert` leaves them."""
    draw = np.random.default_rng(seed)
    label = shifted_box(seed, grid)
    ct = draw.normal(40, 30, grid.shape).astype(np.int16)
    pet = (draw.normal(1.0, 0.2, grid.shape) + 5 * label).astype(np.float32)
    folder, (first, second) = layout.case(name), layout.images(name, CHANNELS)
    contents = {
        "image": store.write_volume(first, Volume(ct, grid)),
        "image-pet": store.write_volume(second, Volume(np.zeros_like(pet) if missing else pet, grid)),
        "label": store.write_volume(folder / "label.zarr", Volume(label, grid), name="label"),
    }
    facts = {
        "modality": "CT",
        "grid": grid.as_dict(),
        "channels": {"ct": {"modality": "CT", "unit": "HU"}, "pet": {"modality": "PT", "unit": "SUVbw"}},
        "missing_channels": ["pet"] if missing else [],
    }
    record = sidecar_of("convert", digest(list(contents.values())), contents=contents, facts=facts)
    write_sidecar(folder / "image.json", record)


def study_with_channels(root, grid: Grid = GRID):
    """Four cases with both channels and one without PET; the last three are held out in fold 0."""
    cases = [case_of(name, fold="0" if name in HELD_OUT else "1") for name in CASES]
    layout = study_of(root, *cases)
    for seed, name in enumerate(CASES):
        write_case(layout, name, seed, missing=name == WITHOUT, grid=grid)
    write_json(layout.members("0"), {"train": WITH_BOTH[:2], "validation": WITH_BOTH[2:]})
    return layout


def run(step, layout, settings, **more) -> None:
    given = {"study": layout, "settings": settings.model_dump_json(), "cases": CASES, "threads": 1}
    step.run(argparse.Namespace(**(given | {"token": layout.root / "token.json"} | more)))


def prepare(layout, channels=CHANNELS, **plan_settings) -> None:
    """Everything up to model space."""
    common = {"classes": ["lesion"], "channels": channels}
    run(fingerprint, layout, FingerprintStage(**common))
    survey.run(argparse.Namespace(study=layout))
    run(plan, layout, PlanStage(**common, plan={"dims": 2, **plan_settings}, model=None))
    run(preprocess, layout, PreprocessStage(**common, preprocess={}))


def dice(layout, experiment: str, model: str, name: str) -> float:
    found = store.read_volume(layout.prediction(experiment, model, name) / "raw.zarr").array == 1
    truth = store.read_volume(layout.case(name) / "label.zarr").array == 1
    return 2 * float((found & truth).sum() / (found.sum() + truth.sum()))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    layout = study_with_channels(tmp_path_factory.mktemp("study"))
    prepare(layout)
    return layout


@pytest.fixture(scope="module")
def trained(prepared):
    """A small 2D network on both channels, and what it predicts of the held-out cases."""
    settings = ExperimentStage(classes=["lesion"], channels=CHANNELS, experiment=NETWORK)
    where = {"experiment": "unet", "token": prepared.model("unet", "0", 1) / "train.json"}
    run(train, prepared, settings, **where, fold="0", seed=1, upstream="")
    run(predict, prepared, settings, experiment="unet", cases=HELD_OUT)
    return prepared


# ---- model space ----------------------------------------------------------------------------------------------------


def test_each_channel_has_its_own_normalisation_in_the_plan(prepared):
    made = read_json(prepared.plan)
    assert made["channels"] == CHANNELS
    assert made["modality"] == {"ct": "CT", "pet": "PT"}
    assert (made["normalisation"]["ct"]["name"], made["normalisation"]["pet"]["name"]) == ("ct", "zscore")
    assert "5 cases" in made["normalisation"]["ct"]["because"]


def test_a_case_in_model_space_is_one_array_of_all_channels_each_normalised_by_its_own_numbers(prepared):
    array = store.open_array(prepared.case("p2_ct1") / "prepared.zarr")
    assert array.shape[0] == 2
    assert array.metadata.dimension_names == ("c", "z", "y", "x")
    pet = np.asarray(array[1], dtype=np.float64)
    assert (pet.mean(), pet.std()) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.05))
    source = store.read_volume(prepared.images("p2_ct1", CHANNELS)[1]).array
    # Native and model grid are the same here: only the numbers differ.
    np.testing.assert_allclose(pet, (source - source.mean()) / source.std(), atol=4e-3)
    numbers = read_json(prepared.plan)["normalisation"]["ct"]["numbers"]
    ct = store.read_volume(prepared.images("p2_ct1", CHANNELS)[0]).array.clip(numbers["low"], numbers["high"])
    np.testing.assert_allclose(array[0], (ct - numbers["mean"]) / numbers["sd"], atol=4e-3)


def test_a_missing_channel_is_measured_by_nobody_and_stays_zero(prepared):
    found = read_json(prepared.case(WITHOUT) / "fingerprint.json")["fingerprint"]
    assert found["channels"]["pet"] is None
    assert found["channels"]["ct"]["intensity"]["whole"]["mean"] == pytest.approx(40, abs=3)
    assert read_json(prepared.cohort_fingerprint)[WITHOUT]["modalities"] == {"ct": "CT"}
    array = store.open_array(prepared.case(WITHOUT) / "prepared.zarr")
    assert array[0].any()
    assert not array[1].any()


def test_the_plan_of_the_others_does_not_change_when_a_channel_is_missing_from_one(tmp_path, prepared):
    layout = study_of(tmp_path, *[case_of(name) for name in WITH_BOTH])
    for seed, name in enumerate(WITH_BOTH):
        write_case(layout, name, seed)
    common = {"classes": ["lesion"], "channels": CHANNELS}
    run(fingerprint, layout, FingerprintStage(**common), cases=WITH_BOTH)
    survey.run(argparse.Namespace(study=layout))
    run(plan, layout, PlanStage(**common, plan={"dims": 2}, model=None))
    ours, theirs = read_json(layout.plan), read_json(prepared.plan)
    assert ours["normalisation"]["pet"] == theirs["normalisation"]["pet"]
    assert ours["seen"]["ranges"]["median intensity of pet"] == theirs["seen"]["ranges"]["median intensity of pet"]


def test_other_channels_than_those_of_the_frozen_plan_are_refused(prepared):
    for channels in (["pet", "ct"], ["ct"], ["ct", "pet", "mr"]):
        stage = PreprocessStage(classes=["lesion"], channels=channels, preprocess={})
        with pytest.raises(SettingsError, match="frozen plan is for ct, pet"):
            run(preprocess, prepared, stage)


def test_a_plan_of_another_version_is_refused(tmp_path):
    layout = study_of(tmp_path, case_of("p1_ct1"))
    write_json(layout.plan, {"version": 1, "normalisation": {"name": "ct"}})
    with pytest.raises(StudyError, match="another version"):
        run(preprocess, layout, PreprocessStage(classes=["lesion"], channels=["image"], preprocess={}))


def test_channels_of_mixed_modalities_are_refused_by_name(tmp_path):
    layout = study_with_channels(tmp_path)
    path = layout.case("p2_ct1") / "image.json"
    record = read_json(path)
    record["facts"]["channels"]["pet"]["modality"] = "NM"
    write_json(path, record)
    with pytest.raises(SettingsError, match=r"cohort\.channels\.pet\.modality: .*1 NM, 3 PT"):
        prepare(layout)


# ---- methods --------------------------------------------------------------------------------------------------------


def test_a_network_finds_what_only_the_second_channel_shows(trained):
    for name in ("p3_ct1", "p4_ct1"):
        assert dice(trained, "unet", MODEL, name) > 0.5


def test_a_case_without_the_second_channel_is_predicted_all_the_same(trained):
    record = read_json(trained.prediction("unet", MODEL, WITHOUT) / "raw.json")
    assert record["status"] == "ok"
    assert dice(trained, "unet", MODEL, WITHOUT) < 0.5


def test_the_weights_say_which_channels_they_want(trained):
    from safetensors import safe_open

    with safe_open(trained.model("unet", "0", 1) / "weights.safetensors", "np") as file:
        metadata = json.loads(file.metadata()["cohortseg"]) if "cohortseg" in file.metadata() else file.metadata()
    assert "pet" in str(metadata)


def test_a_classical_method_works_on_the_channel_of_the_settings(prepared):
    for channel, low, high in (("pet", 0.9, 1.0), (None, 0.0, 0.7), ("ct", 0.0, 0.7)):
        method = ThresholdMethod(method="threshold", rule="otsu", channel=channel)
        settings = ExperimentStage(classes=["lesion"], channels=CHANNELS, experiment=method)
        run(predict, prepared, settings, experiment=f"otsu-{channel}", cases=["p1_ct1"])
        assert low <= dice(prepared, f"otsu-{channel}", "untrained", "p1_ct1") <= high


def test_a_classical_method_refuses_a_case_without_its_channel(prepared):
    method = ThresholdMethod(method="threshold", rule="fixed", low=-1, channel="pet")
    settings = ExperimentStage(classes=["lesion"], channels=CHANNELS, experiment=method)
    run(predict, prepared, settings, experiment="fixed", cases=[WITHOUT])
    record = read_json(prepared.prediction("fixed", "untrained", WITHOUT) / "raw.json")
    assert (record["status"], record["reason"]) == ("rejected", "MISSING_CHANNEL")
    assert not (prepared.prediction("fixed", "untrained", WITHOUT) / "raw.zarr").exists()


def test_a_channel_that_is_none_is_named_with_those_there_are(prepared):
    method = ThresholdMethod(method="threshold", channel="mr")
    settings = ExperimentStage(classes=["lesion"], channels=CHANNELS, experiment=method)
    with pytest.raises(StudyError, match=r"mr.*ct, pet"):
        run(predict, prepared, settings, experiment="none", cases=["p1_ct1"])


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_a_picture_shows_the_first_channel_and_colour_as_brightness(tmp_path, prepared):
    ct = store.read_volume(prepared.case("p1_ct1") / "image.zarr").array
    np.testing.assert_array_equal(displayed(prepared, "p1_ct1", 1), ct[1])
    layout = study_of(tmp_path, case_of("p1_gm1"))
    grid, names = Grid((1, 3, 4), (1.0, 0.5, 0.25), (0.0, 0.0, 0.0)), ["red", "green", "blue"]
    for path, value in zip(layout.images("p1_gm1", names), (30, 60, 240), strict=True):
        store.write_volume(path, Volume(np.full(grid.shape, value, np.uint8), grid))
    facts = {"channels": {name: {"modality": "GM", "unit": ""} for name in names}}
    write_sidecar(layout.case("p1_gm1") / "image.json", sidecar_of("convert", facts=facts))
    np.testing.assert_array_equal(displayed(layout, "p1_gm1", 0), np.full((3, 4), 110, np.float32))


# ---- pictures as cases ----------------------------------------------------------------------------------------------


def test_colour_pictures_go_through_as_cases_of_one_plane(tmp_path):
    """Three channels of 8 bits, one plane each; z has no meaning and keeps whatever it says."""
    names, grid = ["red", "green", "blue"], Grid((1, 45, 37), (1.0, 0.5, 0.4), (0.0, 0.0, 0.0))
    layout = study_of(tmp_path, *[case_of(name) for name in CASES])
    for seed, name in enumerate(CASES):
        label = shifted_box(seed, grid)
        draw, contents = np.random.default_rng(seed), {}
        for number, path in enumerate(layout.images(name, names)):
            # More than half of the voxels are 0, and no background for that.
            picture = (draw.integers(0, 3, grid.shape) // 2 * 60 + (number == 1) * 90 * label).astype(np.uint8)
            contents[path.stem] = store.write_volume(path, Volume(picture, grid))
        contents["label"] = store.write_volume(layout.case(name) / "label.zarr", Volume(label, grid))
        facts = {"modality": "SM", "channels": {channel: {"modality": "SM", "unit": ""} for channel in names}}
        record = sidecar_of("convert", digest(list(contents.values())), contents=contents, facts=facts)
        write_sidecar(layout.case(name) / "image.json", record)
    prepare(layout, names)
    made = read_json(layout.plan)
    assert made["spacing_mm"]["value"] == [None, 0.5, 0.4]
    assert made["shape"]["value"] == [1, 45, 37]
    assert {chosen["name"] for chosen in made["normalisation"].values()} == {"zscore"}
    assert {chosen["group"] for chosen in made["normalisation"].values()} == {"whole"}
    assert store.open_array(layout.case("p1_ct1") / "prepared.zarr").shape == (3, 1, 45, 37)
    with pytest.raises(SettingsError, match=r"plan\.dims: 3 needs volumes"):
        prepare(layout, names, dims=3)

"""Networks of a study: minutes that become steps, what a prediction may keep, and a package that another study uses."""

import argparse
import json

import numpy as np
import pytest
import torch
from study_by_hand import case_of, study_of
from test_channels import CHANNELS, HELD_OUT, MODEL, prepare, run, study_with_channels, write_case

from cohortseg.cli import package
from cohortseg.errors import SettingsError, StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.settings import PretrainedMethod, UNetMethod
from cohortseg.stages import ExperimentStage, FingerprintStage, PlanStage, PreprocessStage
from cohortseg.steps import fingerprint, plan, predict, preprocess, survey, train
from cohortseg.steps.loaded import load, weights_of

COMMON = {"classes": ["lesion"], "channels": CHANNELS}
NUMBERS = {"method": "unet", "batch": 2, "validate_every": 50}


def stage_of(**settings):
    return ExperimentStage(**COMMON, experiment=UNetMethod(**(NUMBERS | {"features": (8, 16), "steps": 3} | settings)))


def train_fold(layout, settings, fold="0", experiment="unet"):
    token = layout.model(experiment, fold, 1) / "train.json"
    run(train, layout, settings, experiment=experiment, fold=fold, seed=1, upstream="", token=token)
    return read_json(token)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two trained folds."""
    layout = study_with_channels(tmp_path_factory.mktemp("study"))
    prepare(layout)
    write_json(layout.members("1"), {"train": HELD_OUT[:2], "validation": ["p1_ct1", "p2_ct1"]})
    for fold in ("0", "1"):
        train_fold(layout, stage_of(), fold)
    return layout


# ---- minutes --------------------------------------------------------------------------------------------------------


def test_minutes_become_steps_once_and_the_next_training_needs_no_clock(study):
    settings = stage_of(steps=None, minutes=0.02, features=None)
    first = train_fold(study, settings, experiment="minutes")
    budget = read_json(study.budget("minutes"))
    assert first["steps"] == budget["steps"] >= 1
    assert first["features"] == budget["features"]
    assert "s per step" in budget["because"]
    write_json(study.budget("minutes"), budget | {"steps": 2, "features": [8, 16]})  # edited by hand: it is frozen
    again = train_fold(study, settings, experiment="minutes")
    assert (again["steps"], again["features"]) == (2, [8, 16])
    assert train_fold(study, settings, fold="1", experiment="minutes")["steps"] == 2


def test_the_precision_of_the_machine_is_found_once_and_predictions_follow_it(study, monkeypatch):
    monkeypatch.setattr(train, "native_precision", lambda device: "bf16")
    settings = stage_of(precision="auto")
    first = train_fold(study, settings, experiment="auto")
    assert read_json(study.budget("auto"))["precision"] == "bf16"
    assert first["weights"] == train_fold(study, stage_of(precision="bf16"), experiment="by_name")["weights"]
    asked = []
    monkeypatch.setattr("cohortseg.infer.networks.forward_of", lambda *_, precision, **__: asked.append(precision))
    for method in (settings.experiment, UNetMethod(method="unet", precision="fp32")):
        load(weights_of(study, "auto", MODEL, method), "auto", method, torch.device("cpu"))
    assert asked == ["bf16", "fp32"]
    monkeypatch.setattr(train, "native_precision", lambda device: "fp32")  # another machine: the choice is frozen
    train_fold(study, settings, fold="1", experiment="auto")
    assert read_json(study.budget("auto"))["precision"] == "bf16"


def test_transferred_and_frozen_parts_are_those_of_the_given_weights(study):
    from safetensors.numpy import load_file

    given = study.model("unet", "1", 1) / "weights.safetensors"
    settings = stage_of(transfer=given, frozen=["encoder"], steps=2)
    train_fold(study, settings, experiment="transfer")
    ours, theirs = load_file(study.model("transfer", "0", 1) / "weights.safetensors"), load_file(given)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs if name.startswith("encoder."))
    assert not np.array_equal(ours["head.weight"], theirs["head.weight"])


# ---- what a prediction may keep -------------------------------------------------------------------------------------


def test_probabilities_and_uncertainty_are_kept_where_asked_for_and_agree_with_the_label(study):
    case = "p3_ct1"
    run(predict, study, stage_of(probabilities=True, uncertainty=True), experiment="unet", cases=[case])
    folder = study.prediction("unet", MODEL, case)
    label = store.read_volume(folder / "raw.zarr").array
    probabilities = np.asarray(store.open_array(folder / "probabilities.zarr")[:], np.float64)
    assert probabilities.shape == (2, *label.shape)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1.0, atol=2e-3)
    sure = np.abs(probabilities[1] - 0.5) > 1e-3
    np.testing.assert_array_equal(label[sure], (probabilities[1] > 0.5)[sure])
    entropy, disagreement = np.asarray(store.open_array(folder / "uncertainty.zarr")[:], np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = -np.nansum(probabilities * np.log2(probabilities), axis=0)
    np.testing.assert_allclose(entropy, expected, atol=0.02)
    assert (disagreement <= entropy + 1e-3).all()
    record = read_json(folder / "raw.json")
    assert record["uncertainty"]["entropy_bits"] == pytest.approx(entropy[label > 0].mean(), abs=1e-3)
    assert record["contents"]["uncertainty"] == store.content_digest(folder / "uncertainty.zarr")


# ---- a package ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "lesions"
    package.run(argparse.Namespace(study=study.root, experiment="unet", folder=folder))
    return folder


def test_a_package_holds_all_networks_their_plan_and_a_card_and_no_name_of_a_case(model):
    assert sorted(path.name for path in model.iterdir()) == [
        "README.md",
        "fold-0-seed-1.safetensors",
        "fold-1-seed-1.safetensors",
        "model.json",
        "plan.json",
    ]
    assert "2 networks that segment lesion on ct (CT), pet (PT)" in (model / "README.md").read_text()
    for path in model.iterdir():
        assert b"p1_ct1" not in path.read_bytes()


def test_another_study_predicts_with_it_without_labels_or_training(model, study, tmp_path):
    """The same image in another study gets the mean of both networks."""
    names = ["q1_ct1", "q2_ct1"]
    layout = study_of(tmp_path, *[case_of(name) for name in names])
    for seed, name in enumerate(names):
        write_case(layout, name, seed)
    run(fingerprint, layout, FingerprintStage(**COMMON), cases=names)
    survey.run(argparse.Namespace(study=layout))
    run(plan, layout, PlanStage(**COMMON, plan={"dims": 2}, model=model))
    run(preprocess, layout, PreprocessStage(**COMMON, preprocess={}), cases=names)
    settings = ExperimentStage(
        **COMMON, experiment=PretrainedMethod(method="pretrained", model=model, probabilities=True)
    )
    run(predict, layout, settings, experiment="finished", cases=names)
    folder = layout.prediction("finished", "untrained", names[0])
    found = np.asarray(store.open_array(folder / "probabilities.zarr")[:], np.float64)
    singles = []
    for fold in ("0", "1"):
        alone = tmp_path / f"only-{fold}"
        alone.mkdir()
        for name in ("plan.json", f"fold-{fold}-seed-1.safetensors"):
            (alone / name).write_bytes((model / name).read_bytes())
        listed = json.loads((model / "model.json").read_text())
        listed["weights"] = {name: value for name, value in listed["weights"].items() if f"fold-{fold}" in name}
        write_json(alone / "model.json", listed)
        method = PretrainedMethod(method="pretrained", model=alone, probabilities=True)
        run(predict, layout, ExperimentStage(**COMMON, experiment=method), experiment=f"only-{fold}", cases=names[:1])
        single = layout.prediction(f"only-{fold}", "untrained", names[0]) / "probabilities.zarr"
        singles.append(np.asarray(store.open_array(single)[:], np.float64))
    np.testing.assert_allclose(found, np.mean(singles, axis=0), atol=1e-3)
    assert set(read_json(folder / "raw.json")["inputs"]) >= {"weights fold-0-seed-1.safetensors", "prepared"}


def test_a_package_serves_its_own_classes_and_channels_alone(model, study):
    with pytest.raises(SettingsError, match="the model knows lesion"):
        run(plan, study, PlanStage(classes=["liver"], channels=CHANNELS, plan={}, model=model))
    with pytest.raises(SettingsError, match="frozen plan is for ct, pet"):
        run(plan, study, PlanStage(classes=["lesion"], channels=["ct"], plan={}, model=model))


def test_what_is_no_package_or_cannot_be_one_is_refused(study, model, tmp_path):
    with pytest.raises(StudyError, match="no model package"):
        run(plan, study, PlanStage(**COMMON, plan={}, model=tmp_path))
    with pytest.raises(StudyError, match="exists"):
        package.run(argparse.Namespace(study=study.root, experiment="unet", folder=model))
    with pytest.raises(StudyError, match="no training"):
        package.run(argparse.Namespace(study=study.root, experiment="otsu", folder=tmp_path / "new"))

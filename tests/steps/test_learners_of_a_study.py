"""Methods that learn without a network: fitted on the members of a fold, used on the cases that it kept out."""

import argparse

import numpy as np
import pytest
from study_by_hand import case_of, study_of
from test_channels import CHANNELS, GRID, WITHOUT, dice, run, write_case

from cohortseg.cli import package
from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.arrays import read_arrays, write_arrays
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.layout import TEST
from cohortseg.methods.learned import ellipsoid, vote
from cohortseg.settings import METHOD_SETTINGS
from cohortseg.stages import ExperimentStage
from cohortseg.steps import predict, train
from cohortseg.steps.learners import drawn

CASES = ["p1_ct1", "p2_ct1", "p3_ct1", "p4_ct1", WITHOUT]
FOLDS = dict(zip(CASES, ["1", "1", "0", TEST, TEST], strict=True))
FOREST = {"method": "forest", "channel": "pet", "trees": 8, "per_class": 150, "scales_mm": (1.5,)}


def stage_of(**settings):
    method = METHOD_SETTINGS[settings["method"]](**settings)
    return ExperimentStage(classes=["lesion"], channels=CHANNELS, experiment=method)


def fit_fold(layout, settings, experiment, fold, seed=1):
    token = layout.model(experiment, fold, seed) / "train.json"
    run(train, layout, settings, experiment=experiment, fold=fold, seed=seed, upstream="", token=token)
    return read_json(token)


@pytest.fixture
def study(tmp_path):
    """Two folds, and two cases of a test set, of which the last lacks the PET."""
    layout = study_of(tmp_path, *[case_of(name, fold=FOLDS[name]) for name in CASES])
    for seed, name in enumerate(CASES):
        write_case(layout, name, seed, missing=name == WITHOUT)
    write_json(layout.members("0"), {"train": CASES[:2], "validation": ["p3_ct1"]})
    write_json(layout.members("1"), {"train": ["p3_ct1"], "validation": CASES[:2]})
    return layout


def test_a_held_out_case_is_segmented_by_the_model_that_did_not_learn_from_it(study):
    record = fit_fold(study, stage_of(**FOREST), "forest", "0")
    assert record["members"]["train"] == CASES[:2]
    assert record["trained_on"] == {name: read_json(study.case(name) / "image.json")["content"] for name in CASES[:2]}
    run(predict, study, stage_of(**FOREST), experiment="forest", cases=["p3_ct1"])
    assert dice(study, "forest", "fold-0-seed-1", "p3_ct1") > 0.9
    raw = read_json(study.prediction("forest", "fold-0-seed-1", "p3_ct1") / "raw.json")
    assert raw["inputs"]["weights fold 0"] == record["weights"]


@pytest.mark.parametrize("name", ["forest", "svm", "mean_shape", "ellipsoid"])
def test_every_learner_is_fitted_again_to_the_same_bytes_and_left_alone_when_done(study, name):
    settings = stage_of(**({**FOREST, "trees": 3} if name == "forest" else {"method": name}))
    path = study.model(name, "0", 1) / "weights.safetensors"
    first = fit_fold(study, settings, name, "0")
    content, time = path.read_bytes(), path.stat().st_mtime_ns
    assert fit_fold(study, settings, name, "0") == first
    assert path.stat().st_mtime_ns == time
    path.unlink()
    assert fit_fold(study, settings, name, "0") == first
    assert path.read_bytes() == content
    run(predict, study, settings, experiment=name, cases=["p3_ct1"])
    assert store.read_volume(study.prediction(name, "fold-0-seed-1", "p3_ct1") / "raw.zarr").array.max() <= 1


def test_a_case_of_the_test_set_has_a_vote_of_each_fold(study):
    settings = stage_of(method="ellipsoid")
    sides = [read_arrays(_fitted(study, settings, "ellipsoid", fold))["sides"] for fold in ("0", "1")]
    assert not np.allclose(*sides)
    run(predict, study, settings, experiment="ellipsoid", cases=["p4_ct1"])
    found = store.read_volume(study.prediction("ellipsoid", "ensemble-seed-1", "p4_ct1") / "raw.zarr").array
    np.testing.assert_array_equal(found, vote([ellipsoid(GRID.shape, one).astype(np.uint8) for one in sides]))
    record = read_json(study.prediction("ellipsoid", "ensemble-seed-1", "p4_ct1") / "raw.json")
    assert {"weights fold 0", "weights fold 1"} <= set(record["inputs"])


def _fitted(layout, settings, experiment, fold):
    fit_fold(layout, settings, experiment, fold)
    return layout.model(experiment, fold, 1) / "weights.safetensors"


def test_a_case_without_the_channel_is_refused_and_not_learnt_from(study):
    for fold in ("0", "1"):
        fit_fold(study, stage_of(**FOREST), "forest", fold)
    run(predict, study, stage_of(**FOREST), experiment="forest", cases=[WITHOUT])
    record = read_json(study.prediction("forest", "ensemble-seed-1", WITHOUT) / "raw.json")
    assert (record["status"], record["reason"]) == ("rejected", "MISSING_CHANNEL")
    write_json(study.members("0"), {"train": ["p1_ct1", WITHOUT], "validation": ["p3_ct1"]})
    assert fit_fold(study, stage_of(**FOREST), "forest", "0")["members"]["train"] == ["p1_ct1"]
    write_json(study.members("0"), {"train": [WITHOUT], "validation": ["p3_ct1"]})
    with pytest.raises(StudyError, match="no labelled case"):
        fit_fold(study, stage_of(**FOREST), "forest", "0")


def test_seeds_draw_other_voxels_and_the_fold_is_part_of_the_key(study):
    settings = stage_of(**FOREST, seeds=[1, 2])
    one, two = (fit_fold(study, settings, "forest", "0", seed) for seed in (1, 2))
    assert one["weights"] != two["weights"]
    run(predict, study, settings, experiment="forest", cases=["p3_ct1"])
    assert (study.prediction("forest", "fold-0-seed-2", "p3_ct1") / "raw.json").exists()
    assert one["key"] != fit_fold(study, settings, "forest", "1")["key"]


def test_at_most_so_many_cases_are_drawn_in_their_order():
    names = [f"p{n}" for n in range(20)]
    found = drawn(names, 5, seed=3)
    assert len(found) == 5
    assert found == sorted(found, key=names.index)
    assert found == drawn(names, 5, seed=3) != drawn(names, 5, seed=4)
    assert drawn(names, None, 1) == drawn(names, 20, 1) == names


def test_what_is_no_network_is_not_packed_as_one(study, tmp_path):
    fit_fold(study, stage_of(method="mean_shape"), "guess", "0")
    write_json(study.plan, {"version": 1})
    with pytest.raises(StudyError, match="no network"):
        package.run(argparse.Namespace(study=study.root, experiment="guess", folder=tmp_path / "packed"))


def test_arrays_come_back_and_a_damaged_file_is_one_line(tmp_path):
    path = tmp_path / "weights.safetensors"
    arrays = {"b": np.arange(6, dtype=np.int32).reshape(2, 3).T, "a": np.array([0.5])}
    sha256 = write_arrays(path, arrays, {"classes": ["x"]})
    assert sha256 == write_arrays(path, dict(reversed(arrays.items())), {"classes": ["x"]})
    found = read_arrays(path)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(StudyError, match="cannot be read"):
        read_arrays(path)
    with pytest.raises(StudyError, match="cannot be read"):
        read_arrays(tmp_path / "nothing.safetensors")

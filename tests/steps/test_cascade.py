"""Low resolution and cascade through the steps: what a small patch cannot tell apart, and who has seen what.

Each image has two equal balls. The left one is class 1 and the right one class 2, and which is which shows only to who
sees both: a patch at full resolution sees one.
"""

import argparse
import shutil

import numpy as np
import pytest
from study_by_hand import case_of, refused, sidecar_of, study_of, write_sidecar

from cohortseg.cli import package
from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, write_json, write_text
from cohortseg.layout import Layout
from cohortseg.settings import PretrainedMethod, UNetMethod
from cohortseg.stages import CrossfitStage, ExperimentStage, FingerprintStage, PlanStage, PreprocessStage
from cohortseg.steps import crossfit, fingerprint, plan, predict, preprocess, survey, train
from cohortseg.steps.cascade import pair_members
from cohortseg.steps.units import split_unit
from cohortseg.volume import Grid, Volume

GRID = Grid((24, 24, 48), (1.0, 1.0, 1.0), (-31.0, 12.5, 47.25), ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (-1.0, 0.0, 0.0)))
RADIUS = 4
FOLDS = {"0": ["p0_ct1", "p1_ct1"], "1": [f"p{n}_ct1" for n in range(3, 13)], "2": [f"p{n}_ct1" for n in range(13, 23)]}
CASES = [name for names in FOLDS.values() for name in names]
COMMON = {"classes": ["left", "right"], "channels": ["image"]}
PLAN = {"dims": 3, "patch_voxels": 4096, "spacing_mm": (1.0, 1.0, 1.0), "low_spacing_mm": (3.0, 3.0, 3.0)}
NETWORK = {
    **{"method": "unet", "features": (8, 16, 32), "steps": 120, "batch": 4, "validate_every": 120},
    **{"augmentation": "none", "foreground_share": 0.8, "learning_rate": 5e-3, "overlap": 0.25},
}
LOW = UNetMethod(**{**NETWORK, "features": (16, 32, 64), "steps": 160}, resolution="low")
CASCADE = UNetMethod(**NETWORK, cascade="low")
ALONE = UNetMethod(**NETWORK)
MODEL = "fold-0-seed-1"


def two_balls(seed: int) -> np.ndarray:
    """The label: anywhere, but the left one on the left."""
    draw = np.random.default_rng(seed)
    label, places = np.zeros(GRID.shape, np.uint8), np.indices(GRID.shape)
    for number, (first, last) in enumerate(((6, 13), (34, 42)), start=1):
        centre = np.array([draw.integers(5, 19), draw.integers(5, 19), draw.integers(first, last)])
        label[((places - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) <= RADIUS**2] = number
    return label


def write_case(layout, name: str, seed: int) -> None:
    label = two_balls(seed)
    image = (np.random.default_rng(seed).normal(40, 20, GRID.shape) + 150 * (label > 0)).astype(np.int16)
    folder = layout.case(name)
    contents = {
        "image": store.write_volume(folder / "image.zarr", Volume(image, GRID)),
        "label": store.write_volume(folder / "label.zarr", Volume(label, GRID), name="label"),
    }
    facts = {"modality": "CT", "grid": GRID.as_dict(), "channels": {"image": {"modality": "CT", "unit": "HU"}}}
    facts |= {"missing_channels": []}
    record = sidecar_of("convert", digest(list(contents.values())), contents=contents, facts=facts)
    write_sidecar(folder / "image.json", record)


def run(step, layout, settings, **more) -> None:
    given = {"study": layout, "settings": settings.model_dump_json(), "cases": CASES, "threads": 1, "tuned": None}
    step.run(argparse.Namespace(**(given | {"token": layout.root / "token.json"} | more)))


def to_model_space(layout, cases, **plan_settings) -> None:
    run(fingerprint, layout, FingerprintStage(**COMMON), cases=cases)
    survey.run(argparse.Namespace(study=layout))
    run(plan, layout, PlanStage(**COMMON, **({"plan": PLAN, "model": None} | plan_settings)))
    for resolution in ("full", "low"):
        run(preprocess, layout, PreprocessStage(**COMMON, preprocess={}), cases=cases, resolution=resolution)


def stage(method, *, seed_before=None) -> ExperimentStage:
    return ExperimentStage(**COMMON, experiment=method, seed_before=seed_before)


def learn(layout, experiment, method, fold="0", without=None) -> dict:
    folder = layout.model(experiment, fold, 1) if without is None else layout.pair(experiment, fold, without, 1)
    where = {"experiment": experiment, "fold": fold, "without": without, "seed": 1, "upstream": ""}
    run(train, layout, stage(method), **where, token=folder / "train.json")
    return read_json(folder / "train.json")


def label_cases(layout, experiment="cascade", fold="0", cases=CASES) -> None:
    settings = CrossfitStage(**COMMON, source="low", source_method=LOW, seed=1)
    run(crossfit, layout, settings, experiment=experiment, fold=fold, cases=cases)


def segment(layout, experiment, method, cases=FOLDS["0"]) -> None:
    seed = 1 if getattr(method, "cascade", None) else None
    run(predict, layout, stage(method, seed_before=seed), experiment=experiment, cases=cases)


def dice(layout, experiment, case, model=MODEL) -> float:
    found = store.read_volume(layout.prediction(experiment, model, case) / "raw.zarr").array
    return overlap(found, store.read_volume(layout.case(case) / "label.zarr").array)


def overlap(found, truth) -> float:
    """Mean Dice of both classes."""
    both = [((found == n), (truth == n)) for n in (1, 2)]
    return float(np.mean([2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) for ours, theirs in both]))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Cases in three folds, in both model spaces; the low networks of fold 0 and of its pairs."""
    layout = study_of(
        tmp_path_factory.mktemp("study"), *[case_of(name, fold=k) for k, names in FOLDS.items() for name in names]
    )
    for seed, name in enumerate(CASES):
        write_case(layout, name, seed)
    for k, names in FOLDS.items():
        write_json(layout.members(k), {"train": [n for n in CASES if n not in names], "validation": names})
    to_model_space(layout, CASES)
    learn(layout, "low", LOW)
    for other in ("1", "2"):
        learn(layout, "low", LOW, without=other)
    segment(layout, "low", LOW)
    return layout


@pytest.fixture(scope="module")
def trained(made):
    """The cascade of fold 0, and the same network alone."""
    label_cases(made)
    learn(made, "cascade", CASCADE)
    learn(made, "alone", ALONE)
    segment(made, "cascade", CASCADE)
    segment(made, "alone", ALONE)
    return made


@pytest.fixture
def layout(tmp_path, made):
    """A copy of it before anything of the cascade was made."""
    shutil.copytree(made.root, tmp_path / "study")
    shutil.rmtree(tmp_path / "study" / "experiments" / "cascade", ignore_errors=True)
    return Layout(tmp_path / "study")


# ---- low resolution -------------------------------------------------------------------------------------------------


def test_at_low_resolution_a_case_has_a_model_space_of_its_own_and_its_label_comes_back_to_the_native_grid(made):
    low, full = (made.prepared("p0_ct1", resolution) for resolution in ("low", "full"))
    assert store.read_grid(full).shape == GRID.shape
    assert store.read_grid(low).shape == (8, 8, 16)
    assert read_json(low.with_suffix(".json"))["stage"] == "preprocess"
    found = made.prediction("low", MODEL, "p0_ct1") / "raw.zarr"
    assert store.read_grid(found) == store.read_grid(made.case("p0_ct1") / "image.zarr")
    assert dice(made, "low", "p0_ct1") > 0.55


# ---- cascade --------------------------------------------------------------------------------------------------------


def test_a_cascade_tells_apart_what_a_patch_at_full_resolution_cannot(trained):
    cascade, alone = ([dice(trained, name, case) for case in FOLDS["0"]] for name in ("cascade", "alone"))
    assert min(cascade) > 0.85
    assert max(alone) < 0.75
    low = [dice(trained, "low", case) for case in FOLDS["0"]]
    assert np.mean(cascade) > np.mean(low)  # and it is finer than what it builds on


def test_who_labels_a_case_for_the_cascade_of_a_fold_has_seen_neither_of_both(made):
    for other in ("1", "2"):
        record = read_json(made.pair("low", "0", other, 1) / "train.json")
        assert set(record["members"]["train"]) == set(CASES) - {*FOLDS["0"], *FOLDS[other]}
        assert record["members"]["validation"] == []
    assert made.pair("low", "2", "0", 1) == made.pair("low", "0", "2", 1)


def test_labels_of_training_cases_need_nothing_of_held_out_cases(layout):
    for name in FOLDS["0"]:
        shutil.rmtree(layout.case(name))  # a trap: whoever opens a held-out case of fold 0 fails
    shutil.rmtree(layout.model("low", "0", 1))
    label_cases(layout, cases=[*FOLDS["1"], *FOLDS["2"]])
    before = store.open_array(layout.before("cascade", "0", "p3_ct1") / "before.zarr")[:]
    assert overlap(before, store.read_volume(layout.case("p3_ct1") / "label.zarr").array) > 0.5
    assert sorted(path.name for path in layout.before("cascade", "0", "p3_ct1").iterdir()) == [
        "before.json",
        "before.run.json",
        "before.zarr",
    ]


def test_a_network_that_learnt_a_case_may_not_label_it(layout):
    path = layout.pair("low", "0", "1", 1) / "train.json"
    record = read_json(path)
    write_json(path, record | {"members": {"train": FOLDS["1"], "validation": []}})
    with pytest.raises(StudyError, match="was learnt from by the network that shall label it"):
        label_cases(layout, cases=FOLDS["1"])


def test_it_is_trained_again_when_its_labels_change_and_only_then(layout):
    shorter = CASCADE.model_copy(update={"steps": 2})
    label_cases(layout)
    first = learn(layout, "cascade", shorter)
    label_cases(layout)
    assert learn(layout, "cascade", shorter) == first
    assert first["cascade"] == {"from": "low"}
    folder = layout.before("cascade", "0", "p3_ct1")
    write_json(folder / "before.json", read_json(folder / "before.json") | {"content": "sha256:another"})
    assert learn(layout, "cascade", shorter)["key"] != first["key"]


def test_a_training_without_its_labels_says_so(layout):
    with pytest.raises(StudyError, match="no label for case 'p3_ct1' to give to the cascade"):
        learn(layout, "cascade", CASCADE)


def test_a_case_that_was_refused_before_is_refused_by_the_cascade(trained, tmp_path):
    shutil.copytree(trained.root, tmp_path / "study")
    layout = Layout(tmp_path / "study")
    write_sidecar(layout.prediction("low", MODEL, "p0_ct1") / "raw.json", refused("predict", "MISSING_CHANNEL"))
    segment(layout, "cascade", CASCADE, ["p0_ct1"])
    record = read_json(layout.prediction("cascade", MODEL, "p0_ct1") / "raw.json")
    assert (record["status"], record["reason"]) == ("rejected", "MISSING_CHANNEL")


def test_nothing_is_left_of_what_stood_between(trained):
    folder = trained.prediction("cascade", MODEL, "p0_ct1")
    assert sorted(path.name for path in folder.iterdir()) == ["raw.json", "raw.run.json", "raw.zarr"]
    assert "before" in read_json(folder / "raw.json")["inputs"]


# ---- a package ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    values = {"low": LOW, "cascade": CASCADE, "alone": ALONE}
    settings = {
        "study": "balls",
        "cohort": {"labels": {"values": {"left": 1, "right": 2}, "kind": "files", "files": "x"}},
        "split": {"folds": 3},
        "plan": {key: list(value) if isinstance(value, tuple) else value for key, value in PLAN.items()},
        "experiments": {name: one.model_dump(mode="json") for name, one in values.items()},
    }
    import yaml

    write_text(trained.settings, yaml.safe_dump(settings))
    folder = tmp_path_factory.mktemp("models") / "balls"
    package.run(argparse.Namespace(study=trained.root, experiment="cascade", folder=folder))
    return folder


def test_a_package_of_a_cascade_holds_the_networks_before_it_and_says_so(model):
    listed = read_json(model / "model.json")
    assert list(listed["weights"]) == ["fold-0-seed-1.safetensors"]
    assert list(listed["cascade"]["weights"]) == ["low-fold-0-seed-1.safetensors"]
    assert "1 networks\nof low resolution" in (model / "README.md").read_text()
    assert "low_resolution" in read_json(model / "plan.json")


def test_another_study_runs_the_chain_by_itself_and_finds_what_the_study_found(model, trained, tmp_path):
    layout = study_of(tmp_path, case_of("q1_ct1"))
    write_case(layout, "q1_ct1", 0)  # the same image as p0_ct1
    to_model_space(layout, ["q1_ct1"], plan={}, model=model)
    method = PretrainedMethod(method="pretrained", model=model, overlap=0.25)
    segment(layout, "finished", method, ["q1_ct1"])
    folder = layout.prediction("finished", *split_unit("untrained/q1_ct1"))
    np.testing.assert_array_equal(
        store.open_array(folder / "raw.zarr")[:],
        store.open_array(trained.prediction("cascade", MODEL, "p0_ct1") / "raw.zarr")[:],
    )
    inputs = read_json(folder / "raw.json")["inputs"]
    weights = {"weights fold-0-seed-1.safetensors", "before weights low-fold-0-seed-1.safetensors"}
    assert {*weights, "before"} <= set(inputs)
    assert sorted(path.name for path in folder.iterdir()) == ["raw.json", "raw.run.json", "raw.zarr"]


def test_a_package_of_low_resolution_alone_predicts_at_low_resolution(made, model, tmp_path):
    folder = tmp_path / "low"
    package.run(argparse.Namespace(study=made.root, experiment="low", folder=folder))
    assert read_json(folder / "model.json")["resolution"] == "low"
    layout = study_of(tmp_path / "study", case_of("q1_ct1"))
    write_case(layout, "q1_ct1", 0)
    to_model_space(layout, ["q1_ct1"], plan={}, model=folder)
    segment(layout, "finished", PretrainedMethod(method="pretrained", model=folder, overlap=0.25), ["q1_ct1"])
    np.testing.assert_array_equal(
        store.open_array(layout.prediction("finished", "untrained", "q1_ct1") / "raw.zarr")[:],
        store.open_array(made.prediction("low", MODEL, "p0_ct1") / "raw.zarr")[:],
    )


def test_cases_that_are_listed_with_their_sources_stay_so():
    both = [{"train": {"a": "1", "b": "2"}, "validation": {"c": "3"}}, {"train": {"b": "2", "c": "3"}}]
    assert pair_members(*both) == {"train": {"b": "2"}, "validation": []}
    assert pair_members({"train": ["a", "b"]}, {"train": ["b", "c"]}) == {"train": ["b"], "validation": []}

"""Learning from labels that are no references: whose they are, who has seen what, and noise that is smoothed."""

import shutil

import numpy as np
import pytest
from study_by_hand import refused, sidecar_of, write_sidecar
from test_channels import CASES, CHANNELS, GRID, HELD_OUT, MODEL, WITH_BOTH, prepare, run, study_with_channels

from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.settings import ThresholdMethod, UNetMethod
from cohortseg.settings.learned import ForestMethod
from cohortseg.stages import ExperimentStage, PseudoLabelStage
from cohortseg.steps import predict, pseudolabel, train
from cohortseg.steps.taught import kept_subjects
from cohortseg.volume import Volume

TRAINING = WITH_BOTH[:2]
NETWORK = {
    **{"method": "unet", "features": (8, 16), "steps": 60, "batch": 8, "validate_every": 60, "augmentation": "light"},
    "foreground_share": 0.0,
}
OTSU = ThresholdMethod(method="threshold", channel="pet")
SALT = 0.2


def truth_of(layout, name: str) -> np.ndarray:
    return store.read_volume(layout.case(name) / "label.zarr").array


def salted(layout, name: str, seed: int) -> np.ndarray:
    """The reference with a fifth of all voxels set."""
    label = truth_of(layout, name).copy()
    label[np.random.default_rng(seed).random(label.shape) < SALT] = 1
    return label


def write_raw(layout, experiment: str, name: str, array: np.ndarray) -> None:
    folder = layout.prediction(experiment, "untrained", name)
    content = store.write_volume(folder / "raw.zarr", Volume(array.astype(np.uint8), GRID), name="label")
    write_sidecar(folder / "raw.json", sidecar_of("predict", content))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study in model space whose experiment `salt` has a noisy label for each case; folds 0 and 1."""
    layout = study_with_channels(tmp_path_factory.mktemp("study"))
    prepare(layout)
    write_json(layout.members("1"), {"train": WITH_BOTH[2:], "validation": TRAINING})
    for seed, name in enumerate(CASES):
        write_raw(layout, "salt", name, salted(layout, name, seed))
    return layout


@pytest.fixture
def layout(tmp_path, made):
    shutil.copytree(made.root, tmp_path / "study")
    return type(made)(tmp_path / "study")


def stage(source="salt", method=OTSU, *, in_model_space=True, cleaning=None) -> PseudoLabelStage:
    return PseudoLabelStage(
        classes=["lesion"],
        channels=CHANNELS,
        source=source,
        source_method=method,
        cleaning=cleaning,
        in_model_space=in_model_space,
    )


def label_cases(layout, experiment, settings, fold="0", cases=TRAINING, tuned=None) -> None:
    token = layout.token("pseudolabel", f"fold-{fold}-b0001", experiment)
    more = {"experiment": experiment, "fold": fold, "cases": cases, "tuned": tuned, "token": token}
    run(pseudolabel, layout, settings, **more)


def learn(layout, experiment, method, fold="0"):
    settings = ExperimentStage(classes=["lesion"], channels=CHANNELS, experiment=method)
    token = layout.model(experiment, fold, 1) / "train.json"
    run(train, layout, settings, experiment=experiment, fold=fold, seed=1, upstream="", token=token)
    return read_json(token)


def segment(layout, experiment, method, cases) -> None:
    settings = ExperimentStage(classes=["lesion"], channels=CHANNELS, experiment=method)
    run(predict, layout, settings, experiment=experiment, cases=cases)


def error(label: np.ndarray, truth: np.ndarray) -> float:
    return float((label != truth).mean())


def test_a_network_that_learnt_from_salted_labels_errs_less_than_they_do_and_so_does_a_second_round(layout):
    first = UNetMethod(**NETWORK, labels_from="salt")
    label_cases(layout, "round-1", stage())
    record = learn(layout, "round-1", first)
    assert record["labels"]["from"] == "salt"
    assert sorted(record["labels"]["pseudo"]) == TRAINING
    assert record["labels"]["reference"] == []
    seen = [name for name in HELD_OUT if name in WITH_BOTH]
    segment(layout, "round-1", first, seen)
    label_error = np.mean([error(salted(layout, name, n), truth_of(layout, name)) for n, name in enumerate(CASES)])
    assert label_error == pytest.approx(SALT, abs=0.06)

    def own_error(experiment: str) -> float:
        found = [store.read_volume(layout.prediction(experiment, MODEL, name) / "raw.zarr").array for name in seen]
        return float(np.mean([error(label, truth_of(layout, name)) for label, name in zip(found, seen, strict=True)]))

    assert own_error("round-1") < label_error / 2
    # What round two is taught is what the model of the same fold says of its own training cases.
    second = UNetMethod(**NETWORK, labels_from="round-1")
    label_cases(layout, "round-2", stage("round-1", first))
    learn(layout, "round-2", second)
    segment(layout, "round-2", second, seen)
    assert own_error("round-2") < label_error / 2
    taught = store.open_array(layout.pseudo("round-2", "0", TRAINING[0]) / "model-label.zarr")[:]
    assert error(taught, truth_of(layout, TRAINING[0])) < label_error / 2
    assert not layout.prediction("round-1", MODEL, TRAINING[0]).exists()
    assert list((layout.root / ".scratch").iterdir()) == []


def test_the_label_in_model_space_is_that_of_the_source_with_voxels_to_centre_patches_on(layout):
    label_cases(layout, "student", stage())
    folder = layout.pseudo("student", "0", TRAINING[0])
    label = np.asarray(store.open_array(folder / "model-label.zarr")[:])
    np.testing.assert_array_equal(label, salted(layout, TRAINING[0], 0))  # model grid and native grid are the same here
    rows = np.asarray(store.open_array(folder / "model-label.zarr", "foreground")[:])
    assert (label[tuple(rows[:, 1:].T)] == rows[:, 0]).all()
    assert read_json(folder / "pseudo.json")["n_voxels"] == label.sum()


def test_labels_are_cleaned_as_the_settings_name_it(layout):
    from cohortseg.settings import PostprocessSettings

    array = truth_of(layout, TRAINING[0]).copy()
    array[0, 0, 0] = 1
    write_raw(layout, "salt", TRAINING[0], array)
    label_cases(layout, "student", stage(in_model_space=False, cleaning=PostprocessSettings(keep="largest")))
    folder = layout.pseudo("student", "0", TRAINING[0])
    np.testing.assert_array_equal(store.read_volume(folder / "label.zarr").array, truth_of(layout, TRAINING[0]))


def test_held_out_cases_are_refused_and_not_opened_by_any_round(layout):
    for name in HELD_OUT:
        shutil.rmtree(layout.case(name))  # a trap: whoever looks at a held-out case of fold 0 fails
        shutil.rmtree(layout.prediction("salt", "untrained", name))
    # Of its own fold, and of the test set.
    for name in ("p3_ct1", "p4_ct1"):
        with pytest.raises(StudyError, match=f"keeps {name} out"):
            label_cases(layout, "round-1", stage(), cases=[*TRAINING, name])
    method = ForestMethod(method="forest", channel="pet", labels_from="salt", trees=3)
    label_cases(layout, "round-1", stage(in_model_space=False))
    learn(layout, "round-1", method)
    again = ForestMethod(method="forest", channel="pet", labels_from="round-1", trees=3)
    label_cases(layout, "round-2", stage("round-1", method, in_model_space=False))
    assert sorted(learn(layout, "round-2", again)["labels"]["pseudo"]) == TRAINING


def test_a_searched_source_uses_the_settings_of_the_fold_that_learns(layout):
    tuned = layout.tuned("window", "0")
    write_json(tuned, {"settings": {"low": 100.0}})
    window = ThresholdMethod(method="threshold", rule="fixed", low=3.0, channel="pet")
    label_cases(layout, "student", stage("window", window, in_model_space=False), tuned=tuned)
    folder = layout.pseudo("student", "0", TRAINING[0])
    assert read_json(folder / "pseudo.json")["n_voxels"] == 0  # nothing is above 100
    write_json(tuned, {"settings": {"low": 3.0}})
    label_cases(layout, "student", stage("window", window, in_model_space=False), tuned=tuned)
    assert error(store.read_volume(folder / "label.zarr").array, truth_of(layout, TRAINING[0])) < 0.01


def test_a_case_for_which_the_source_has_no_label_is_left_out(layout):
    folder = layout.prediction("salt", "untrained", TRAINING[0])
    write_sidecar(folder / "raw.json", refused("predict", "MISSING_CHANNEL"))
    label_cases(layout, "student", stage(in_model_space=False))
    method = ForestMethod(method="forest", channel="pet", labels_from="salt", trees=3)
    assert learn(layout, "student", method)["members"]["train"] == TRAINING[1:]


def test_a_model_is_trained_again_when_its_labels_change_and_only_then(layout):
    method = ForestMethod(method="forest", channel="pet", labels_from="salt", trees=3)
    label_cases(layout, "student", stage(in_model_space=False))
    first = learn(layout, "student", method)
    label_cases(layout, "student", stage(in_model_space=False))
    assert learn(layout, "student", method) == first
    write_raw(layout, "salt", TRAINING[0], truth_of(layout, TRAINING[0]))
    label_cases(layout, "student", stage(in_model_space=False))
    assert learn(layout, "student", method)["key"] != first["key"]


def test_a_share_of_the_subjects_keeps_its_references_and_the_same_in_every_fold(layout):
    label_cases(layout, "student", stage(in_model_space=False))
    method = ForestMethod(method="forest", channel="pet", labels_from="salt", reference_share=1.0, trees=3)
    assert learn(layout, "student", method)["labels"] == {"from": "salt", "pseudo": {}, "reference": TRAINING}
    half = [kept_subjects(layout, read_json(layout.members(fold)), 0.5) for fold in "01"]
    assert half[0] == half[1]
    assert len(half[0]) == 2
    kept = [name for name in TRAINING if name.partition("_")[0] in half[0]]
    record = learn(layout, "student", method.model_copy(update={"reference_share": 0.5}))
    assert record["labels"]["reference"] == kept
    assert sorted(record["labels"]["pseudo"]) == [name for name in TRAINING if name not in kept]


def test_a_case_without_a_reference_can_be_learnt_from(layout):
    image = read_json(layout.case(TRAINING[0]) / "image.json")
    write_json(layout.case(TRAINING[0]) / "image.json", image | {"contents": {**image["contents"], "label": None}})
    shutil.rmtree(layout.case(TRAINING[0]) / "label.zarr")
    label_cases(layout, "student", stage(in_model_space=False))
    method = ForestMethod(method="forest", channel="pet", labels_from="salt", reference_share=1.0, trees=3)
    record = learn(layout, "student", method)
    assert record["members"]["train"] == TRAINING
    assert list(record["labels"]["pseudo"]) == TRAINING[:1]


def test_labels_that_are_not_there_are_asked_for(layout):
    method = ForestMethod(method="forest", channel="pet", labels_from="salt", trees=3)
    with pytest.raises(StudyError, match="run the workflow again"):
        learn(layout, "student", method)

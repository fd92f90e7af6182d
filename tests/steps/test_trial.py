"""Trials and what is chosen from them: a planted optimum is found, held-out cases stay shut, nothing is done twice."""

import argparse
import json
import shutil

import numpy as np
import pytest
from study_by_hand import case_of, sidecar_of, study_of, write_sidecar

from cohortseg.cohort import inner_folds, read_cases
from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import digest, read_json, run_path, write_json
from cohortseg.layout import TEST, Layout
from cohortseg.settings import load_study
from cohortseg.stages import FingerprintStage, PlanStage, PreprocessStage, TrialStage, stage_settings
from cohortseg.steps import fingerprint, plan, predict, preprocess, survey, train, trial, tune
from cohortseg.steps.trial_table import trial_table
from cohortseg.steps.tuning import searched_folds, write_inner_folds
from cohortseg.train.loop import Interrupted
from cohortseg.volume import Grid, Volume

GRID = Grid((3, 24, 21), (4.0, 0.9, 1.1), (-31.0, 12.5, 47.25))
TRAIN, HELD_OUT, TESTED = ["p1_ct1", "p1_ct2", "p2_ct1", "p3_ct1", "p4_ct1"], ["p5_ct1", "p6_ct1"], ["p7_ct1"]
WINDOW = {"method": "threshold", "rule": "fixed", "low": 0, "high": 200}
NET = {"method": "unet", "features": [4, 8], "steps": 3, "batch": 2, "validate_every": 3, "augmentation": "none"}
FOREST = {"method": "forest", "trees": 3, "depth": 6, "per_class": 40, "scales_mm": [1.0]}
LIMITS = {"low": {"low": 0, "high": 95}, "high": {"low": 96, "high": 200}}


def write_case(layout: Layout, name: str, seed: int) -> None:
    """Ground 0 to 49, an object of 50 to 99, and a brighter one of 100 to 149 that is not meant."""
    draw = np.random.default_rng(seed)
    label = np.zeros(GRID.shape, np.uint8)
    y, x = draw.integers(2, 8, 2)
    label[:, y : y + 7, x : x + 9] = 1
    image = draw.integers(0, 50, GRID.shape) + 50 * label
    image[:, 18:22, 2:15] += 100
    folder = layout.case(name)
    contents = {
        "image": store.write_volume(folder / "image.zarr", Volume(image.astype(np.int16), GRID)),
        "label": store.write_volume(folder / "label.zarr", Volume(label, GRID), name="label"),
    }
    channels = {"ct": {"modality": "CT", "unit": "HU"}}
    facts = {"modality": "CT", "grid": GRID.as_dict(), "channels": channels, "missing_channels": []}
    write_sidecar(
        folder / "image.json", sidecar_of("convert", digest(list(contents.values())), contents=contents, facts=facts)
    )


def study_with(tune: dict, **more):
    values = {
        "study": "s",
        "cohort": {"source": ".", "series": {"modality": "CT"}, "labels": {"structures": {"object": "GTV"}}},
        "split": {"folds": 2, "test_fraction": 0.1},
        "plan": {"dims": 2, "patch_voxels": 4096},
        "experiments": {"window": WINDOW, "net": NET, "forest": FOREST},
        "tune": tune,
    }
    return load_study(values | more)


def place(root, study) -> Layout:
    """The study's folder: fold 0 keeps two subjects out, one more is for the test."""
    folds = dict.fromkeys(TRAIN, "1") | dict.fromkeys(HELD_OUT, "0") | dict.fromkeys(TESTED, TEST)
    layout = study_of(root, *(case_of(name, fold=fold) for name, fold in folds.items()))
    for seed, name in enumerate(folds):
        write_case(layout, name, seed)
    write_json(layout.members("0"), {"train": TRAIN, "validation": HELD_OUT})
    settle(layout, study)
    return layout


def settle(layout, study) -> None:
    write_inner_folds(layout, study, read_json(layout.ledger), read_cases(layout.cases_table))


@pytest.fixture
def layout(tmp_path):
    return place(tmp_path, study_with({"window": {"space": LIMITS}}))


def attempt(layout, study, number, experiment="window", fold="0", **more) -> dict:
    token = layout.token("trial", f"fold-{fold}-{number:03d}", experiment)
    given = {"study": layout, "settings": stage_settings(study, "trial", experiment), "experiment": experiment}
    given |= {"fold": fold, "number": number, "threads": 1, "upstream": "", "token": token}
    trial.run(argparse.Namespace(**(given | more)))
    assert token.exists()
    return read_json(layout.trial(experiment, fold, number))


def search(layout, study, experiment="window", fold="0") -> list[dict]:
    settle(layout, study)
    return [attempt(layout, study, number, experiment, fold) for number in range(study.n_trials[experiment])]


def choose(layout, n_trials, experiment="window", fold="0") -> dict:
    token = layout.tuned(experiment, fold)
    tune.run(argparse.Namespace(study=layout, experiment=experiment, fold=fold, trials=n_trials, token=token))
    return read_json(token)


# ---- the planted optimum --------------------------------------------------------------------------------------------


def test_a_grid_finds_exactly_the_planted_settings(layout):
    space = {"low": [0, 30, 49.5, 70], "high": {"low": 99.5, "high": 199.5, "points": 5}}
    records = search(layout, study := study_with({"window": {"search": "grid", "space": space}}))
    assert len(records) == 20
    assert choose(layout, study.n_trials["window"]) == {"settings": {"low": 49.5, "high": 99.5}}
    scores = {(one["settings"]["low"], one["settings"]["high"]): one["score"] for one in records}
    assert scores[49.5, 99.5] == 1.0
    assert sum(score == 1.0 for score in scores.values()) == 1


def test_random_and_bayesian_searches_come_near_and_the_second_nearer(layout):
    found = {}
    for kind in ("random", "bayes"):
        options = {"search": kind, "trials": 24, "at_once": 3, "space": LIMITS}
        records = search(layout, study_with({"window": options}))
        found[kind] = max(one["score"] for one in records)
        assert records[0]["settings"] == {"low": 0, "high": 200}, "as written"
        assert records[0]["score"] < 0.5
    assert found["random"] > 0.7
    assert found["bayes"] > max(0.9, found["random"])


def test_the_cleaned_label_is_scored_unless_the_raw_one_is_asked_for(layout):
    options = {"search": "grid", "space": {"low": [49.5]}}
    cleaned = {"postprocess": {"keep": "largest"}}
    wide = {"experiments": {"window": WINDOW | {"high": 500}}}
    (post,) = search(layout, study_with({"window": options}, **wide, **cleaned))
    (raw,) = search(layout, study_with({"window": options | {"stage": "raw"}}, **wide, **cleaned))
    assert post["score"] > raw["score"]


# ---- nested ---------------------------------------------------------------------------------------------------------


def test_the_inner_split_holds_training_subjects_only_and_each_once():
    subjects = {name: name.partition("_")[0] for name in TRAIN}
    found = inner_folds(TRAIN, subjects, folds=3, seed=1)
    assert sorted(name for part in found for name in part["validation"]) == TRAIN
    for part in found:
        assert sorted(part["train"] + part["validation"]) == TRAIN
        assert not {subjects[name] for name in part["train"]} & {subjects[name] for name in part["validation"]}
    assert found == inner_folds(reversed(TRAIN), subjects, folds=3, seed=1)
    assert any(found != inner_folds(TRAIN, subjects, folds=3, seed=seed) for seed in (2, 3, 4))


def test_a_method_that_learns_nothing_is_scored_on_all_training_cases_and_no_other(layout):
    record = attempt(layout, study_with({"window": {"space": LIMITS}}), 0)
    assert [sorted(part) for part in record["inner"]] == [TRAIN]
    assert record["n_cases"] == len(TRAIN)
    assert record["n_trained_on"] == [0]


def test_held_out_cases_are_not_opened_by_a_search_and_change_nothing_in_it(tmp_path):
    study = study_with({"window": {"space": LIMITS, "trials": 3}})
    with_all, without = (place(tmp_path / name, study) for name in ("all", "without"))
    for name in [*HELD_OUT, *TESTED]:
        shutil.rmtree(without.case(name))
        without.case(name).write_text("whoever opens a file of this case fails")
    assert search(with_all, study) == search(without, study)


def test_a_method_without_weights_is_searched_once_more_for_the_test_set_and_a_network_is_not(layout):
    study = study_with(
        {name: {"space": {"low" if name == "window" else "batch": [1, 2]}} for name in ("window", "net")}
    )
    settle(layout, study)
    assert searched_folds(study, "window") == ["0", "1", TEST]
    assert searched_folds(study, "net") == ["0", "1"]
    record = attempt(layout, study, 0, fold=TEST)
    assert sorted(record["inner"][0]) == sorted([*TRAIN, *HELD_OUT])
    assert not layout.inner("net", TEST).exists()


def test_splits_of_searches_that_are_no_more_are_removed(layout):
    assert layout.inner("window", "0").exists()
    settle(layout, study_with({}))
    assert not list(layout.members("0").parent.glob("*inner*"))
    assert layout.members("0").exists()


# ---- increments -----------------------------------------------------------------------------------------------------


def times(layout):
    return {path.name: path.stat().st_mtime_ns for path in layout.trial("window", "0", 0).parent.glob("trial-*")}


def test_a_search_that_was_cut_off_goes_on_with_the_same_trials_bit_for_bit(tmp_path):
    study = study_with({"window": {"space": LIMITS, "trials": 9, "at_once": 2, "startup": 2}})
    whole, cut = (place(tmp_path / name, study) for name in ("whole", "cut"))
    search(whole, study)
    for number in (1, 0, 3, 2, 4):  # the second of a round first, then the machine goes down within a round
        attempt(cut, study, number)
    search(cut, study)
    for number in range(9):
        paths = [one.trial("window", "0", number) for one in (whole, cut)]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_was_tried_is_not_tried_again_and_more_trials_leave_the_others_alone(layout):
    options = {"space": LIMITS, "trials": 4, "at_once": 2, "startup": 2}
    search(layout, study_with({"window": options}))
    before = times(layout)
    search(layout, study_with({"window": options}))
    assert times(layout) == before
    search(layout, study_with({"window": options | {"trials": 6}}))
    assert {name: times(layout)[name] for name in before} == before
    assert len(times(layout)) > len(before)


def test_another_metric_tries_again_and_another_seed_tries_something_else(layout):
    options = {"space": LIMITS, "trials": 2}
    first = search(layout, study_with({"window": options}))
    other = search(layout, study_with({"window": options | {"metric": "jaccard"}}))
    assert [one["settings"] for one in first] == [one["settings"] for one in other]
    assert all(a["score"] > b["score"] for a, b in zip(first, other, strict=True))
    seeded = search(layout, study_with({"window": options | {"seed": 2}}))
    assert seeded[1]["settings"] != first[1]["settings"]


def test_a_proposal_that_was_made_before_takes_over_its_result(layout):
    space = {"low": [0, 49.5], "high": [99.5]}
    records = search(layout, study_with({"window": {"space": space, "trials": 6, "at_once": 1, "startup": 1}}))
    assert len({json.dumps(one["settings"]) for one in records}) == 2
    copied = [one for one in records if "same_as" in one]
    assert len(copied) == 4
    for one in copied:
        assert one["score"] == records[one["same_as"]]["score"]


# ---- failures -------------------------------------------------------------------------------------------------------


def test_settings_that_cannot_be_together_make_a_failed_trial_with_the_reason(layout, monkeypatch):
    monkeypatch.setattr("cohortseg.settings.tune.MOST_CORNERS", 1)
    study = study_with({"window": {"search": "grid", "space": {"low": [10, 90], "high": [80]}}})
    records = search(layout, study)
    assert [one["status"] for one in records] == ["ok", "failed"]
    assert records[1]["score"] is None
    assert records[1]["reason"] == "low must be below high, got 90.0 and 80.0"
    assert choose(layout, 2) == {"settings": {"low": 10, "high": 80}}


def test_a_search_in_which_nothing_succeeded_or_that_is_not_done_says_so(layout, monkeypatch):
    monkeypatch.setattr("cohortseg.settings.tune.MOST_CORNERS", 0)
    search(layout, study_with({"window": {"search": "grid", "space": {"low": [90], "high": [80]}}}))
    with pytest.raises(StudyError, match="none of 1 trials succeeded, the first because low must be"):
        choose(layout, 1)
    with pytest.raises(StudyError, match="2 trials are missing"):
        choose(layout, 3)


def test_of_equal_trials_the_first_is_chosen(layout):
    search(layout, study_with({"window": {"search": "grid", "space": {"low": [49.5], "high": [99.6, 99.5, 99.7]}}}))
    assert choose(layout, 3)["settings"]["high"] == 99.6


def test_a_training_part_without_labels_says_so(layout):
    for name in TRAIN:
        record = read_json(layout.case(name) / "image.json")
        write_json(layout.case(name) / "image.json", record | {"contents": record["contents"] | {"label": None}})
    with pytest.raises(StudyError, match="no labelled case to score on, of 5 cases"):
        attempt(layout, study_with({"window": {"space": LIMITS}}), 0)


def test_a_search_that_the_index_does_not_know_yet_says_what_to_do(layout):
    with pytest.raises(StudyError, match="no inner folds of experiment 'net', fold 0: run `cohortseg index` first"):
        attempt(layout, study_with({"net": {"space": {"batch": [1, 2]}}}), 0, "net")


# ---- what is chosen is used -----------------------------------------------------------------------------------------


def test_a_fold_is_segmented_with_its_own_settings_and_again_when_they_change(layout):
    study = study_with({"window": {"search": "grid", "space": {"low": [0, 49.5], "high": [99.5]}}})
    search(layout, study)
    choose(layout, 2)

    def segment(tuned):
        given = {"study": layout, "settings": stage_settings(study, "predict", "window"), "experiment": "window"}
        given |= {"cases": HELD_OUT, "threads": 1, "token": layout.root / "token.json", "tuned": tuned}
        predict.run(argparse.Namespace(**given))
        return store.read_volume(layout.prediction("window", "untrained", HELD_OUT[0]) / "raw.zarr").array

    reference = store.read_volume(layout.case(HELD_OUT[0]) / "label.zarr").array
    assert not np.array_equal(segment(None), reference)
    np.testing.assert_array_equal(segment(layout.tuned("window", "0")), reference)
    write_json(layout.tuned("window", "0"), {"settings": {"low": 100, "high": 120}})
    assert not np.array_equal(segment(layout.tuned("window", "0")), reference)


def test_the_table_names_every_trial_and_the_chosen_one(layout):
    space = {"low": [0, 49.5], "high": [99.5]}
    search(layout, study_with({"window": {"search": "grid", "space": space}}))
    choose(layout, 2)
    table = trial_table(layout, {"window": 2})
    assert table[["experiment", "fold", "trial", "status", "is_chosen"]].to_numpy().tolist() == [
        ["window", "0", 0, "ok", ""],
        ["window", "0", 1, "ok", "yes"],
    ]
    assert [json.loads(text) for text in table["settings"]] == [{"low": 0, "high": 99.5}, {"low": 49.5, "high": 99.5}]
    assert table["score"].tolist()[1] == 1.0
    assert trial_table(layout, {}).empty
    assert len(trial_table(layout, {"window": 1})) == 1, "what a longer search left behind is not listed"


# ---- learners and networks ------------------------------------------------------------------------------------------


def test_a_learner_is_fitted_on_the_inner_training_part_and_its_chosen_settings_are_those_of_the_fold(layout):
    options = {"search": "grid", "space": {"depth": [1, 6]}, "inner_folds": 2}
    study = study_with({"forest": options})
    for name in [*HELD_OUT, *TESTED]:
        shutil.rmtree(layout.case(name))
        layout.case(name).write_text("whoever opens a file of this case fails")
    shallow, deep = search(layout, study, "forest")
    (inner,) = read_json(layout.inner("forest", "0"))["folds"]
    assert sorted(deep["inner"][0]) == inner["validation"]
    assert deep["n_trained_on"] == [len(inner["train"])]
    assert deep["score"] > shallow["score"]
    assert choose(layout, 2, "forest") == {"settings": {"depth": 6}}
    for name in [*HELD_OUT, *TESTED]:
        layout.case(name).unlink()
    record = read_json(train_fold(layout, study, layout.tuned("forest", "0"), "forest", settings_of="forest"))
    assert record["tuned"] == {"depth": 6}


def prepare(layout, study) -> None:
    """Everything up to model space, of all cases: that is not what a search does."""
    cases = [*TRAIN, *HELD_OUT, *TESTED]
    common = {"classes": ["object"], "channels": ["image"]}

    def run(step, settings):
        given = {"study": layout, "settings": settings.model_dump_json(), "cases": cases, "threads": 1}
        step.run(argparse.Namespace(**given, token=layout.root / "token.json"))

    run(fingerprint, FingerprintStage(**common))
    survey.run(argparse.Namespace(study=layout))
    run(plan, PlanStage(**common, plan=study.plan, model=None))
    run(preprocess, PreprocessStage(**common, preprocess={}))


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A network's search of learning rates, one of which is absurd; held-out cases are gone before it begins."""
    space = {"learning_rate": [1e-2, 1e30], "loss": ["dice_ce"]}
    study = study_with({"net": {"search": "grid", "space": space, "inner_folds": 2, "scored_folds": 2, "steps": 2}})
    layout = place(tmp_path_factory.mktemp("networks"), study)
    prepare(layout, study)
    for name in [*HELD_OUT, *TESTED]:
        shutil.rmtree(layout.case(name))
        layout.case(name).write_text("whoever opens a file of this case fails")
    return layout, study, search(layout, study, "net")


def test_a_network_is_trained_and_scored_on_inner_folds_without_the_held_out_cases(networks):
    layout, _, records = networks
    inner = read_json(layout.inner("net", "0"))["folds"]
    assert [sorted(part) for part in records[0]["inner"]] == [part["validation"] for part in inner]
    assert records[0]["n_trained_on"] == [len(part["train"]) for part in inner]
    assert 0 <= records[0]["score"] <= 1
    assert run_path(layout.trial("net", "0", 0)).exists()


def test_a_training_that_diverges_is_a_failed_trial(networks):
    layout, _, records = networks
    assert records[1]["status"] == "failed"
    assert records[1]["reason"] == "the loss is no longer finite at step 2: lower the learning rate"
    assert choose(layout, 2, "net")["settings"] == {"learning_rate": 1e-2, "loss": "dice_ce"}


def test_nothing_but_records_is_left_of_a_trial(networks):
    left = {path.name for path in networks[0].trial("net", "0", 0).parent.iterdir()} - {"tuned.json"}
    assert left == {f"trial-{number:03d}{end}" for number in (0, 1) for end in (".json", ".run.json")}


def test_a_trial_repeated_gives_the_same_bytes(networks):
    layout, study, _ = networks
    path = layout.trial("net", "0", 0)
    before = path.read_bytes()
    path.unlink()
    attempt(layout, study, 0, "net")
    assert path.read_bytes() == before


def test_a_trial_that_was_asked_to_stop_keeps_what_it_needs_to_go_on_and_has_no_score(networks, monkeypatch):
    layout, study, _ = networks
    path = layout.trial("net", "0", 0)
    before = path.read_bytes()
    path.unlink()

    def stopped(pieces, folder, *_):
        (folder / "resume.pt").write_text("half a training")
        raise Interrupted("SIGTERM after step 1 of 2")

    with monkeypatch.context() as patched:
        patched.setattr(train, "fit", stopped)
        with pytest.raises(Interrupted):
            attempt(layout, study, 0, "net")
    assert not path.exists()
    assert (path.with_suffix(".scratch") / "inner-0" / "resume.pt").exists()
    (path.with_suffix(".scratch") / "inner-0" / "resume.pt").unlink()  # this one cannot be read; a real one is
    attempt(layout, study, 0, "net")
    assert path.read_bytes() == before
    assert not path.with_suffix(".scratch").exists()


def test_the_network_of_the_fold_is_trained_with_the_chosen_settings_and_its_own_steps(networks):
    layout, study, _ = networks
    choose(layout, 2, "net")
    for name in [*HELD_OUT, *TESTED]:
        layout.case(name).unlink(missing_ok=True)  # a training draws its curve on held-out cases, where they are
    tuned, plain = (
        read_json(train_fold(layout, study, path, name))
        for path, name in ((layout.tuned("net", "0"), "net"), (None, "plain"))
    )
    assert tuned["tuned"] == {"learning_rate": 1e-2, "loss": "dice_ce"}
    assert "tuned" not in plain
    assert tuned["steps"] == NET["steps"]
    assert tuned["weights"] != plain["weights"]


def train_fold(layout, study, tuned, experiment, settings_of="net"):
    token = layout.model(experiment, "0", 1) / "train.json"
    given = {"study": layout, "settings": stage_settings(study, "train", settings_of), "experiment": experiment}
    train.run(argparse.Namespace(**given, threads=1, fold="0", seed=1, upstream="", token=token, tuned=tuned))
    return token


def test_what_is_found_where_nobody_judged_costs_a_trial_nothing(tmp_path):
    layout, name = Layout(tmp_path / "s"), "p1_ct1"
    write_case(layout, name, 1)
    path, target = layout.case(name) / "label.zarr", tmp_path / "found.zarr"
    reference = store.read_volume(path).array.copy()
    reference[:, 18:22, 2:15] = 255
    store.write_volume(path, Volume(reference, GRID), name="label")
    store.write_volume(target, Volume((reference > 0).astype(np.uint8), GRID), name="label")
    study = study_with({"window": {"space": LIMITS, "stage": "raw"}})
    settings = TrialStage.model_validate_json(stage_settings(study, "trial", "window"))
    assert trial._score(layout, settings, name, target) == [1.0]

"""Choosing on validation folds, through the steps: planted islands, nesting, thresholds, and missing data."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from study_by_hand import GRID, case_of, sidecar_of, study_of, write_case, write_sidecar, write_token

from cohortseg.io import store
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.layout import Layout
from cohortseg.metrics.choice import Judged
from cohortseg.metrics.probabilities import histogram
from cohortseg.postprocess.chain import NOTHING
from cohortseg.settings import PostprocessSettings
from cohortseg.stages import CandidatesStage, ChooseStage, PostprocessStage
from cohortseg.steps import candidates, choose, postprocess, threshold
from cohortseg.steps.choice_tables import choice_tables
from cohortseg.steps.chosen import decide
from cohortseg.steps.model_space import PACKAGE_FORMAT
from cohortseg.steps.units import units_of
from cohortseg.volume import Volume

CLASSES = ["organ", "lesions"]
AS_IT_IS = {name: dict(NOTHING) for name in CLASSES}
FOLDS = 3
Pair = tuple[np.ndarray, np.ndarray]
"""Prediction and reference."""


def blank() -> np.ndarray:
    return np.zeros(GRID.shape, np.uint8)


def organ_with_island(number: int) -> Pair:
    """A false island of the organ; two true lesions, both found."""
    reference = blank()
    reference[1:4, 1:5, 0:3] = 1
    reference[0, 0, 5] = reference[4, 6, 5] = 2
    prediction = reference.copy()
    prediction[0:1, 6, 0 : 2 + number % 2] = 1
    return prediction, reference


def study_in_folds(root: Path, pairs: dict[str, Callable[[int], Pair]], *, per_fold: int = 2, **more) -> Layout:
    """Cases of some folds, predicted by the model of their fold, as `convert` and `predict` leave them."""
    cases = [
        case_of(f"sub-{fold}{number}_ct1", fold=fold, fold_batch=f"f{fold}-b0001")
        for fold in pairs
        for number in range(per_fold)
    ]
    layout = study_of(root, *cases)
    places = {case.case: {"subject": case.subject, "fold": case.fold, "role": "cohort"} for case in cases}
    write_json(layout.ledger, {"split": {"folds": FOLDS, "seed": 1}, "cases": places})
    for fold in map(str, range(FOLDS)):
        inside = [case.case for case in cases if case.fold == fold]
        write_json(layout.members(fold), {"train": [], "validation": inside})
        units = [f"fold-{fold}-seed-1/{name}" for name in inside]
        for number, unit in enumerate(units):
            predict_by_hand(layout, unit, *pairs[fold](number), **more)
        if units:
            write_token(layout, "predict", f"f{fold}-b0001", units, "net")
    return layout


def predict_by_hand(
    layout: Layout,
    unit: str,
    prediction: np.ndarray,
    reference: np.ndarray | None,
    probability: np.ndarray | None = None,
) -> None:
    model, _, name = unit.partition("/")
    write_case(layout, name, label=None if reference is None else Volume(reference, GRID))
    folder = layout.prediction("net", model, name)
    content = store.write_volume(folder / "raw.zarr", Volume(prediction, GRID), name="label")
    more = {}
    if probability is not None:
        stack = np.stack([1 - probability, probability]).astype(np.float16)
        with store.new_store(folder / "probabilities.zarr") as part:
            store.create(part, GRID, np.float16, name="probabilities", channels=["class 0", "class 1"])[:] = stack
        tally = histogram(probability.ravel(), (reference == 1).ravel())
        more = {
            "probabilities": [tally.counts.tolist()],
            "probability_sums": [[tally.sums.tolist()], [tally.squares.tolist()]],
            "contents": {"probabilities": store.content_digest(folder / "probabilities.zarr")},
        }
    write_sidecar(folder / "raw.json", sidecar_of("predict", content, **more))


def chosen_by(
    layout: Layout,
    *,
    classes: list[str] = CLASSES,
    keep_if: str = "interval",
    with_threshold: bool = False,
    model: Path | None = None,
) -> dict[str, dict]:
    """Run the steps as the workflow does; what was chosen for each fold."""
    judged = ChooseStage(
        classes=classes,
        choose_threshold=with_threshold,
        folds=FOLDS,
        keep_if=keep_if,
        min_subjects=2,
        seed=1,
        bootstrap=500,
        confidence=0.95,
        model=model,
    )
    looked_at = CandidatesStage(classes=classes, choose_threshold=with_threshold)
    whole = argparse.Namespace(study=layout, experiment="net", settings=judged.model_dump_json())
    if with_threshold:
        threshold.run(whole)
    for token in sorted(layout.token("predict", "x", "net").parent.glob("*.json")):
        names = [unit.partition("/")[2] for unit in read_json(token)["cases"]]
        candidates.run(
            argparse.Namespace(
                study=layout,
                experiment="net",
                cases=names,
                settings=looked_at.model_dump_json(),
                token=layout.token("candidates", token.stem, "net"),
            )
        )
    choose.run(whole)
    return {fold: read_json(layout.chosen("net", "cleaning", fold)) for fold in ("0", "1", "2", "test")}


def cleaned(
    layout: Layout, fold: str, *, classes: list[str] = CLASSES, with_threshold: bool = False
) -> list[np.ndarray]:
    """Run `postprocess` over a fold."""
    settings = PostprocessStage(
        classes=classes, postprocess=PostprocessSettings(choose=True), choose_threshold=with_threshold
    )
    batch = f"f{fold}-b0001"
    names = [unit.partition("/")[2] for unit in read_json(layout.token("predict", batch, "net"))["cases"]]
    postprocess.run(
        argparse.Namespace(
            study=layout,
            experiment="net",
            cases=names,
            settings=settings.model_dump_json(),
            token=layout.token("postprocess", batch, "net"),
        )
    )
    units = units_of(layout, "net", names)
    return [store.read_volume(layout.prediction("net", *unit.split("/")) / "post.zarr").array for unit in units]


def test_the_largest_part_is_kept_of_the_class_where_that_helps_and_not_of_the_other(tmp_path):
    layout = study_in_folds(tmp_path, dict.fromkeys("012", organ_with_island))
    for options in chosen_by(layout).values():
        assert options == {"organ": {**NOTHING, "keep": "largest"}, "lesions": dict(NOTHING)}
    for post in cleaned(layout, "1"):
        np.testing.assert_array_equal(post, organ_with_island(0)[1])
    tables = choice_tables(layout, {"net": ["cleaning"]})
    kept = tables["choices"].set_index(["applied_to", "label"])
    # 36 voxels of organ, islands of 2 and 3: Dice 72 / 74 and 72 / 75 before.
    gain = 1 - (72 / 74 + 72 / 75) / 2
    assert kept.loc[("0", "organ"), "gain"] == pytest.approx(gain)
    assert kept.loc[("0", "organ"), "held_out_gain"] == pytest.approx(gain)
    assert kept.loc[("0", "organ"), ["n_subjects", "n_held_out"]].tolist() == [4, 2]
    assert kept.loc[("test", "organ"), "n_subjects"] == 6
    harm = tables["candidates"].query("applied_to == '0' and label == 'lesions' and candidate == 'keep_largest'")
    assert harm["gain"].item() == pytest.approx(2 / 3 - 1)
    assert harm["verdict"].item() == "no gain"


def large_island(number: int) -> Pair:
    reference = blank()
    reference[2, 2:4, 1:3] = 1
    prediction = reference.copy()
    prediction[4, 5:7, 4:6] = 1
    prediction[4, 4, 4] = 0
    prediction[2, 2:4, 1:4] = 1
    return prediction, reference


def two_true_parts(number: int) -> Pair:
    reference = blank()
    reference[1:4, 1:4, 0:3] = 1
    reference[1, 6, 5] = 1
    return reference.copy(), reference


def test_no_case_takes_part_in_the_choice_that_is_applied_to_it(tmp_path):
    layout = study_in_folds(tmp_path, {"0": large_island, "1": two_true_parts, "2": two_true_parts})
    chosen = chosen_by(layout, classes=["tumour"], keep_if="gain")
    # By all folds together a cleaning helps, but only because of fold 0; the folds that judge it know of no gain.
    assert chosen["test"]["tumour"] != dict(NOTHING)
    assert chosen["1"]["tumour"] != dict(NOTHING)
    assert chosen["0"]["tumour"] == dict(NOTHING)


def test_another_prediction_of_a_fold_changes_nothing_of_its_own_choice(tmp_path):
    first = study_in_folds(tmp_path / "a", {"0": organ_with_island, "1": organ_with_island, "2": two_true_parts})
    other = study_in_folds(tmp_path / "b", {"0": two_true_parts, "1": organ_with_island, "2": two_true_parts})
    chosen_by(first, keep_if="gain")
    chosen_by(other, keep_if="gain")
    texts = [layout.chosen("net", "cleaning", "0").read_text() for layout in (first, other)]
    assert texts[0] == texts[1]
    rows = [choice_tables(layout, {"net": ["cleaning"]})["candidates"] for layout in (first, other)]
    gains = [[list(table.query(f"applied_to == '{fold}'")["gain"]) for table in rows] for fold in "02"]
    assert gains[0][0] == gains[0][1]
    assert gains[1][0] != gains[1][1]


def test_a_single_fold_chooses_nothing_for_itself_and_says_so(tmp_path):
    layout = study_in_folds(tmp_path, {"0": organ_with_island, "1": organ_with_island, "2": organ_with_island})
    for fold in "12":
        layout.token("predict", f"f{fold}-b0001", "net").unlink()
    chosen = chosen_by(layout)
    assert chosen["0"] == AS_IT_IS
    assert chosen["test"]["organ"]["keep"] == "largest"
    rows = choice_tables(layout, {"net": ["cleaning"]})["candidates"].query("applied_to == '0'")
    assert set(rows["verdict"]) == {"kept", "too few subjects"}
    assert set(rows["n_subjects"]) == {0}


def nothing_found(number: int) -> Pair:
    return blank(), organ_with_island(number)[1]


def no_reference(number: int) -> tuple[np.ndarray, None]:
    return organ_with_island(number)[0], None


@pytest.mark.parametrize("pair", [nothing_found, no_reference, lambda number: (blank(), blank())])
def test_without_a_prediction_or_a_reference_nothing_is_chosen(tmp_path, pair):
    layout = study_in_folds(tmp_path, dict.fromkeys("012", pair))
    for options in chosen_by(layout).values():
        assert options == AS_IT_IS
    for post in cleaned(layout, "2"):
        np.testing.assert_array_equal(post, pair(0)[0] if pair is not no_reference else post)


def test_a_case_without_a_reference_gets_what_was_chosen_by_the_others(tmp_path):
    layout = study_in_folds(tmp_path, {"0": no_reference, "1": organ_with_island, "2": organ_with_island})
    assert chosen_by(layout)["0"]["organ"]["keep"] == "largest"
    (post, _) = cleaned(layout, "0")
    np.testing.assert_array_equal(post, organ_with_island(0)[1])


def test_a_model_package_brings_its_choice_where_there_are_no_references(tmp_path):
    layout = study_in_folds(tmp_path / "study", dict.fromkeys("012", no_reference))
    cleaning = {"organ": {**NOTHING, "keep": "largest"}, "lesions": dict(NOTHING)}
    write_json(tmp_path / "model" / "model.json", {"format": PACKAGE_FORMAT, "chosen": {"cleaning": cleaning}})
    assert all(options == cleaning for options in chosen_by(layout, model=tmp_path / "model").values())
    (post, _) = cleaned(layout, "2")
    np.testing.assert_array_equal(post, organ_with_island(0)[1])
    rows = choice_tables(layout, {"net": ["cleaning"]})["choices"]
    assert set(rows["chosen"]) == {"as in the model package"}


def test_references_enough_choose_for_themselves_in_spite_of_a_package(tmp_path):
    layout = study_in_folds(tmp_path / "study", dict.fromkeys("012", organ_with_island))
    write_json(tmp_path / "model" / "model.json", {"format": PACKAGE_FORMAT, "chosen": {"cleaning": AS_IT_IS}})
    assert chosen_by(layout, model=tmp_path / "model")["0"]["organ"]["keep"] == "largest"


# ---- threshold ------------------------------------------------------------------------------------------------------


def timid(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A network that is right, but says 0.35 inside and 0.05 outside."""
    reference = blank()
    reference[1:4, 1:5, 0:3] = 1
    probability = np.where(reference == 1, 0.35, 0.05).astype(np.float32)
    return (probability >= 0.5).astype(np.uint8), reference, probability


def test_a_threshold_is_chosen_by_the_histograms_and_applied_to_the_stored_probabilities(tmp_path):
    layout = study_in_folds(tmp_path, dict.fromkeys("012", timid))
    chosen_by(layout, classes=["tumour"], with_threshold=True)
    assert {read_json(layout.chosen("net", "threshold", fold))["threshold"] for fold in ("0", "1", "2", "test")} == {
        0.3
    }
    for post in cleaned(layout, "0", classes=["tumour"], with_threshold=True):
        np.testing.assert_array_equal(post, timid(0)[1])
    record = read_json(layout.prediction("net", "fold-0-seed-1", "sub-00_ct1") / "post.json")
    assert record["done"]["threshold"] == 0.3
    assert record["n_voxels_changed"] == 36
    rows = choice_tables(layout, {"net": ["threshold", "cleaning"]})["choices"]
    assert rows.query("choice == 'threshold'")["gain"].tolist() == [1.0] * 4


def timid_with_island(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    prediction, reference, probability = timid(number)
    probability[4, 6, 4:6] = 0.35
    return prediction, reference, probability


def test_the_cleaning_is_chosen_on_the_label_that_the_chosen_threshold_makes(tmp_path):
    layout = study_in_folds(tmp_path, dict.fromkeys("012", timid_with_island))
    chosen = chosen_by(layout, classes=["tumour"], with_threshold=True)
    assert chosen["0"]["tumour"]["keep"] == "largest"
    for post in cleaned(layout, "0", classes=["tumour"], with_threshold=True):
        np.testing.assert_array_equal(post, timid(0)[1])


def test_a_threshold_that_helps_only_its_own_fold_is_not_taken_there(tmp_path):
    def sure(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        _, reference, _ = timid(number)
        probability = np.where(reference == 1, 0.9, 0.45).astype(np.float32)
        return reference.copy(), reference, probability

    layout = study_in_folds(tmp_path, {"0": timid, "1": sure, "2": sure})
    chosen_by(layout, classes=["tumour"], keep_if="gain", with_threshold=True)
    assert read_json(layout.chosen("net", "threshold", "0")) == {"threshold": None}


# ---- done work ------------------------------------------------------------------------------------------------------


def test_an_unchanged_choice_cleans_no_case_again_and_a_changed_one_does(tmp_path):
    layout = study_in_folds(tmp_path, dict.fromkeys("012", organ_with_island))
    chosen_by(layout)
    cleaned(layout, "0")
    store_of = layout.prediction("net", "fold-0-seed-1", "sub-00_ct1") / "post.zarr" / "zarr.json"
    before = store_of.stat().st_ino
    predict_by_hand(layout, "fold-1-seed-1/sub-10_ct1", *organ_with_island(1))
    chosen_by(layout)
    cleaned(layout, "0")
    assert store_of.stat().st_ino == before
    path = layout.chosen("net", "cleaning", "0")
    path.write_text(json.dumps(AS_IT_IS))
    cleaned(layout, "0")
    assert store_of.stat().st_ino != before


def test_a_package_that_keeps_the_most_probable_class_decides_too():
    """A threshold of None is a choice like another."""
    alone = Judged(1, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, "too few subjects")
    settings = ChooseStage(
        classes=["organ"],
        choose_threshold=True,
        folds=2,
        keep_if="interval",
        min_subjects=5,
        seed=1,
        bootstrap=200,
        confidence=0.95,
    )
    kept, worth = decide({"0.4": 0.4}, [alone], np.zeros((1, 0)), settings, [None])
    assert kept is None
    assert {name: judged.verdict for name, (judged, _) in worth.items()} == {
        "0.4": "too few subjects",
        "as in the model package": "kept",
    }

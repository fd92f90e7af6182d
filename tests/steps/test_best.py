"""The method `best`: which models compete, the mean of probabilities, and a choice that its own fold has no part in."""

import argparse
from pathlib import Path

import numpy as np
import pytest
from study_by_hand import GRID, case_of, refused, sidecar_of, study_of, write_case, write_sidecar

from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, write_json
from cohortseg.layout import TEST, Layout
from cohortseg.settings import BestMethod, Member, load_study
from cohortseg.stages import BestStage, ExperimentStage
from cohortseg.steps import contest, elect, predict
from cohortseg.steps.best import contestants, counts_of, folder_of, label_of
from cohortseg.steps.choice_tables import choice_tables
from cohortseg.volume import Volume

SURE = Member(experiment="sure", seeds=[1], has_probabilities=True)
WILD = Member(experiment="wild", seeds=[1, 2], has_probabilities=True)
OTSU = Member(experiment="otsu", seeds=None, has_probabilities=False)
FOLDS = ("0", "1", "2")


def test_single_models_compete_with_the_mean_of_seeds_and_of_all_that_keep_probabilities():
    assert contestants([SURE, WILD, OTSU]) == {
        "sure": [("sure", "1")],
        "wild seed 1": [("wild", "1")],
        "wild seed 2": [("wild", "2")],
        "otsu": [("otsu", "")],
        "mean of the seeds of wild": [("wild", "1"), ("wild", "2")],
        "mean of sure, wild": [("sure", "1"), ("wild", "1"), ("wild", "2")],
    }
    assert list(contestants([OTSU, SURE])) == ["otsu", "sure"]


@pytest.mark.parametrize("name", ["mean_shape", "ellipsoid", "forest"])
def test_a_learner_without_seeds_competes_with_the_model_that_its_fold_has(name):
    experiments = {"learner": {"method": name}, "best": {"method": "best"}}
    labels = {"labels": {"structures": {"tumour": "GTV"}}}
    study = load_study({"study": "s", "cohort": {"source": ".", **labels}, "experiments": experiments})
    layout = Layout(Path("study"))
    models = contestants(study.members("best"))["learner"]
    for fold, model in (("1", "fold-1-seed-1"), (TEST, "ensemble-seed-1")):
        assert [folder_of(layout, one, "a", fold) for one in models] == [layout.prediction("learner", model, "a")]


def stack_of(labels: np.ndarray, sureness: np.ndarray) -> np.ndarray:
    """Probabilities of three classes: the label has `sureness`, the others share the rest."""
    classes = np.arange(3)[:, None, None, None]
    return np.where(classes == labels, sureness, (1 - sureness) / 2).astype(np.float16)


def write_model(layout: Layout, experiment: str, unit: str, label: np.ndarray, sureness: float = 0.8) -> Path:
    folder = layout.prediction(experiment, *unit.split("/"))
    content = store.write_volume(folder / "raw.zarr", Volume(label.astype(np.uint8), GRID), name="label")
    with store.new_store(folder / "probabilities.zarr") as part:
        names = [f"class {number}" for number in range(3)]
        store.create(part, GRID, np.float16, name="probabilities", channels=names)[:] = stack_of(label, sureness)
    kept = {"contents": {"probabilities": store.content_digest(folder / "probabilities.zarr")}}
    write_sidecar(folder / "raw.json", sidecar_of("predict", content, **kept))
    return folder


def random_label(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, GRID.shape).astype(np.uint8)


def test_a_mean_is_the_most_probable_class_by_the_mean_of_the_probabilities(tmp_path):
    layout = study_of(tmp_path)
    labels, sureness = [random_label(seed) for seed in range(3)], (0.9, 0.5, 0.6)
    folders = [
        write_model(layout, "net", f"fold-0-seed-{n}/a", label, sure)
        for n, (label, sure) in enumerate(zip(labels, sureness, strict=True))
    ]
    stacks = [stack_of(label, sure).astype(np.float32) for label, sure in zip(labels, sureness, strict=True)]
    np.testing.assert_array_equal(label_of(folders).array, np.mean(stacks, axis=0).argmax(axis=0))
    np.testing.assert_array_equal(label_of(folders[1:2]).array, labels[1])


def test_voxels_of_each_class_are_counted_in_planes():
    reference, label = random_label(1), random_label(2)
    expected = [[(reference == n).sum(), (label == n).sum(), ((reference == n) & (label == n)).sum()] for n in (1, 2)]
    long = [np.concatenate([array] * 9) for array in (label, reference)]
    assert counts_of(label, reference, 2) == expected
    assert counts_of(*long, 2) == (9 * np.array(expected)).tolist()
    with pytest.raises(StudyError, match="grid"):
        counts_of(label[:3], reference, 2)


# ---- through the steps ----------------------------------------------------------------------------------------------


def reference_of(number: int) -> np.ndarray:
    label = np.zeros(GRID.shape, np.uint8)
    label[1:4, 1:5, 0:3] = 1
    label[0, number, 4:6] = 2
    return label


def spoiled(label: np.ndarray, seed: int, n: int) -> np.ndarray:
    """A label of which some voxels are another class."""
    random, found = np.random.default_rng(seed), label.copy()
    found.ravel()[random.choice(found.size, n, replace=False)] = 0
    return found


def study_of_models(root: Path, worse: dict[str, dict[str, int]]) -> Layout:
    """Three folds of two cases, each predicted by some models, which lose so many voxels in the cases of a fold."""
    cases = [case_of(f"sub-{fold}{n}_ct1", fold=fold, fold_batch=f"f{fold}-b0001") for fold in FOLDS for n in (0, 1)]
    layout = study_of(root, *cases)
    write_json(layout.ledger, {"split": {"folds": 3, "seed": 1}, "cases": {}})
    for fold in FOLDS:
        names = [case.case for case in cases if case.fold == fold]
        write_json(layout.members(fold), {"train": [], "validation": names})
        for number, name in enumerate(names):
            write_case(layout, name, label=Volume(reference_of(number), GRID))
            for model, lost in worse.items():
                experiment, _, seed = model.partition(" ")
                unit = f"fold-{fold}-seed-{seed}/{name}" if seed else f"untrained/{name}"
                seed_of_loss = sum(map(ord, model + name))
                write_model(layout, experiment, unit, spoiled(reference_of(number), seed_of_loss, lost[fold]))
    return layout


def elected_by(layout: Layout, members: list[Member], *, keep_if: str = "gain") -> dict[str, list[list[str]]]:
    """Run `contest` and `elect` as the workflow does; the models of each fold."""
    settings = BestStage(
        classes=["organ", "lesions"],
        members=members,
        folds=3,
        keep_if=keep_if,
        min_subjects=2,
        seed=1,
        bootstrap=300,
        confidence=0.95,
    )
    whole = argparse.Namespace(study=layout, experiment="best", settings=settings.model_dump_json())
    for fold in FOLDS:
        token = layout.token("contest", f"f{fold}-b0001", "best")
        contest.run(argparse.Namespace(**vars(whole), cases=names_of(fold), token=token))
    elect.run(whole)
    return {fold: read_json(layout.chosen("best", "model", fold))["models"] for fold in (*FOLDS, "test")}


def names_of(fold: str) -> list[str]:
    return [f"sub-{fold}{n}_ct1" for n in (0, 1)]


def predicted(layout: Layout, fold: str) -> list[np.ndarray]:
    """Run `predict` over a fold."""
    settings = ExperimentStage(
        classes=["organ", "lesions"], channels=["image"], experiment=BestMethod(method="best", among=[])
    )
    arguments = argparse.Namespace(
        study=layout,
        experiment="best",
        cases=names_of(fold),
        settings=settings.model_dump_json(),
        token=layout.token("predict", f"f{fold}-b0001", "best"),
        threads=1,
    )
    predict.run(arguments)
    folders = [layout.prediction("best", "elected", name) for name in names_of(fold)]
    return [store.read_volume(folder / "raw.zarr").array for folder in folders]


def everywhere(n: int) -> dict[str, int]:
    return dict.fromkeys(FOLDS, n)


def test_the_best_single_model_is_taken_with_its_label_and_its_worth(tmp_path):
    layout = study_of_models(tmp_path, {"otsu": everywhere(60), "sure 1": everywhere(4)})
    sure = SURE.model_copy(update={"has_probabilities": False})
    assert all(models == [["sure", "1"]] for models in elected_by(layout, [OTSU, sure]).values())
    for name, label in zip(names_of("1"), predicted(layout, "1"), strict=True):
        own = store.read_volume(layout.prediction("sure", "fold-1-seed-1", name) / "raw.zarr").array
        np.testing.assert_array_equal(label, own)
    rows = choice_tables(layout, {"best": ["model"]})["choices"].set_index("applied_to")
    assert set(rows["chosen"]) == {"sure"}
    assert rows.loc["0", "gain"] > 0.1
    assert rows.loc["0", ["n_subjects", "n_held_out"]].tolist() == [4, 2]
    assert rows.loc["test", "n_subjects"] == 6


def test_a_mean_that_is_better_than_each_of_its_models_is_taken(tmp_path):
    models = {"sure 1": everywhere(0), "wild 1": everywhere(0), "wild 2": everywhere(0)}
    layout = study_of_models(tmp_path, models)
    for fold in FOLDS:
        for number, name in enumerate(names_of(fold)):
            for place, model in enumerate(models):
                # Each model misses voxels of its own, which the two others find.
                label = reference_of(number)
                label.ravel()[np.flatnonzero(label)[place::4]] = 0
                experiment, _, seed = model.partition(" ")
                write_model(layout, experiment, f"fold-{fold}-seed-{seed}/{name}", label)
    together = [["sure", "1"], ["wild", "1"], ["wild", "2"]]
    assert all(models == together for models in elected_by(layout, [SURE, WILD]).values())
    for number, label in enumerate(predicted(layout, "2")):
        np.testing.assert_array_equal(label, reference_of(number))


def test_the_fold_itself_has_no_part_in_its_choice(tmp_path):
    # `otsu` is far ahead in fold 0 only, so that all folds together, and folds 1 and 2, would take it.
    layout = study_of_models(tmp_path, {"sure 1": {"0": 160, "1": 5, "2": 5}, "otsu": {"0": 0, "1": 30, "2": 30}})
    chosen = elected_by(layout, [SURE.model_copy(update={"has_probabilities": False}), OTSU])
    assert chosen["test"] == chosen["1"] == [["otsu", ""]]
    assert chosen["0"] == [["sure", "1"]]


def test_the_first_stays_where_no_other_is_better_beyond_chance(tmp_path):
    layout = study_of_models(tmp_path, {"otsu": everywhere(12), "sure 1": everywhere(12)})
    members = [OTSU, SURE.model_copy(update={"has_probabilities": False})]
    assert elected_by(layout, members, keep_if="interval")["test"] == [["otsu", ""]]


def test_a_case_that_a_model_cannot_predict_is_rejected_as_it_was_there(tmp_path):
    layout = study_of_models(tmp_path, {"otsu": everywhere(60), "sure 1": everywhere(4)})
    folder = layout.prediction("sure", "fold-0-seed-1", names_of("0")[0])
    write_sidecar(folder / "raw.json", refused("predict", "MISSING_CHANNEL"))
    assert elected_by(layout, [OTSU, SURE])["0"] == [["sure", "1"]]
    settings = ExperimentStage(
        classes=["organ", "lesions"], channels=["image"], experiment=BestMethod(method="best", among=[])
    )
    token = layout.token("predict", "f0-b0001", "best")
    predict.run(
        argparse.Namespace(
            study=layout, experiment="best", cases=names_of("0"), settings=settings.model_dump_json(), token=token
        )
    )
    found = read_json(token)["cases"]
    assert found[f"elected/{names_of('0')[0]}"]["reason"] == "MISSING_CHANNEL"
    assert found[f"elected/{names_of('0')[1]}"]["status"] == "ok"


def test_without_references_the_first_model_is_taken(tmp_path):
    layout = study_of_models(tmp_path, {"otsu": everywhere(60), "sure 1": everywhere(4)})
    for fold in FOLDS:
        for name in names_of(fold):
            store.remove(layout.case(name) / "label.zarr")
    assert elected_by(layout, [OTSU, SURE])["test"] == [["otsu", ""]]

"""Before the first run a user hears how many cases there are, and what will go wrong."""

import pytest

from cohortseg.settings import load_study
from cohortseg.steps.preview import few_subjects, sentences


def study(tmp_path, structures, folds=2):
    return load_study(
        {
            "study": "small",
            "cohort": {"source": str(tmp_path), "labels": {"structures": structures}},
            "split": {"folds": folds},
            "experiments": {"net": {"method": "unet"}},
        }
    )


def row(case, status, subject="", reason="", structures=()):
    return {"case": case, "status": status, "subject": subject, "reason": reason, "structures": list(structures)}


TWO = [
    row("a1", "case", "a"),
    row("b1", "case", "b"),
    row("b2", "case", "b"),
    row("a1", "label", structures=["GTV, left", "Cor"]),
    row("b1", "label", structures=["GTV"]),
]


def test_cases_subjects_and_labels_are_counted(tmp_path):
    assert sentences(study(tmp_path, {"tumour": "GTV.*"}), TWO) == ["3 cases of 2 subjects, 2 with a label"]


def test_a_misspelt_structure_is_named_with_the_names_that_there_are(tmp_path):
    assert sentences(study(tmp_path, {"tumour": "GVT.*", "heart": ["Heart", "Cor"]}), TWO)[1:] == [
        "cohort.labels.structures.tumour: 'GVT.*' is the whole name of a structure in 0 of 2 label objects; names "
        "there: Cor, GTV, GTV, left",
        "cohort.labels.structures.heart: 'Heart' or 'Cor' is the whole name of a structure in 1 of 2 label objects; "
        "names there: Cor, GTV, GTV, left",
    ]


def test_more_folds_than_subjects_are_told(tmp_path):
    assert "split.folds: 5 folds and 2 labelled subjects; 3 folds would score nobody" in sentences(
        study(tmp_path, {"tumour": "GTV.*"}, folds=5), TWO
    )


@pytest.mark.parametrize(("n_subjects", "folds", "is_few"), [(5, 5, False), (6, 5, False), (4, 5, True), (0, 2, False)])
def test_as_many_labelled_subjects_as_folds_or_none_are_enough(n_subjects, folds, is_few):
    assert bool(few_subjects(n_subjects, folds)) is is_few


def test_where_nothing_is_taken_the_reasons_are_counted(tmp_path):
    left = [row("a1", "rejected", "a", "NOT_SELECTED"), row("", "not used", reason="NOT_DICOM")]
    wanted = study(tmp_path, {"tumour": "GTV.*"})
    assert sentences(wanted, left)[1] == "no case to work on: NOT_SELECTED 1"
    assert sentences(wanted, [])[1] == "no case to work on: no image was found"

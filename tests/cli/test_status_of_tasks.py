"""The state of a study that learns from labels of others and measures stability: both have a line of their own."""

import pytest
from study_by_hand import case_of, refused, sidecar_of, study_of, write_json, write_sidecar, write_token

from cohortseg.cli.status import progress

NAMES = [f"p{k}_ct1" for k in range(6)]


@pytest.fixture
def layout(tmp_path):
    """Two folds; of the three labels for the student of fold 0 one is there, one refused; three cases are changed."""
    made = study_of(tmp_path, *(case_of(name, fold=str(k % 2)) for k, name in enumerate(NAMES)))
    for fold in ("0", "1"):
        write_json(made.members(fold), {"train": [name for k, name in enumerate(NAMES) if str(k % 2) != fold]})
    write_token(made, "pseudolabel", "fold-0-f1-b0001", [], "student")
    for name, record in ((NAMES[1], sidecar_of("pseudolabel")), (NAMES[3], refused("pseudolabel", "EMPTY_SERIES"))):
        write_sidecar(made.pseudo("student", "0", name) / "pseudo.json", record)
    write_token(made, "stability", "f0-b0001", [], "otsu")
    write_json(made.asked("stability-otsu"), [1, '{"stability": {"cases": 3, "seed": 1}}'])
    return made


def lines(layout):
    return {line.name: (line.done, line.rejected, line.total) for line in progress(layout)}


def test_labels_of_others_are_counted_by_fold_and_training_case(layout):
    assert lines(layout)["student: pseudo labels"] == (1, 1, 6)


def test_stability_is_asked_of_some_cases_alone(layout):
    assert lines(layout)["otsu: stability"] == (0, 0, 3)
    for name in NAMES:
        write_sidecar(layout.prediction("otsu", "untrained", name) / "stability.json", sidecar_of("stability"))
    assert lines(layout)["otsu: stability"] == (3, 0, 3)  # those of an earlier wish are not counted

"""The seven steps of a study as targets: each plans what it names, what it needs, and nothing that comes after."""

from collections import Counter
from dataclasses import replace

import pytest
from lint_workflow import CONFIG, write_study
from test_planning import made_up, plan_jobs

pytestmark = pytest.mark.workflow

COHORT = {"convert", "fingerprint", "survey", "plan", "preprocess", "split"}
FIRST = {"convert", "fingerprint", "survey", "plan", "preprocess"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two folds of one case each, and a case of the independent test set; a network and a threshold."""
    folder = tmp_path_factory.mktemp("steps")
    cases = [made_up(n, voxels=1_000_000, batch=f"b000{n}", fold_batch=f"f{n}-b0001") for n in (0, 1)]
    held_out = made_up(2, voxels=1_000_000, batch="b0002", fold_batch="ftest-b0001")
    write_study(folder, [*cases, replace(held_out, fold="test", role="test")], {**CONFIG, "split": {"folds": 2}})
    return folder


@pytest.mark.parametrize(
    ("step", "rules", "n_train", "n_predict", "n_evaluate"),
    [
        ("step_1_preprocess", FIRST, 0, 0, 0),
        ("step_2_initialise", COHORT, 0, 0, 0),
        ("step_3_train", {*COHORT, "train"}, 2, 0, 0),
        ("step_4_validate", {*COHORT, "train", "predict"}, 2, 4, 0),
        ("step_5_test", {*COHORT, "train", "predict"}, 2, 2, 0),
        ("step_6_postprocess", {*COHORT, "train", "predict", "postprocess", "evaluate"}, 2, 6, 6),
    ],
)
def test_a_step_plans_what_it_names_and_what_that_needs(home, step, rules, n_train, n_predict, n_evaluate):
    planned = Counter(job.rule for job in plan_jobs(home, step))
    assert set(planned) == {*rules, step}
    assert (planned["train"], planned["predict"], planned["evaluate"]) == (n_train, n_predict, n_evaluate)


def test_the_last_step_is_the_whole_study(home):
    last, whole = (Counter(job.rule for job in plan_jobs(home, *target)) for target in (["step_7_output"], []))
    assert last.pop("step_7_output") == 1
    assert last == whole
    assert last["report"] == 1

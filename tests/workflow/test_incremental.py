"""Add, change or remove one scan, or one setting: only what depends on it is made again."""

import json
import shutil
from collections import Counter

import pytest
from comparable import comparable_bytes
from pydicom import dcmread
from tiny_study import (
    CLEANING,
    COHORT,
    CONFIG,
    NEWCOMER,
    admit,
    case_of,
    patient_folder,
    read_table,
    run,
    stores,
    study_of,
    touched,
    write_config,
)

pytestmark = pytest.mark.workflow

ONE_BATCH = dict.fromkeys(("predict", "postprocess", "evaluate", "export"), 2)
"""The jobs of one batch of a fold, for two experiments."""
TABLES = dict.fromkeys(("survey", "split", "aggregate", "report"), 1)


def test_the_first_run_makes_everything_once(finished):
    _, done, _ = finished
    cases = dict.fromkeys(("convert", "fingerprint", "preprocess"), len(COHORT))
    both_folds = {rule: 2 * n for rule, n in ONE_BATCH.items()}
    assert done.finished == Counter({**cases, "train": 2, "plan": 1, **both_folds, **TABLES})
    assert done.planned == done.finished


def test_a_second_run_has_nothing_to_do(home):
    before = stores(home)
    again = run(home)
    assert again.returncode == 0, again.output
    assert again.planned == again.finished == Counter()
    assert touched(before, stores(home)) == set()


def test_a_new_subject_is_all_that_runs_and_trains_nothing(home, pool):
    before = stores(home)
    admit(home, pool, NEWCOMER)
    grown = run(home)
    assert grown.returncode == 0, grown.output
    own = dict.fromkeys(("convert", "fingerprint", "preprocess"), 1)
    assert grown.finished == Counter({**own, **ONE_BATCH, **TABLES})
    newcomer = case_of(home, NEWCOMER)
    assert touched(before, stores(home)) == {newcomer}
    rows = read_table(study_of(home) / "tables" / "metrics_by_case.csv")
    assert {row["split"] for row in rows if row["case"] == newcomer} == {"unseen"}
    assert {row["split"] for row in rows if row["case"] != newcomer} == {"val"}
    assert len({row["case"] for row in rows}) == len(COHORT) + 1


def test_a_new_subject_trains_again_where_refit_asks_for_it(home, pool):
    admit(home, pool, NEWCOMER)
    write_config(home, {"split": {"refit": True}})
    planned = run(home, "-n").planned
    assert planned["train"] == 2
    assert planned["plan"] == 0
    assert planned["convert"] == 1


def test_a_replaced_scan_runs_its_own_jobs_and_trains_nothing(home):
    before = stores(home)
    for path in sorted((patient_folder(home, 1)).glob("CT_*/*.dcm")):
        scan = dcmread(path)
        scan.PixelData = (scan.pixel_array + 7).tobytes()
        scan.save_as(path)
    changed = run(home)
    assert changed.returncode == 0, changed.output
    own = dict.fromkeys(("convert", "fingerprint", "preprocess"), 1)
    assert changed.finished == Counter({**own, **ONE_BATCH, **TABLES})
    replaced = case_of(home, 1)
    assert touched(before, stores(home)) == {replaced}
    report = (study_of(home) / "report" / "report.html").read_text()
    assert f"Models were trained on an older version of, or with a case now gone: {replaced}." in report


def test_a_removed_scan_leaves_the_tables_and_one_that_comes_back_finds_its_place(home, finished):
    gone = case_of(home, 1)
    before = stores(home)
    patient_folder(home, 1).rename(home / "away")
    shrunk = run(home)
    assert shrunk.returncode == 0, shrunk.output
    # The batch that it left looks at its other cases and finds them done.
    assert shrunk.finished == Counter({**ONE_BATCH, **TABLES})
    assert touched(before, stores(home)) == set()
    for table in sorted(study_of(home).glob("tables/*.csv")) + sorted(study_of(home).glob("cohort/*.tsv")):
        assert gone not in table.read_text(), table.name
    assert gone not in json.loads((study_of(home) / "cohort" / "folds.json").read_text())["cases"]
    assert f"or with a case now gone: {gone}." in (study_of(home) / "report" / "report.html").read_text()
    (home / "away").rename(patient_folder(home, 1))
    back = run(home)
    assert back.returncode == 0, back.output
    assert back.finished == Counter({**ONE_BATCH, **TABLES})
    assert comparable_bytes(study_of(home)) == comparable_bytes(study_of(finished[0]))


def test_a_postprocess_setting_reaches_only_what_follows_it(finished, cleaned):
    before = stores(finished[0])
    home, changed = cleaned
    after = dict.fromkeys(("postprocess", "evaluate", "export"), 4)
    assert changed.finished == Counter({**after, "aggregate": 1, "report": 1})
    written = {path for path, state in stores(home).items() if before.get(path) != state}
    assert written
    assert not [path for path in written if not ("/post." in path or "/metrics." in path or "export" in path)]


def test_a_change_of_cohort_and_settings_at_once_is_seen_in_one_run(home, pool):
    admit(home, pool, NEWCOMER)
    network = {**CONFIG["experiments"]["unet"], "loss": "dice"}
    write_config(home, {"experiments": {"unet": network}, "postprocess": {"min_volume_ml": 0.5}})
    planned = run(home, "-n").planned
    assert planned["train"] == 2
    assert planned["plan"] == 0
    assert planned["preprocess"] == 1
    # The old batches of the network, and the new one of both experiments.
    assert planned["predict"] == 2 + 2
    assert planned["postprocess"] == planned["evaluate"] == planned["export"] == 4 + 2


def test_lost_tokens_cost_jobs_but_no_work(home):
    before = stores(home)
    shutil.rmtree(study_of(home) / "experiments" / "otsu" / "done")
    again = run(home)
    assert again.returncode == 0, again.output
    assert again.finished == Counter({**ONE_BATCH, "aggregate": 1, "report": 1})
    assert touched(before, stores(home)) == set()


def test_a_lost_memory_of_snakemake_costs_no_work(home):
    before = stores(home)
    shutil.rmtree(home / ".snakemake")
    again = run(home)
    assert again.returncode == 0, again.output
    assert again.finished == Counter()
    assert touched(before, stores(home)) == set()


def test_a_changed_setting_is_noticed_without_the_memory_of_snakemake(home):
    shutil.rmtree(home / ".snakemake")
    write_config(home, CLEANING)
    planned = run(home, "-n").planned
    after = dict.fromkeys(("postprocess", "evaluate", "export"), 4)
    assert planned == Counter({**after, "aggregate": 1, "report": 1})


def test_a_replaced_scan_is_noticed_without_the_memory_of_snakemake(home):
    shutil.rmtree(home / ".snakemake")
    scan = next(patient_folder(home, 1).glob("CT_*/*.dcm"))
    scan.write_bytes(scan.read_bytes())
    planned = run(home, "-n").planned
    assert planned["convert"] == planned["fingerprint"] == planned["preprocess"] == 1
    assert planned["train"] == 0

"""Questions about lesions and objects, asked of a finished study: only what depends on them runs again."""

import shutil
from collections import Counter

import pytest
from tiny_study import CONFIG, read_table, run, study_of, write_config

pytestmark = pytest.mark.workflow

TABLES = {"aggregate": 1, "report": 1}
DETECTION = {"hit": "overlap", "min_jaccard": 0.2, "score": "volume_ml", "false_per_scan": 2.0}
STATISTICS = {"min_subjects": 2, "bootstrap": 200}


@pytest.fixture(scope="module")
def asked(tmp_path_factory, finished):
    """The finished study, asked for detection, and the run that followed."""
    home = tmp_path_factory.mktemp("detection") / "home"
    shutil.copytree(finished[0], home, symlinks=True)
    write_config(home, {"detection": DETECTION, "statistics": STATISTICS})
    done = run(home)
    assert done.returncode == 0, done.output
    return home, done


def test_detection_measures_each_case_again_and_makes_no_label_again(asked):
    home, done = asked
    n_batches = 2 * len(CONFIG["experiments"])
    assert done.finished == Counter({"evaluate": n_batches, **TABLES})
    lines = read_table(study_of(home) / "tables" / "operating_points.csv")
    assert {line["experiment"] for line in lines} == set(CONFIG["experiments"])
    by_case = read_table(study_of(home) / "tables" / "detections.csv")
    for line in lines:
        own = [row for row in by_case if row["experiment"] == line["experiment"]]
        assert [sum(int(row[name]) for row in own) for name in ("n_lesions", "n_found", "n_false")] == [
            int(line[name]) for name in ("n_lesions", "n_found", "n_false")
        ]
        assert int(line["n_lesions"]) > 0
    assert "Detection at an operating point" in (study_of(home) / "report" / "report.html").read_text()


def test_another_operating_point_makes_only_tables_again(tmp_path, asked):
    home = tmp_path / "home"
    shutil.copytree(asked[0], home, symlinks=True)
    write_config(home, {"detection": DETECTION | {"false_per_scan": 4.0}, "statistics": STATISTICS})
    planned = run(home, "-n").planned
    assert planned == Counter(TABLES)

"""Questions about lesions and objects, asked of a finished study: only what depends on them runs again."""

import shutil
from collections import Counter

import pytest
from tiny_study import CONFIG, read_table, run, study_of, write_config

pytestmark = pytest.mark.workflow

TABLES = {"aggregate": 1, "report": 1}
DETECTION = {"hit": "overlap", "min_jaccard": 0.2, "score": "volume_ml", "false_per_scan": 2.0}
PANOPTIC = {"things": ["tumour"]}
STATISTICS = {"min_subjects": 2, "bootstrap": 200}


@pytest.fixture(scope="module")
def asked(tmp_path_factory, finished):
    """The finished study, asked for detection and panoptic quality, and the run that followed."""
    home = tmp_path_factory.mktemp("detection") / "home"
    shutil.copytree(finished[0], home, symlinks=True)
    write_config(home, {"detection": DETECTION, "panoptic": PANOPTIC, "statistics": STATISTICS})
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
    kinds = {(line["label"], line["kind"]) for line in read_table(study_of(home) / "tables" / "panoptic.csv")}
    assert kinds == {("tumour", "thing"), ("all", ""), ("things", "")}
    page = (study_of(home) / "report" / "report.html").read_text()
    assert "Detection at an operating point" in page
    assert "Panoptic quality" in page


def test_another_operating_point_makes_only_tables_again(tmp_path, asked):
    home = tmp_path / "home"
    shutil.copytree(asked[0], home, symlinks=True)
    other = DETECTION | {"false_per_scan": 4.0}
    write_config(home, {"detection": other, "panoptic": PANOPTIC, "statistics": STATISTICS})
    planned = run(home, "-n").planned
    assert planned == Counter(TABLES)

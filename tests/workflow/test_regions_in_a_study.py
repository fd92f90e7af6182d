"""Nested classes through the whole workflow: networks of classes and of regions beside a classical method."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_study import call, read_table, snakemake_command

from cohortseg.io import store
from cohortseg.io.itk import write_image
from cohortseg.volume import Grid, Volume

GRID = Grid((4, 32, 30), (3.0, 1.0, 1.1), (5.0, -20.0, 7.0))
NET = {"method": "unet", "features": [8, 16], "steps": 120, "batch": 4, "validate_every": 60, "learning_rate": 0.01}
REGIONS = {"whole": ["oedema", "core", "active"], "inner": ["core", "active"], "active": ["active"]}
STUDY = {
    "study": "nested",
    "cohort": {
        "source": "data",
        "images": r"^(?P<subject>p\d)/image\.nii\.gz$",
        "labels": {
            "kind": "files",
            "files": r"^(?P<subject>p\d)/label\.nii\.gz$",
            "values": {"oedema": 1, "ignore": 9, "core": 2, "active": 4},
        },
        "deidentified": True,
    },
    "regions": REGIONS,
    "split": {"folds": 2, "seed": 1},
    "plan": {"dims": 2, "patch_voxels": 4096},
    "experiments": {
        "classes": {**NET, "probabilities": True},
        "regions": {**NET, "targets": "regions", "probabilities": True},
        "levels": {"method": "multithreshold", "levels": 4, "objects": [2, 3, 4]},
    },
    "jobs": {"cases_per_job": 6, "cases_per_predict_job": 6},
}


def write_patient(folder: Path, seed: int) -> np.ndarray:
    """Three discs in each other, brighter and brighter, and a corner that nobody judged; returns the label."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: GRID.shape[1], : GRID.shape[2]]
    radius = np.hypot(y - random.uniform(13, 19), x - random.uniform(12, 18))
    plane = np.digitize(-radius, [-9.5, -6.5, -3.5]).astype(np.uint8)
    label = np.broadcast_to(plane, GRID.shape).copy()
    image = (100.0 * label + random.normal(0, 12, GRID.shape)).astype(np.float32)
    label[label == 3] = 4
    label[:, :5, :6] = 9
    folder.mkdir(parents=True)
    write_image(folder / "image.nii.gz", Volume(image, GRID))
    write_image(folder / "label.nii.gz", Volume(label, GRID))
    return label


@pytest.fixture(scope="module")
def nested(tmp_path_factory) -> Path:
    """The finished study."""
    home = tmp_path_factory.mktemp("nested")
    for number in range(6):
        write_patient(home / "data" / f"p{number}", number)
    (home / "config.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    done = call(snakemake_command(), home)
    assert done.returncode == 0, done.output
    return home / "results" / "nested"


def test_every_experiment_has_rows_of_classes_and_of_regions(nested):
    rows = [row for row in read_table(nested / "tables" / "metrics_by_case.csv") if row["stage"] == "post"]
    assert {row["experiment"] for row in rows} == {"classes", "regions", "levels"}
    for experiment in ("classes", "regions", "levels"):
        own = [row for row in rows if row["experiment"] == experiment]
        assert {row["label"] for row in own} == {"oedema", "core", "active", "whole", "inner"}
        assert len(own) == 6 * 5
    by_case: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        by_case.setdefault((row["experiment"], row["case"]), {})[row["label"]] = float(row["reference_ml"])
    for volumes in by_case.values():
        assert volumes["whole"] == pytest.approx(volumes["oedema"] + volumes["inner"])
        assert volumes["inner"] == pytest.approx(volumes["core"] + volumes["active"])
    assert [float(row["not_judged_ml"]) for row in rows] == pytest.approx([4 * 5 * 6 * 3.3 / 1000] * len(rows))
    summary = read_table(nested / "tables" / "summary.csv")
    assert {row["label"] for row in summary} == {"oedema", "core", "active", "whole", "inner"}


def test_both_kinds_of_networks_learn_nested_discs(nested):
    rows = read_table(nested / "tables" / "metrics_by_case.csv")
    for experiment in ("classes", "regions"):
        for label in ("whole", "inner", "active", "core"):
            scores = [
                float(row["dice"])
                for row in rows
                if (row["experiment"], row["label"], row["stage"]) == (experiment, label, "raw")
            ]
            assert np.mean(scores) > 0.8, (experiment, label, scores)


def test_the_label_of_a_network_of_regions_is_decoded_from_its_stored_probabilities(nested):
    (folder, *_) = sorted((nested / "experiments" / "regions").glob("fold-*-seed-1/cases/*"))
    probabilities = np.asarray(store.open_array(folder / "probabilities.zarr")[:], np.float32)
    label = store.read_volume(folder / "raw.zarr").array
    inside = [np.isin(label, numbers) for numbers in ([1, 2, 3], [2, 3], [3])]
    # Stored in 16 bits: voxels near one half may fall to either side.
    sure = np.abs(probabilities[1:] - 0.5).min(axis=0) > 0.01
    expected = np.zeros_like(label)
    for number, channel in enumerate(probabilities[1:], start=1):
        expected[channel > 0.5] = number
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(label[sure], expected[sure])
    assert inside[0].sum() > inside[1].sum() > inside[2].sum() > 0


def test_calibration_is_by_region_where_networks_find_regions(nested):
    rows = read_table(nested / "tables" / "calibration.csv")
    found = {name: {row["label"] for row in rows if row["experiment"] == name} for name in ("classes", "regions")}
    assert found == {"classes": {"oedema", "core", "active"}, "regions": {"whole", "inner", "active"}}


def test_the_report_says_what_regions_are_and_what_was_left_out(nested):
    text = (nested / "report" / "report.html").read_text()
    assert "whole: oedema + core + active" in text
    assert "one sigmoid for each" in text
    with (nested / "tables" / "repairs.csv").open(newline="") as file:
        notes = [row for row in csv.DictReader(file) if "ignore" in row["what"]]
    assert [row["count"] for row in notes] == ["120"] * 6
    assert "labelled `ignore`" in text


def test_other_regions_train_and_predict_nothing_again_that_knows_none(nested):
    home = nested.parents[1]
    changed = {**STUDY, "regions": {**REGIONS, "fluid": ["oedema", "core"]}}
    changed["experiments"] = {name: one for name, one in STUDY["experiments"].items() if name != "regions"}
    (home / "config.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    planned = call(snakemake_command("--dry-run"), home)
    assert planned.returncode == 0, planned.output
    assert set(planned.planned) == {"evaluate", "aggregate", "report"}
    weights = json.loads(next((nested / "experiments" / "regions").glob("fold-*/train.json")).read_text())
    assert weights["status"] == "ok"

"""Cohorts that are no series of one modality go through the same workflow: pictures, and cases of three channels."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tiny_study import call, read_table, snakemake_command

from cohortseg.io import store

DATA = Path(os.environ.get("COHORTSEG_DATA", Path(__file__).parents[3] / "shared" / "data"))
SMALL = {"features": [4, 8], "steps": 4, "batch": 2, "validate_every": 4}


def run_study(home: Path, study: dict) -> Path:
    """Run a study to its end; its folder."""
    (home / "config.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    done = call(snakemake_command(), home)
    assert done.returncode == 0, done.output
    return home / "results" / study["study"]


@pytest.fixture
def sarcoma(tmp_path) -> Path:
    """The real sarcoma cohort, unpacked."""
    subprocess.run([str(DATA / "unpack"), str(tmp_path / "unpacked")], check=True, capture_output=True)
    return tmp_path / "unpacked" / "sts"


def study_of(example: str, **changes) -> dict:
    """An example config with little work."""
    study = yaml.safe_load((Path(__file__).parents[2] / "config" / f"{example}.yaml").read_text())
    study["split"] = {"folds": 2, "seed": 1}
    for experiment in study["experiments"].values():
        if experiment["method"] == "unet":
            experiment |= SMALL
            experiment["augmentation"] = "none"
    return study | {"jobs": {"cases_per_job": 6, "cases_per_predict_job": 6}} | changes


@pytest.mark.data
def test_pictures_with_numbered_objects_are_segmented_and_scored(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / "data" / "nuclei" / folder).mkdir(parents=True)
        for path in sorted((DATA / "nuclei" / folder).glob("*.png"))[:6]:
            shutil.copy(path, tmp_path / "data" / "nuclei" / folder)
    settings = study_of("nuclei")
    settings["experiments"]["forest"] = {"method": "forest", "trees": 5, "per_class": 100}
    study = run_study(tmp_path, settings)
    rows = read_table(study / "tables" / "metrics_by_case.csv")
    otsu = [float(row["dice"]) for row in rows if (row["experiment"], row["stage"]) == ("otsu", "raw")]
    assert len(otsu) == 6
    # Otsu alone reaches a mean of 0.88 on the whole collection.
    assert sum(otsu) / 6 > 0.7
    assert (study / "report" / "report.html").exists()
    case = rows[0]["case"]
    assert store.read_volume(study / "cases" / case / "instances.zarr").array.max() > 1
    # A forest is fitted on the other fold; nuclei that touch are more objects than components.
    forest = [float(row["dice"]) for row in rows if (row["experiment"], row["stage"]) == ("forest", "raw")]
    assert len(forest) == 6
    assert sum(forest) / 6 > 0.6
    objects = read_table(study / "tables" / "instances.csv")
    found = {stage: [int(row["n_prediction"]) for row in objects if row["stage"] == stage] for stage in ("raw", "post")}
    assert len(found["post"]) == 18
    assert sum(found["post"]) > sum(found["raw"])


@pytest.mark.data
def test_cases_of_three_modalities_are_segmented_on_the_grid_of_the_first(tmp_path, sarcoma):
    for name in sorted(path.name for path in sarcoma.iterdir() if path.is_dir())[:4]:
        shutil.copytree(sarcoma / name, tmp_path / "data" / "sts" / name)
    study = run_study(tmp_path, study_of("sarcoma-fused"))
    rows = read_table(study / "tables" / "metrics_by_case.csv")
    assert {row["experiment"] for row in rows} == {"unet3d", "uptake"}
    # PET shows these tumours: a threshold on it alone finds a part of each, which it could not on CT.
    assert max(float(row["dice"]) for row in rows if row["experiment"] == "uptake") > 0.4
    channels = {(row["case"], row["channel"]) for row in read_table(study / "cohort" / "series.tsv") if row["channel"]}
    assert len(channels) == 12

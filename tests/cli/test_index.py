"""The preview of the rules: what they would take and leave, on the screen and nowhere else."""

import argparse

import numpy as np
import pytest
import yaml

from cohortseg.cli.index import add_arguments, run
from cohortseg.errors import SettingsError
from cohortseg.phantom.dicom import write_series
from cohortseg.phantom.labels import write_rtstruct


@pytest.fixture
def config(tmp_path):
    hu = np.zeros((6, 8, 9), np.int16)
    mask = np.zeros(hu.shape, bool)
    mask[2:4, 2:5, 3:7] = True
    for patient, description in (("P1", "thorax \x1b[31m soft"), ("P2", "=scout")):
        files = write_series(
            tmp_path / "source" / patient,
            hu,
            spacing_mm=(2.0, 1.0, 1.0),
            patient_id=patient,
            extra={"SeriesDescription": description},
        )
        write_rtstruct(tmp_path / "source" / patient / "rs.dcm", {"GTV left of X": mask}, files)
    study = {
        "study": "small",
        "results": str(tmp_path / "results"),
        "cohort": {
            "source": str(tmp_path / "source"),
            "series": {"description": "thorax"},
            "labels": {"structures": {"tumour": "GTV.*"}},
        },
        "experiments": {"net": {"method": "unet"}},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def run_index(config, *words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    run(parser.parse_args(["--configfile", str(config), *words]))


def test_a_dry_run_tells_each_series_its_fate_and_writes_no_table(config, capsys):
    run_index(config, "--dry-run")
    heading, *rows, blank, counts, few = capsys.readouterr().out.splitlines()
    assert (blank, counts) == ("", "1 case of 1 subject, 1 with a label")
    assert few == "split.folds: 5 folds and 1 labelled subject; 4 folds would score nobody"
    assert heading.split()[:4] == ["status", "reason", "case", "modality"], "columns that are empty are left out"
    assert any(row.startswith("label") and row.endswith("GTV left of X") for row in rows)
    (taken,), (left,) = ([row for row in rows if word in row] for word in ("thorax", "scout"))
    assert taken.startswith("case ")
    assert left.startswith("rejected")
    assert "NOT_SELECTED" in left
    assert "\x1b" not in taken, "a description must not draw on the screen"
    study = config.parent / "results" / "small"
    assert not (study / "cohort").exists()
    run_index(config)
    written = (study / "cohort" / "series.tsv").read_text()
    assert "thorax" not in written
    assert "left of X" not in written


def test_an_index_counts_labels_and_what_is_not_there_any_more(config, capsys):
    run_index(config)
    assert ": 1 case of 1 subject, 1 with a label" in capsys.readouterr().err
    for path in (config.parent / "source" / "P1").iterdir():
        path.rename(config.parent / path.name)
    run_index(config)
    said = capsys.readouterr().err
    assert "0 cases of 0 subjects, 0 with a label" in said
    assert "1 case of the last index not there any more" in said


def test_a_source_inside_the_study_is_refused(config):
    values = yaml.safe_load(config.read_text())
    values["cohort"]["source"] = str(config.parent / "results" / "small" / "scans")
    config.write_text(yaml.safe_dump(values))
    with pytest.raises(SettingsError, match="move the scans away"):
        run_index(config)

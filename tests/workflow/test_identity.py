"""No name, birth date, id, UID or source path leaves `private/`; from there every number leads back to its scan."""

import hashlib
import re
import stat
import sys
from pathlib import Path

import pytest
from bad_machine import WITHOUT_RIGHTS
from pydicom import dcmread
from tiny_study import (
    COHORT,
    IDENTITY,
    SECRETS,
    SOURCE,
    call,
    case_of,
    cohortseg,
    patient_folder,
    read_table,
    snakemake_command,
    study_of,
)

pytestmark = pytest.mark.workflow


def secrets_in(text: bytes) -> list[str]:
    """The planted identities that a text holds."""
    return [secret for secret in SECRETS if secret.encode() in text.lower()]


def outside_private(study: Path) -> list[Path]:
    """Everything of a study but `private/`."""
    return [path for path in sorted(study.rglob("*")) if path.relative_to(study).parts[0] != "private"]


def test_the_identities_are_in_the_scans_and_in_the_private_folder(finished):
    home, _, _ = finished
    scan = dcmread(next(patient_folder(home, 1).glob("CT_*/*.dcm")), stop_before_pixels=True)
    planted = (scan.PatientName, scan.PatientID, scan.PatientBirthDate, scan.StudyDescription, scan.InstitutionName)
    assert [secrets_in(str(value).encode()) for value in planted] == [[secret] for secret in SECRETS[1:6]]
    assert scan.PatientIdentityRemoved == "NO"
    assert len(IDENTITY) == 6
    private = study_of(home) / "private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    held = b"".join(path.read_bytes() for path in private.rglob("*") if path.is_file())
    assert {"wunderlich", "xanthipp", "mrn4711", "1.2.826.0.1.3680043"} <= set(secrets_in(held))


def test_no_identity_stands_in_a_file_or_name_outside_the_private_folder(finished):
    home, _, _ = finished
    study = study_of(home)
    told = {
        path.relative_to(study).as_posix(): found
        for path in outside_private(study)
        if (found := secrets_in(path.relative_to(study).as_posix().encode()))
        or (path.is_file() and (found := secrets_in(path.read_bytes())))
    }
    assert told == {}
    subjects = {row["subject"] for row in read_table(study / "tables" / "metrics_by_case.csv")}
    assert subjects == {f"sub-{number:04d}" for number in range(1, len(COHORT) + 1)}


def test_no_identity_is_printed_or_kept_by_the_run(finished):
    home, done, _ = finished
    assert secrets_in(done.output.encode()) == []
    kept = [path for path in (home / ".snakemake").rglob("*") if path.is_file()]
    assert kept
    assert {path.name: secrets_in(path.read_bytes()) for path in kept if secrets_in(path.read_bytes())} == {}


def test_no_identity_is_printed_when_a_job_fails(home):
    study = study_of(home)
    (study / "private" / "converted" / f"{case_of(home, 1)}.json").unlink()
    scans = sorted(patient_folder(home, 1).glob("CT_*/*.dcm"))
    for scan in scans:
        scan.chmod(0)
    failed = call(
        [sys.executable, "-c", WITHOUT_RIGHTS, *snakemake_command("-R", "convert", "--until", "convert")], home
    )
    assert failed.returncode != 0
    assert "Permission denied" in failed.output
    assert failed.finished["convert"] == len(COHORT) - 1
    assert secrets_in(failed.output.encode()) == []
    told = {path.name: secrets_in(path.read_bytes()) for path in outside_private(study) if path.is_file()}
    assert {name: found for name, found in told.items() if found} == {}


def test_explain_leads_from_the_series_to_each_metric_row(finished):
    home, _, _ = finished
    case = case_of(home, 1)
    scan = dcmread(next(patient_folder(home, 1).glob("CT_*/*.dcm")), stop_before_pixels=True)
    told = cohortseg(home, "explain", "results/tiny", case)
    assert told.returncode == 0, told.output
    assert f"SeriesInstanceUID {scan.SeriesInstanceUID}" in told.output
    assert f"{SOURCE}" in told.output
    for what in ("revision", "key sha256:", "content sha256:", "plan: sha256:", "seed 1", "trained: fold"):
        assert what in told.output, what
    weights = [path.read_bytes() for path in study_of(home).glob("experiments/unet/*/weights.safetensors")]
    assert [hashlib.sha256(content).hexdigest() in told.output for content in weights].count(True) == 1
    rows = [row for row in read_table(study_of(home) / "tables" / "metrics_by_case.csv") if row["case"] == case]
    shown = re.findall(r"row (raw|post) (\w+): (.*)", told.output)
    assert len(shown) == len(rows) == 4
    for row in rows:
        assert any(
            (stage, label) == (row["stage"], row["label"]) and f"dice {float(row['dice']):.4g}" in numbers
            for stage, label, numbers in shown
        ), row


def test_explain_of_an_unknown_case_names_some_that_exist(finished):
    home, _, _ = finished
    told = cohortseg(home, "explain", "results/tiny", "sub-9999_ct1")
    assert told.returncode == 1
    assert "no case 'sub-9999_ct1'" in told.output
    assert "sub-0001_ct1" in told.output


def test_status_counts_each_stage(finished):
    home, _, _ = finished
    told = cohortseg(home, "status", "results/tiny")
    assert told.returncode == 0, told.output
    counts = {
        name.strip(): (int(done), int(to_do))
        for name, done, to_do in re.findall(r"^(.+?) +(\d+) done +\d+ rejected +(\d+) to do", told.output, re.MULTILINE)
    }
    assert counts["convert"] == counts["unet: evaluate"] == counts["otsu: postprocess"] == (len(COHORT), 0)
    assert counts["unet: train"] == (2, 0)
    assert counts["report"] == (1, 0)
    assert "failed" not in told.output

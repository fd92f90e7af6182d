"""The files that come with pydicom, all in one folder: each is accounted for, what is accepted has its own values."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from fuzz.pipeline import LABELS, Accepted, accept_all

from cohortseg.errors import REASONS

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"
WHAT: dict[str, str] = {
    "CT_small.dcm": "image",
    "MR_small.dcm": "image",
    "rtstruct.dcm": "rtstruct",
    "liver_1frame.dcm": "seg",
    "rtplan.dcm": "other",
    "rtdose.dcm": "other",
    "reportsi.dcm": "other",
    "waveform_ecg.dcm": "other",
    "dicomdirtests/DICOMDIR": "other",
    "README.txt": "file",
    "test1.json": "file",
    "zipMR.gz": "file",
}
"""What some files are."""


@pytest.fixture(scope="module")
def found() -> Accepted:
    return accept_all(FOLDER, labels={**LABELS, "kind": "none"}, series={"min_slices": 1})


def test_every_file_has_one_row_and_a_fate(found):
    present = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert set(found.files) == present
    names = {one.name for one in found.outcomes}
    for row in found.files.values():
        assert row["case"] in names if row["case"] else row["fate"] in REASONS
        assert row["fate"] == "image" or row["fate"] in REASONS
        assert bool(row["problem"]) == (row["fate"] == "UNREADABLE")


@pytest.mark.parametrize("path", WHAT)
def test_each_file_says_what_it_is(found, path):
    assert found.files[path]["kind"] == WHAT[path]


def test_refusals_carry_a_reason_and_some_are_accepted(found):
    assert all(one.reason is None or one.reason in REASONS for one in found.outcomes)
    assert sum(one.reason is None for one in found.outcomes) >= 5


def test_accepted_series_have_the_values_that_pydicom_reads(found):
    checked = 0
    for outcome in found.outcomes:
        paths = [path for path, row in found.files.items() if (row["case"], row["fate"]) == (outcome.name, "image")]
        if outcome.reason is not None:
            continue
        slices = [pydicom.dcmread(FOLDER / path) for path in paths]
        if slices[0].get("NumberOfFrames", 1) > 1 or slices[0].Modality == "PT" or slices[0].SamplesPerPixel > 1:
            continue
        order = np.argsort([np.dot(outcome.grid.axes[0], one.ImagePositionPatient) for one in slices])
        for plane, one in zip(outcome.array, (slices[k] for k in order), strict=True):
            values = one.pixel_array * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
            np.testing.assert_allclose(plane, values, rtol=1e-6)
            checked += 1
    assert checked >= 5

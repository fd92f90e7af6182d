import csv
import hashlib

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless
from skimage.measure import points_in_poly

from cohortseg.errors import SettingsError
from cohortseg.phantom.cohort import write_cohort

QUICK = {"matrix": 64, "slices": 12}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    dest = tmp_path_factory.mktemp("cohort") / "phantom"
    return dest, write_cohort(dest, **QUICK)


def digests(dest):
    files = sorted(path for path in dest.rglob("*") if path.is_file())
    return {str(path.relative_to(dest)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def headers(dest, row):
    """Of the slices, from the feet up."""
    found = [pydicom.dcmread(path) for path in sorted((dest / row["patient_id"]).glob("CT_*/*.dcm"))]
    return sorted(found, key=lambda one: float(one.ImagePositionPatient[2]))


def spoiled(cohort, how):
    dest, rows = cohort
    [row] = [row for row in rows if row["spoiled"] == how]
    return dest / row["patient_id"], headers(dest, row)


def filled_ml(path, slices):
    """Volume inside the contours of GTV-1, pixel centre by pixel centre."""
    one = pydicom.dcmread(path)
    number = next(roi.ROINumber for roi in one.StructureSetROISequence if roi.ROIName == "GTV-1")
    item = next(item for item in one.ROIContourSequence if item.ReferencedROINumber == number)
    spacing = float(slices[0].PixelSpacing[0])
    origin = np.asarray(slices[0].ImagePositionPatient[:2], dtype=float)
    centres = np.stack(np.mgrid[:64, :64], axis=-1).reshape(-1, 2)
    planes: dict[float, np.ndarray] = {}
    for contour in item.get("ContourSequence", []):
        points = np.reshape(np.asarray(contour.ContourData, dtype=float), (-1, 3))
        inside = points_in_poly(centres, (points[:, :2] - origin) / spacing)
        height = float(points[0, 2])
        planes[height] = planes.get(height, np.zeros(64 * 64, bool)) ^ inside
    return sum(plane.sum() for plane in planes.values()) * spacing**2 * float(slices[0].SliceThickness) / 1000


def label_ml(folder, kind, slices):
    if kind == "rtstruct":
        return filled_ml(folder / "rtstruct.dcm", slices)
    if kind == "nifti":
        label = SimpleITK.ReadImage(str(folder / "label.nii.gz"))
        return SimpleITK.GetArrayFromImage(label).sum() * np.prod(label.GetSpacing()) / 1000
    volume = highdicom.seg.segread(folder / "seg.dcm").get_volume(combine_segments=True)
    return (volume.array == 1).sum() * volume.voxel_volume / 1000


def test_the_cohort_has_sixteen_good_subjects_and_four_spoiled_ones(cohort):
    dest, rows = cohort
    assert len(rows) == 20
    assert [row["spoiled"] == "" for row in rows] == [True] * 16 + [False] * 4
    assert [row["patient_id"] for row in rows] == sorted(path.name for path in dest.iterdir() if path.is_dir())
    assert sum(row["n_tumours"] == 0 for row in rows) == 3
    assert {row["label_kind"] for row in rows} == {"rtstruct", "seg", "nifti", "none"}
    assert "SYNTHETIC" in (dest / "README.txt").read_text()


def test_truth_csv_says_what_was_returned(cohort):
    dest, rows = cohort
    with (dest / "truth.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert written == [{key: str(value) for key, value in row.items()} for row in rows]


def test_each_label_holds_the_volume_that_the_truth_names(cohort):
    dest, rows = cohort
    for row in rows:
        if row["label_kind"] == "none":
            continue
        slices = headers(dest, row)
        measured = label_ml(dest / row["patient_id"], row["label_kind"], slices)
        assert measured == pytest.approx(row["tumour_ml"], rel=1e-3, abs=1e-3)
        assert (row["tumour_ml"] > 0) == (row["n_tumours"] > 0)
        assert row["tumour_ml"] < 200


def test_series_are_whole_anonymous_and_written_in_four_transfer_syntaxes(cohort):
    dest, rows = cohort
    syntaxes = {}
    for row in rows[:16]:
        slices = headers(dest, row)
        gaps = np.diff([float(one.ImagePositionPatient[2]) for one in slices])
        np.testing.assert_allclose(gaps, row["slice_thickness_mm"], atol=1e-6)
        assert len(slices) == 12
        assert len({one.SOPInstanceUID for one in slices}) == 12
        assert {(one.PatientIdentityRemoved, one.PatientID) for one in slices} == {("YES", row["patient_id"])}
        assert all(str(one.PatientName).startswith("PHANTOM^") for one in slices)
        assert max(np.max(one.pixel_array) for one in slices) > 1024 + 200
        syntaxes.setdefault(row["scanner"], set()).update(one.file_meta.TransferSyntaxUID for one in slices)
    assert syntaxes["aurora"] == {ExplicitVRLittleEndian}
    assert syntaxes["tropic"] == {ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless}


def test_subjects_without_tumour_have_an_roi_without_contours(cohort):
    dest, rows = cohort
    for row in [row for row in rows if row["n_tumours"] == 0]:
        one = pydicom.dcmread(dest / row["patient_id"] / "rtstruct.dcm")
        assert one.StructureSetROISequence[0].ROIName == "GTV-1"
        assert "ContourSequence" not in one.ROIContourSequence[0]
        assert "ContourSequence" in one.ROIContourSequence[1]


def test_nifti_labels_lie_on_the_grid_of_their_series(cohort):
    dest, rows = cohort
    for row in [row for row in rows if row["label_kind"] == "nifti"]:
        label = SimpleITK.ReadImage(str(dest / row["patient_id"] / "label.nii.gz"))
        first = headers(dest, row)[0]
        np.testing.assert_allclose(label.GetOrigin(), [float(v) for v in first.ImagePositionPatient], atol=1e-4)
        np.testing.assert_allclose(label.GetSpacing()[:2], [float(v) for v in first.PixelSpacing], atol=1e-5)
        assert label.GetSize() == (64, 64, 12)


def test_one_scan_misses_a_slice(cohort):
    _, slices = spoiled(cohort, "missing slice")
    gaps = np.diff([float(one.ImagePositionPatient[2]) for one in slices])
    assert len(slices) == 11
    assert sorted(np.round(gaps / gaps.min(), 6)) == [1.0] * 9 + [2.0]


def test_one_scan_has_one_file_that_ends_too_early(cohort):
    _, slices = spoiled(cohort, "truncated file")
    lengths = [len(one.PixelData) == one.Rows * one.Columns * 2 for one in slices]
    assert lengths.count(False) == 1
    with pytest.raises(ValueError, match="less than expected"):
        _ = slices[lengths.index(False)].pixel_array


def test_one_label_names_another_patient(cohort):
    folder, slices = spoiled(cohort, "label of another patient")
    label = pydicom.dcmread(folder / "rtstruct.dcm")
    assert label.PatientID != slices[0].PatientID
    assert label.FrameOfReferenceUID == slices[0].FrameOfReferenceUID


def test_one_scan_has_no_label(cohort):
    folder, slices = spoiled(cohort, "no label")
    assert len(slices) == 12
    assert [path.name for path in folder.iterdir()] == ["CT_020"]


def test_two_processes_write_the_same_bytes_as_one(cohort, tmp_path):
    one = write_cohort(tmp_path / "one", subjects=3, **QUICK)
    two = write_cohort(tmp_path / "two", subjects=3, workers=2, **QUICK)
    assert one == two
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tmp_path / "one" / "PHANTOM-002") == digests(cohort[0] / "PHANTOM-002")


def test_a_complete_cohort_is_left_alone_and_an_incomplete_or_other_one_made_again(tmp_path):
    rows = write_cohort(tmp_path, subjects=1, spoiled=False, **QUICK)
    before = digests(tmp_path)
    witness = next(tmp_path.glob("PHANTOM-001/CT_001/*.dcm"))
    witness.write_bytes(b"touched")
    assert write_cohort(tmp_path, subjects=1, spoiled=False, **QUICK) == rows
    assert witness.read_bytes() == b"touched"
    (tmp_path / "phantom.json").unlink()
    assert write_cohort(tmp_path, subjects=1, spoiled=False, **QUICK) == rows
    assert digests(tmp_path) == before
    write_cohort(tmp_path, subjects=1, spoiled=False, seed=2, **QUICK)
    assert digests(tmp_path)["phantom.json"] != before["phantom.json"]
    assert witness.read_bytes() != b"touched"


def test_a_folder_with_other_things_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "PHANTOM-001").mkdir()
    (tmp_path / "PHANTOM-001" / "thesis.txt").write_text("dear")
    with pytest.raises(SettingsError, match="empty"):
        write_cohort(tmp_path, subjects=1, **QUICK)
    assert (tmp_path / "PHANTOM-001" / "thesis.txt").read_text() == "dear"


@pytest.mark.parametrize("wrong", [{"matrix": 16}, {"slices": 4}, {"subjects": -1}, {"seed": -1}])
def test_impossible_sizes_are_refused(tmp_path, wrong):
    with pytest.raises(SettingsError, match="needs"):
        write_cohort(tmp_path, **wrong)

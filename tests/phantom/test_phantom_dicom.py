import numpy as np
import pydicom
import pytest
import SimpleITK

from cohortseg.errors import SettingsError
from cohortseg.phantom.dicom import SCANNERS, SYNTAXES, write_series

SPACING, ORIGIN = (4.5, 0.8, 1.3), (-31.7, 12.25, -404.5)
TILTED = (0.96, 0.28, 0.0, -0.224, 0.768, 0.6)


@pytest.fixture(scope="module")
def lopsided():
    return np.random.default_rng(0).integers(-1024, 3071, (5, 33, 40)).astype(np.int16)


def read(folder):
    """By the series reader of SimpleITK, which sorts by position."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("scanner", sorted(SCANNERS))
@pytest.mark.parametrize("syntax", sorted(SYNTAXES))
def test_another_reader_finds_the_same_voxels_at_the_same_place(tmp_path, lopsided, scanner, syntax):
    files = write_series(
        tmp_path, lopsided, spacing_mm=SPACING, origin_mm=ORIGIN, scanner=scanner, syntax=syntax, orientation=TILTED
    )
    assert pydicom.dcmread(files[0]).file_meta.TransferSyntaxUID == SYNTAXES[syntax]
    image = read(tmp_path)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), lopsided)
    np.testing.assert_allclose(image.GetSpacing(), SPACING[::-1], atol=1e-5)
    np.testing.assert_allclose(image.GetOrigin(), ORIGIN, atol=1e-6)
    directions = np.reshape(image.GetDirection(), (3, 3)).T
    np.testing.assert_allclose(directions[:2].ravel(), TILTED, atol=1e-6)
    np.testing.assert_allclose(directions[2], np.cross(TILTED[:3], TILTED[3:]), atol=1e-6)


def test_two_runs_give_the_same_bytes_and_another_seed_other_identities(tmp_path, lopsided):
    for syntax in SYNTAXES:
        first, second = (
            write_series(tmp_path / syntax / run, lopsided, spacing_mm=SPACING, syntax=syntax) for run in "ab"
        )
        assert [file.name for file in first] == [file.name for file in second]
        assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    other = write_series(tmp_path / "c", lopsided, spacing_mm=SPACING, uid_seed="2")
    one, two = pydicom.dcmread(first[0]), pydicom.dcmread(other[0])
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert one[keyword].value != two[keyword].value


def test_two_series_of_a_patient_share_study_and_frame_but_no_series_or_instance(tmp_path, lopsided):
    one, two = (
        pydicom.dcmread(write_series(tmp_path / name, lopsided, spacing_mm=SPACING, series=name)[0]) for name in "12"
    )
    assert one.StudyInstanceUID == two.StudyInstanceUID
    assert one.FrameOfReferenceUID == two.FrameOfReferenceUID
    assert one.SeriesInstanceUID != two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID


def test_files_come_back_in_slice_order_under_shuffled_names(tmp_path):
    files = write_series(tmp_path, np.zeros((12, 4, 4), np.int16), spacing_mm=SPACING, origin_mm=ORIGIN)
    heights = [float(pydicom.dcmread(file).ImagePositionPatient[2]) for file in files]
    np.testing.assert_allclose(heights, -404.5 + 4.5 * np.arange(12))
    assert sorted(files) != files
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_scanners_count_slices_from_opposite_ends_and_store_other_integers(tmp_path, lopsided):
    for name, (first, kind) in {"aurora": (1, 0), "tropic": (5, 1)}.items():
        file = write_series(tmp_path / name, lopsided, spacing_mm=SPACING, scanner=name, kernel="sharp")[0]
        header = pydicom.dcmread(file)
        assert (header.InstanceNumber, header.PixelRepresentation) == (first, kind)
        assert header.ConvolutionKernel == SCANNERS[name].kernels["sharp"]


def test_everything_says_that_no_identity_is_left_unless_one_is_planted(tmp_path, lopsided):
    header = pydicom.dcmread(write_series(tmp_path / "a", lopsided, spacing_mm=SPACING)[0])
    assert header.PatientIdentityRemoved == "YES"
    planted = {"patient_name": "Roe^Jane", "patient_id": "MRN-77", "birth_date": "19610203", "identified": True}
    header = pydicom.dcmread(write_series(tmp_path / "b", lopsided, spacing_mm=SPACING, **planted)[0])
    assert header.PatientIdentityRemoved == "NO"
    assert "DeidentificationMethod" not in header
    assert (header.PatientName, header.PatientID, header.PatientBirthDate) == ("Roe^Jane", "MRN-77", "19610203")


def test_dropped_slices_are_not_written_and_the_others_stay_in_place(tmp_path, lopsided):
    files = write_series(tmp_path, lopsided, spacing_mm=SPACING, drop=(1, 4))
    assert [float(pydicom.dcmread(file).SliceLocation) for file in files] == [0.0, 9.0, 13.5]
    np.testing.assert_array_equal(pydicom.dcmread(files[1]).pixel_array.astype(int) - 1024, lopsided[2])


def test_a_tilted_gantry_shears_the_slices(tmp_path, lopsided):
    files = write_series(tmp_path, lopsided, spacing_mm=SPACING, step_mm=(0.0, 1.5, 4.5))
    positions = [list(pydicom.dcmread(file).ImagePositionPatient) for file in files]
    np.testing.assert_allclose(positions, [[0, 1.5 * k, 4.5 * k] for k in range(5)])


def test_slope_and_intercept_and_modality_are_free(tmp_path):
    values = np.arange(24).reshape(2, 3, 4) * 0.25 - 2
    write_series(tmp_path, values, spacing_mm=SPACING, slope=0.25, intercept=-2, modality="PT", extra={"Units": "BQML"})
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(read(tmp_path)), values)
    header = pydicom.dcmread(next(tmp_path.iterdir()))
    assert (header.Modality, header.Units) == ("PT", "BQML")
    assert "KVP" not in header


def test_extra_elements_are_set_and_none_removes_one(tmp_path, lopsided):
    extra = {"ImageOrientationPatient": None, "ContrastBolusAgent": None, "SliceThickness": "9"}
    header = pydicom.dcmread(write_series(tmp_path, lopsided, spacing_mm=SPACING, extra=extra)[0])
    assert "ImageOrientationPatient" not in header
    assert header.SliceThickness == 9


def test_values_beyond_sixteen_bits_and_unknown_names_are_refused(tmp_path, lopsided):
    with pytest.raises(SettingsError, match="do not fit"):
        write_series(tmp_path, lopsided - 2000.0, spacing_mm=SPACING)
    with pytest.raises(SettingsError, match="keyword"):
        write_series(tmp_path, lopsided, spacing_mm=SPACING, extra={"NoSuchThing": None})
    with pytest.raises(SettingsError, match="32 rows"):
        write_series(tmp_path, lopsided[:, :31], spacing_mm=SPACING, syntax="jpeg2000")
    with pytest.raises(SettingsError, match="jpegls"):
        write_series(tmp_path, lopsided, spacing_mm=SPACING, syntax="gif")
    with pytest.raises(SettingsError, match="aurora"):
        write_series(tmp_path, lopsided, spacing_mm=SPACING, scanner="sonar")

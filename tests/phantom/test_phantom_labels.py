import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.measure import points_in_poly

from cohortseg.errors import SettingsError
from cohortseg.phantom.dicom import write_series
from cohortseg.phantom.labels import write_nifti, write_rtstruct, write_seg
from cohortseg.volume import Grid

SHAPE, SPACING, ORIGIN = (5, 40, 52), (4.5, 0.8, 1.3), (-31.7, 12.25, -404.5)
ACROSS, DOWN = (0.96, 0.28, 0.0), (-0.224, 0.768, 0.6)
NORMAL = tuple(np.cross(ACROSS, DOWN).tolist())
GRID = Grid(SHAPE, SPACING, ORIGIN, (NORMAL, DOWN, ACROSS))


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    hu = np.zeros(SHAPE, np.int16)
    folder = tmp_path_factory.mktemp("series")
    return write_series(folder, hu, spacing_mm=SPACING, origin_mm=ORIGIN, orientation=(*ACROSS, *DOWN))


def disc(radius, centre=(21, 24)):
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    return np.hypot(rows - centre[0], columns - centre[1]) < radius


def ball():
    """Not the same from any two sides; with a hole in slice 2, nothing in slices 0 and 4."""
    mask = np.zeros(SHAPE, bool)
    mask[1], mask[2], mask[3] = disc(6, (15, 30)), disc(13) & ~disc(5, (23, 20)), disc(9, (20, 22))
    return mask


def polygons(path, name):
    """Slice index and corners (row, column) of each contour, by the inverse of the grid's affine."""
    one = pydicom.dcmread(path)
    numbers = {roi.ROIName: roi.ROINumber for roi in one.StructureSetROISequence}
    item = next(item for item in one.ROIContourSequence if item.ReferencedROINumber == numbers[name])
    found = []
    for contour in item.get("ContourSequence", []):
        points = np.reshape(np.asarray(contour.ContourData, dtype=float), (-1, 3))
        index = (np.linalg.inv(GRID.affine) @ np.c_[points, np.ones(len(points))].T).T[:, :3]
        assert contour.NumberOfContourPoints == len(points)
        assert np.ptp(index[:, 0]) < 1e-3
        found.append((round(float(index[0, 0])), index[:, 1:]))
    return found


def rasterised(path, name):
    mask = np.zeros(SHAPE, bool)
    centres = np.stack(np.mgrid[: SHAPE[1], : SHAPE[2]], axis=-1).reshape(-1, 2)
    for k, corners in polygons(path, name):
        mask[k] ^= points_in_poly(centres, corners).reshape(SHAPE[1:])
    return mask


def area(corners):
    y, x = corners.T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def test_contours_filled_again_are_the_mask_with_its_hole(series, tmp_path):
    write_rtstruct(tmp_path / "rt.dcm", {"Lungs": ~ball(), "GTV-1": ball()}, series[::-1])
    np.testing.assert_array_equal(rasterised(tmp_path / "rt.dcm", "GTV-1"), ball())
    np.testing.assert_array_equal(rasterised(tmp_path / "rt.dcm", "Lungs"), ~ball())


@given(mask=arrays.arrays(bool, (5, 6, 7), elements=st.booleans()))
@settings(max_examples=25, deadline=None)
def test_contours_of_any_mask_filled_again_are_the_mask(series, tmp_path_factory, mask):
    full = np.zeros(SHAPE, bool)
    full[:, 34:, :7] = mask  # at the border of the picture
    path = tmp_path_factory.getbasetemp() / "any.dcm"
    write_rtstruct(path, {"GTV-1": full}, series)
    np.testing.assert_array_equal(rasterised(path, "GTV-1"), full)


@pytest.mark.parametrize("radius", [6.0, 9.3, 15.2])
def test_the_area_inside_the_contour_is_that_of_the_mask_within_one_percent(series, tmp_path, radius):
    mask = np.zeros(SHAPE, bool)
    mask[2] = disc(radius)
    write_rtstruct(tmp_path / "rt.dcm", {"GTV-1": mask}, series)
    [(k, corners)] = polygons(tmp_path / "rt.dcm", "GTV-1")
    assert k == 2
    assert area(corners) == pytest.approx(mask.sum(), rel=0.01)


def test_an_empty_mask_is_an_roi_without_contours(series, tmp_path):
    write_rtstruct(tmp_path / "rt.dcm", {"GTV-1": np.zeros(SHAPE, bool), "Lungs": ball()}, series)
    one = pydicom.dcmread(tmp_path / "rt.dcm")
    assert [roi.ROIName for roi in one.StructureSetROISequence] == ["GTV-1", "Lungs"]
    assert ["ContourSequence" in item for item in one.ROIContourSequence] == [False, True]


def test_an_rtstruct_points_to_its_series_and_may_name_another_patient(series, tmp_path):
    write_rtstruct(tmp_path / "rt.dcm", {"GTV-1": ball()}, series, patient_id="SOMEBODY-ELSE")
    one, slice_2 = pydicom.dcmread(tmp_path / "rt.dcm"), pydicom.dcmread(series[2])
    frame = one.ReferencedFrameOfReferenceSequence[0]
    study = frame.RTReferencedStudySequence[0]
    assert frame.FrameOfReferenceUID == slice_2.FrameOfReferenceUID
    assert study.RTReferencedSeriesSequence[0].SeriesInstanceUID == slice_2.SeriesInstanceUID
    assert one.StudyInstanceUID == slice_2.StudyInstanceUID
    assert one.SeriesInstanceUID != slice_2.SeriesInstanceUID
    contour = one.ROIContourSequence[0].ContourSequence[1]
    assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID == slice_2.SOPInstanceUID
    assert (one.PatientID, slice_2.PatientID) == ("SOMEBODY-ELSE", "PHANTOM-001")


def test_highdicom_reads_the_segmentation_back_on_the_grid_of_the_series(series, tmp_path):
    write_seg(tmp_path / "seg.dcm", ball(), series[::-1])
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    description = seg.get_segment_description(1)
    assert description.segment_label == "GTV-1"
    assert description.segmented_property_type.meaning == "Neoplasm of lung"
    assert seg.NumberOfFrames == 3  # empty slices are left out
    grid = highdicom.get_volume_from_series([pydicom.dcmread(file) for file in series])
    volume = seg.get_volume(combine_segments=True).match_geometry(grid)
    index = np.argwhere(volume.array == 1)
    found = volume.map_indices_to_reference(index)
    truth = [GRID.world(tuple(voxel)) for voxel in np.argwhere(ball())]
    np.testing.assert_allclose(sorted(map(tuple, found.round(3))), sorted(map(tuple, np.round(truth, 3))), atol=2e-3)


def test_labels_have_the_same_bytes_each_time(series, tmp_path):
    for run in "ab":
        write_rtstruct(tmp_path / f"rt-{run}.dcm", {"GTV-1": ball()}, series)
        write_seg(tmp_path / f"seg-{run}.dcm", ball(), series)
        write_nifti(tmp_path / f"label-{run}.nii.gz", ball(), GRID)
    for name in ("rt-{}.dcm", "seg-{}.dcm", "label-{}.nii.gz"):
        assert (tmp_path / name.format("a")).read_bytes() == (tmp_path / name.format("b")).read_bytes()


def test_a_nifti_label_lies_on_the_grid_of_the_series(series, tmp_path):
    write_nifti(tmp_path / "label.nii.gz", ball(), GRID, value=3)
    label = SimpleITK.ReadImage(str(tmp_path / "label.nii.gz"))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in series])
    image = reader.Execute()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(label), ball() * 3)
    for name in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(label, name)(), getattr(image, name)(), atol=1e-4)


def test_masks_that_do_not_fit_their_series_are_refused(series, tmp_path):
    with pytest.raises(SettingsError, match="its series"):
        write_rtstruct(tmp_path / "rt.dcm", {"GTV-1": ball()[1:]}, series)
    with pytest.raises(SettingsError, match="its series"):
        write_seg(tmp_path / "seg.dcm", ball()[:, 1:], series)
    with pytest.raises(SettingsError, match="at least one voxel"):
        write_seg(tmp_path / "seg.dcm", np.zeros(SHAPE, bool), series)
    with pytest.raises(SettingsError, match="its grid"):
        write_nifti(tmp_path / "label.nii.gz", ball()[1:], GRID)
    assert not list(tmp_path.iterdir())

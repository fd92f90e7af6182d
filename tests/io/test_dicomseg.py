"""DICOM segmentations, written by highdicom or by hand, read back onto the grid they were drawn on."""

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_phantom import grid_of, hu_of, slice_of
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from cohortseg.errors import Rejected
from cohortseg.io.dicomseg import seg_mask
from cohortseg.io.headers import read_header
from cohortseg.volume import Grid

GRID = grid_of((7, 16, 11))
STRUCTURES = {"tumour": "Tumour.*", "lung": "Lung"}


def lopsided_label() -> np.ndarray:
    """Class 1 on slices 2 to 4, class 2 on slices 4 and 5, nothing on the others."""
    label = np.zeros(GRID.shape, np.uint8)
    label[2:5, 3:9, 1:4] = 1
    label[4:6, 10:15, 5:11] = 2
    label[5, 12, 7] = 0
    return label


def described(number, name):
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
    )


def write(
    path, pixels, *, kind="BINARY", names=("Tumour 1", "Lung"), syntax=ExplicitVRLittleEndian, grid=GRID, **options
):
    sources = [slice_of(grid, index, plane) for index, plane in enumerate(hu_of(grid.shape))]
    Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type=SegmentationTypeValues[kind],
        segment_descriptions=[described(number, name) for number, name in enumerate(names, start=1)],
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="ACME",
        manufacturer_model_name="One",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=syntax,
        **options,
    ).save_as(path)
    return path


def edited(path, change):
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def reason(path, grid=GRID, structures=STRUCTURES, **options):
    with pytest.raises(Rejected) as caught:
        seg_mask(path, grid, structures, **options)
    return caught.value.reason


@pytest.mark.parametrize(("kind", "syntax"), [("BINARY", ExplicitVRLittleEndian), ("LABELMAP", JPEGLSLossless)])
def test_a_segmentation_comes_back_voxel_by_voxel_with_its_empty_slices(tmp_path, kind, syntax):
    path = write(tmp_path / "s", lopsided_label(), kind=kind, syntax=syntax)
    label, facts = seg_mask(path, GRID, STRUCTURES)
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, lopsided_label())
    assert facts["n_segments"] == {"tumour": 1, "lung": 1}
    assert facts["n_overlap_voxels"] == 0


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_classes_are_numbered_as_they_are_named(tmp_path, kind):
    path = write(tmp_path / "s", lopsided_label(), kind=kind)
    label, _ = seg_mask(path, GRID, {"lung": "Lung", "tumour": "Tumour.*"})
    np.testing.assert_array_equal(label, np.choose(lopsided_label(), [0, 2, 1]))
    label, _ = seg_mask(path, GRID, {"lung": "Lung"})
    np.testing.assert_array_equal(label, lopsided_label() == 2)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_of_one_class_are_united(tmp_path, kind):
    path = write(tmp_path / "s", lopsided_label(), kind=kind, names=("Tumour 1", "Tumour 2"))
    label, facts = seg_mask(path, GRID, {"tumour": "Tumour.*"})
    np.testing.assert_array_equal(label, lopsided_label() > 0)
    assert facts["n_segments"] == {"tumour": 2}


def test_half_a_fraction_holds_the_voxel(tmp_path):
    share = np.zeros((*GRID.shape, 2), np.float32)
    share[3, 4:8, 2:6, 0] = np.array([0.2, 0.45, 0.55, 1.0])
    share[5, 1, 1, 1] = 0.9
    path = write(tmp_path / "s", share, kind="FRACTIONAL", max_fractional_value=200)
    label, _ = seg_mask(path, GRID, STRUCTURES)
    expected = np.zeros(GRID.shape, np.uint8)
    expected[3, 4:8, 4:6] = 1
    expected[5, 1, 1] = 2
    np.testing.assert_array_equal(label, expected)


def test_the_class_named_first_keeps_an_overlap_of_segments(tmp_path):
    masks = np.zeros((*GRID.shape, 2), np.uint8)
    masks[3, 2:6, 2:6, 0] = 1
    masks[3, 4:8, 4:8, 1] = 1
    path = write(tmp_path / "s", masks)
    label, facts = seg_mask(path, GRID, {"lung": "Lung", "tumour": "Tumour.*"})
    assert [(label == number).sum() for number in (1, 2)] == [16, 12]
    assert facts["n_overlap_voxels"] == 4


def test_frames_may_stand_in_any_order(tmp_path):
    def reverse(dataset):
        dataset.PerFrameFunctionalGroupsSequence = list(dataset.PerFrameFunctionalGroupsSequence)[::-1]
        frames = dataset.pixel_array[::-1]
        dataset.PixelData = pydicom.pixels.pack_bits(frames.ravel())

    path = edited(write(tmp_path / "s", lopsided_label()), reverse)
    np.testing.assert_array_equal(seg_mask(path, GRID, STRUCTURES)[0], lopsided_label())


def test_frames_told_from_another_corner_land_on_the_same_voxels(tmp_path):
    z, y, x = (np.array(axis) for axis in GRID.axes)
    corner = GRID.world((6, 15, 0))
    turned = Grid((7, 11, 16), (2.5, 0.7, 0.8), corner, (tuple(-z), tuple(x), tuple(-y)))
    pixels = lopsided_label()[::-1, ::-1].transpose(0, 2, 1)
    path = write(tmp_path / "s", np.ascontiguousarray(pixels), grid=turned)
    np.testing.assert_array_equal(seg_mask(path, GRID, STRUCTURES)[0], lopsided_label())


def test_a_smaller_frame_lands_where_it_says(tmp_path):
    part = Grid((7, 12, 10), GRID.spacing_mm, GRID.world((0, 3, 1)), GRID.axes)
    path = write(tmp_path / "s", np.ascontiguousarray(lopsided_label()[:, 3:15, 1:11]), grid=part)
    np.testing.assert_array_equal(seg_mask(path, GRID, STRUCTURES)[0], lopsided_label())


@pytest.mark.parametrize("index", [(0.4, 0, 0), (0, 0.3, 0), (0, 0, 0.2)])
def test_a_segmentation_between_the_voxels_is_refused(tmp_path, index):
    shifted = Grid(GRID.shape, GRID.spacing_mm, GRID.world(index), GRID.axes)
    path = write(tmp_path / "s", lopsided_label(), grid=shifted)
    assert reason(path) == "LABEL_OFF_GRID"
    assert seg_mask(path, shifted, STRUCTURES)[0].any()


def test_a_segmentation_of_another_voxel_size_is_refused(tmp_path):
    finer = Grid((7, 16, 11), (2.5, 0.4, 0.35), GRID.origin_mm, GRID.axes)
    assert reason(write(tmp_path / "s", lopsided_label(), grid=finer)) == "LABEL_OFF_GRID"


def test_marked_pixels_outside_the_image_are_refused_and_empty_ones_are_not(tmp_path):
    path = write(tmp_path / "s", lopsided_label())
    smaller = Grid((6, 15, 11), GRID.spacing_mm, GRID.origin_mm, GRID.axes)
    np.testing.assert_array_equal(seg_mask(path, smaller, STRUCTURES)[0], lopsided_label()[:6, :15])
    assert reason(path, Grid((5, 16, 11), GRID.spacing_mm, GRID.origin_mm, GRID.axes)) == "LABEL_OUTSIDE"
    assert reason(path, Grid((7, 14, 11), GRID.spacing_mm, GRID.origin_mm, GRID.axes)) == "LABEL_OUTSIDE"


def test_a_segment_that_is_not_there_is_refused(tmp_path):
    assert reason(write(tmp_path / "s", lopsided_label()), structures={"heart": "Heart"}) == "LABEL_STRUCTURE_MISSING"


def test_a_segment_without_frames_is_an_empty_class(tmp_path):
    only = np.where(lopsided_label() == 1, 1, 0).astype(np.uint8)
    label, _ = seg_mask(write(tmp_path / "s", only), GRID, STRUCTURES)
    np.testing.assert_array_equal(label, only)


@pytest.mark.parametrize("missing", ["PlanePositionSequence", "SegmentIdentificationSequence"])
def test_a_frame_that_does_not_say_where_or_what_it_is_is_refused(tmp_path, missing):
    def strip(dataset):
        delattr(dataset.PerFrameFunctionalGroupsSequence[1], missing)

    assert reason(edited(write(tmp_path / "s", lopsided_label()), strip)) == "LABEL_UNREADABLE"


def test_broken_segmentations_are_refused(tmp_path):
    path = write(tmp_path / "s", lopsided_label())
    content = path.read_bytes()
    cut = tmp_path / "cut"
    for end in (-20, -200, 3000, 1500, 200):
        cut.write_bytes(content[:end])
        assert reason(cut) == "LABEL_UNREADABLE", end
    cut.write_text("nothing")
    assert reason(cut) == "LABEL_UNREADABLE"
    assert reason(tmp_path / "absent") == "SOURCE_CHANGED"
    assert reason(edited(path, lambda dataset: dataset.PerFrameFunctionalGroupsSequence.pop())) == "LABEL_UNREADABLE"


def test_its_header_record_lists_the_segments(tmp_path):
    record = read_header(write(tmp_path / "s", lopsided_label()))
    assert record["kind"] == "seg"
    assert record["segments"] == [{"number": 1, "label": "Tumour 1"}, {"number": 2, "label": "Lung"}]
    assert record["n_frames"] == 5
    assert len(record["referenced_series_uids"]) == 1


def test_frames_that_begin_in_the_middle_of_a_byte_are_read(tmp_path):
    grid = grid_of((5, 13, 11))
    label = np.zeros(grid.shape, np.uint8)
    label[1, 2:9, 3:5] = 1
    label[2, 0, 0] = label[2, 12, 10] = 1
    label[3, 4:7, 1:10] = 1
    path = write(tmp_path / "odd.dcm", label, names=("Tumour 1",), grid=grid)
    found, _ = seg_mask(path, grid, {"tumour": "Tumour.*"})
    np.testing.assert_array_equal(found, label)

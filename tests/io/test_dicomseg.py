"""DICOM segmentations, written by highdicom or by hand, read back onto the grid they were drawn on."""

import re
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_phantom import FRAME, SERIES, grid_of, hu_of, slice_of
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from cohortseg.errors import Rejected, SettingsError
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


@pytest.mark.parametrize("what", ["PROBABILITY", "OCCUPANCY"])
def test_the_share_that_holds_a_voxel_can_be_chosen(tmp_path, what):
    share = np.zeros((*GRID.shape, 1), np.float32)
    share[3, 4, 2:7, 0] = np.array([0.1, 0.3, 0.55, 0.8, 1.0])
    options = {"fractional_type": what, "max_fractional_value": 200}
    path = write(tmp_path / "s", share, kind="FRACTIONAL", names=("Lung",), **options)
    for fraction, wanted in ((0.05, 5), (0.3, 4), (0.55, 3), (0.56, 2), (0.9, 1), (1.0, 1)):
        label, facts = seg_mask(path, GRID, {"lung": "Lung"}, fraction=fraction)
        np.testing.assert_array_equal(label[3, 4, 2:7], [0] * (5 - wanted) + [1] * wanted)
        assert label.sum() == wanted
        assert facts["segmentation_type"] == "FRACTIONAL"


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_an_impossible_share_is_refused(tmp_path, fraction):
    with pytest.raises(SettingsError, match="fraction"):
        seg_mask(tmp_path / "absent", GRID, STRUCTURES, fraction=fraction)


def test_the_share_plays_no_part_in_binary_segments(tmp_path):
    path = write(tmp_path / "s", lopsided_label())
    np.testing.assert_array_equal(seg_mask(path, GRID, STRUCTURES, fraction=1.0)[0], lopsided_label())


def test_synonyms_and_classes_that_are_not_there(tmp_path):
    path = write(tmp_path / "s", lopsided_label())
    label, facts = seg_mask(path, GRID, {"heart": "Heart", "lung": ["Pulmo", "Lung"]}, missing="empty")
    np.testing.assert_array_equal(label, (lopsided_label() == 2) * 2)
    assert (facts["n_segments"], facts["missing"]) == ({"heart": 0, "lung": 1}, ["heart"])
    assert reason(path, structures={"heart": "Heart", "lung": ["Pulmo", "Lung"]}) == "LABEL_STRUCTURE_MISSING"
    assert reason(path, structures={"heart": "Heart"}, missing="empty") == "LABEL_STRUCTURE_MISSING"


def test_the_class_named_first_keeps_an_overlap_of_segments(tmp_path):
    masks = np.zeros((*GRID.shape, 2), np.uint8)
    masks[3, 2:6, 2:6, 0] = 1
    masks[3, 4:8, 4:8, 1] = 1
    path = write(tmp_path / "s", masks)
    label, facts = seg_mask(path, GRID, {"lung": "Lung", "tumour": "Tumour.*"})
    assert [(label == number).sum() for number in (1, 2)] == [16, 12]
    assert (facts["n_overlap_voxels"], facts["overlap_voxels"]) == (4, {"lung": {"tumour": 4}})


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


def test_frames_of_several_orientations_land_where_they_say(tmp_path):
    # One segmentation of cubes, of which one segment is told in sagittal frames.
    cubes = Grid((6, 9, 7), (2.0, 2.0, 2.0), GRID.origin_mm, GRID.axes)
    label = np.zeros(cubes.shape, np.uint8)
    label[1:4, 2:8, 1:3] = 1
    label[2:6, 1:5, 5] = 2
    axial = pydicom.dcmread(write(tmp_path / "axial", (label == 1).astype(np.uint8), names=("Tumour",), grid=cubes))
    z, y, x = cubes.axes
    side = Grid((7, 6, 9), (2.0, 2.0, 2.0), cubes.origin_mm, (x, z, y))
    pixels = (label == 2).astype(np.uint8).transpose(2, 0, 1).copy()
    other = pydicom.dcmread(write(tmp_path / "side", pixels, names=("Lung",), grid=side))
    padded = []
    for number, dataset in enumerate((axial, other), start=1):
        frames = dataset.pixel_array.reshape(int(dataset.NumberOfFrames), dataset.Rows, dataset.Columns)
        padded += [np.pad(frame, ((0, 9 - frame.shape[0]), (0, 9 - frame.shape[1]))) for frame in frames]
        for group in dataset.PerFrameFunctionalGroupsSequence:
            group.PlaneOrientationSequence = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
            group.SegmentIdentificationSequence = [pydicom.Dataset()]
            group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = number
    del axial.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    del axial.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence
    axial.SegmentSequence.append(other.SegmentSequence[0])
    axial.SegmentSequence[1].SegmentNumber = 2
    axial.PerFrameFunctionalGroupsSequence.extend(other.PerFrameFunctionalGroupsSequence)
    axial.NumberOfFrames, axial.Rows, axial.Columns = len(padded), 9, 9
    axial.PixelData = pydicom.pixels.pack_bits(np.array(padded).ravel())
    axial.save_as(tmp_path / "both")
    np.testing.assert_array_equal(seg_mask(tmp_path / "both", cubes, {"tumour": "Tumour", "lung": "Lung"})[0], label)


@pytest.mark.parametrize(
    "sequence", ["SegmentIdentificationSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"]
)
def test_what_frames_share_may_stand_in_either_group(tmp_path, sequence):
    only = (lopsided_label() == 1).astype(np.uint8)
    path = write(tmp_path / "s", only, names=("Tumour",))
    assert sequence in pydicom.dcmread(path).SharedFunctionalGroupsSequence[0]

    def move(dataset):
        shared = dataset.SharedFunctionalGroupsSequence[0]
        for group in dataset.PerFrameFunctionalGroupsSequence:
            setattr(group, sequence, getattr(shared, sequence))
        delattr(shared, sequence)

    def empty_first(dataset):
        # What stands in a frame's own group goes before, where it says anything.
        move(dataset)
        own = dataset.PerFrameFunctionalGroupsSequence
        setattr(dataset.SharedFunctionalGroupsSequence[0], sequence, getattr(own[0], sequence))
        setattr(own[0], sequence, [pydicom.Dataset()])

    for change in (move, empty_first):
        moved = edited(write(tmp_path / "s", only, names=("Tumour",)), change)
        np.testing.assert_array_equal(seg_mask(moved, GRID, {"tumour": "Tumour"})[0], only)


def test_segments_that_nobody_asks_for_may_lie_anywhere(tmp_path):
    def lift(dataset):
        for group in dataset.PerFrameFunctionalGroupsSequence:
            if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2:
                group.PlanePositionSequence[0].ImagePositionPatient = ["0", "0", "1000.3"]

    path = edited(write(tmp_path / "s", lopsided_label()), lift)
    np.testing.assert_array_equal(seg_mask(path, GRID, {"tumour": "Tumour.*"})[0], lopsided_label() == 1)
    assert reason(path) == "LABEL_OFF_GRID"


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


def strip(missing):
    return lambda dataset: delattr(dataset.PerFrameFunctionalGroupsSequence[1], missing)


def slide(dataset):
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
        group.PlanePositionSlideSequence = [pydicom.Dataset()]
    dataset.TotalPixelMatrixRows = dataset.TotalPixelMatrixColumns = 64


def tiled(dataset):
    dataset.DimensionOrganizationType = "TILED_FULL"
    del dataset.PerFrameFunctionalGroupsSequence


def placed(*numbers):
    def change(dataset):
        dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient = list(numbers)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (strip("PlanePositionSequence"), "does not say where it lies"),
        (strip("SegmentIdentificationSequence"), "names no segment"),
        (placed("1", "2"), "does not say where it lies"),
        (placed("1", "2", "1e999"), "not finite"),
        (slide, "whole slide"),
        (tiled, "whole slide"),
        (lambda dataset: delattr(dataset, "SharedFunctionalGroupsSequence"), "does not say where it lies"),
        (lambda dataset: dataset.PerFrameFunctionalGroupsSequence.pop(), "4 descriptions for 5 frames"),
        (lambda dataset: delattr(dataset, "SegmentSequence"), "broken (AttributeError)"),
        (lambda dataset: delattr(dataset, "NumberOfFrames"), "broken (AttributeError)"),
        (lambda dataset: delattr(dataset.SegmentSequence[0], "SegmentNumber"), "broken (AttributeError)"),
        (lambda dataset: setattr(dataset, "SegmentationType", "SURFACE"), "unknown type"),
        (lambda dataset: setattr(dataset, "BitsAllocated", 16), "16 bits"),
        (lambda dataset: setattr(dataset, "NumberOfFrames", 500), "5 descriptions for 500 frames"),
        (lambda dataset: setattr(dataset, "Rows", 400), "bytes of the frames are there"),
    ],
)
def test_what_a_segmentation_fails_to_say_is_told(tmp_path, change, words):
    path = edited(write(tmp_path / "s", lopsided_label()), change)
    with pytest.raises(Rejected, match="LABEL_UNREADABLE: .*" + re.escape(words)):
        seg_mask(path, GRID, STRUCTURES)


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


def in_syntax(path, syntax):
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_a_deflated_segmentation_is_read_and_a_cut_one_refused(tmp_path, kind):
    grid = grid_of((5, 13, 11))
    label = np.zeros(grid.shape, np.uint8)
    label[1, 2:9, 3:5] = label[3, 12, 10] = label[3, 0, 0] = 1
    pixels = label if kind == "LABELMAP" else label.astype(np.float32 if kind == "FRACTIONAL" else np.uint8)
    path = in_syntax(
        write(tmp_path / "s", pixels, kind=kind, names=("Lung",), grid=grid), DeflatedExplicitVRLittleEndian
    )
    np.testing.assert_array_equal(seg_mask(path, grid, {"lung": "Lung"})[0], label)
    path.write_bytes(path.read_bytes()[:-30])
    assert reason(path, grid, {"lung": "Lung"}) == "LABEL_UNREADABLE"
    short = write(tmp_path / "short", pixels, kind=kind, names=("Lung",), grid=grid)
    edited(short, lambda dataset: setattr(dataset, "PixelData", dataset.PixelData[:-4]))
    assert reason(in_syntax(short, DeflatedExplicitVRLittleEndian), grid, {"lung": "Lung"}) == "LABEL_UNREADABLE"


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        *(("BINARY", syntax) for syntax in (ImplicitVRLittleEndian, JPEG2000Lossless)),
        *(("FRACTIONAL", syntax) for syntax in (ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless)),
        *(("LABELMAP", syntax) for syntax in (ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless)),
    ],
)
def test_every_syntax_that_highdicom_writes_is_read(tmp_path, kind, syntax):
    # JPEG 2000 needs pictures of 32 pixels, and gdcm, which writes RLE, an even number of them.
    grid = grid_of((4, 38, 34))
    label = np.zeros(grid.shape, np.uint8)
    label[1:3, 3:30, 5:9] = 1
    label[2, 30:36, 20:33] = 2
    pixels = label if kind != "FRACTIONAL" else np.stack([label == 1, label == 2], -1).astype(np.float32)
    path = write(tmp_path / "s", pixels, kind=kind, syntax=syntax, grid=grid)
    np.testing.assert_array_equal(seg_mask(path, grid, STRUCTURES)[0], label)


def test_a_label_map_of_16_bits_is_read(tmp_path):
    def widen(dataset):
        # highdicom has cut 300 down to eight bits.
        stored = np.where(dataset.pixel_array == 300 % 256, 300, dataset.pixel_array)
        dataset.PixelData = stored.astype("<u2").tobytes()

    label = np.where(lopsided_label() == 2, 300, lopsided_label()).astype(np.uint16)
    names = tuple("Lung" if number == 300 else f"Tumour {number}" for number in range(1, 301))
    path = edited(write(tmp_path / "s", label, kind="LABELMAP", names=names), widen)
    found, facts = seg_mask(path, GRID, STRUCTURES)
    np.testing.assert_array_equal(found, lopsided_label())
    assert facts["n_segments"] == {"tumour": 299, "lung": 1}


def test_the_background_of_a_label_map_is_no_structure(tmp_path):
    path = write(tmp_path / "s", lopsided_label(), kind="LABELMAP")
    assert [int(one.SegmentNumber) for one in pydicom.dcmread(path).SegmentSequence] == [0, 1, 2]
    label, facts = seg_mask(path, GRID, {"all": ".*"})
    np.testing.assert_array_equal(label, lopsided_label() > 0)
    assert facts["n_segments"] == {"all": 2}


def test_its_header_record_lists_the_segments(tmp_path):
    record = read_header(write(tmp_path / "s", lopsided_label()))
    assert record["kind"] == "seg"
    assert record["segments"] == [{"number": 1, "label": "Tumour 1"}, {"number": 2, "label": "Lung"}]
    assert record["n_frames"] == 5
    assert len(record["referenced_series_uids"]) == 1
    assert record["referenced_frame_uids"] == [FRAME]


def test_its_moment_and_the_series_of_other_studies_are_in_its_record(tmp_path):
    def change(dataset):
        dataset.ContentDate, dataset.ContentTime = "20210304", "070809.5"
        dataset.SeriesDate, dataset.SeriesTime = "20200101", "101112"
        other, series = pydicom.Dataset(), pydicom.Dataset()
        series.SeriesInstanceUID, other.StudyInstanceUID = "1.2.3", "1.2"
        other.ReferencedSeriesSequence = [series]
        dataset.StudiesContainingOtherReferencedInstancesSequence = [other]

    path = edited(write(tmp_path / "s", lopsided_label()), change)
    record = read_header(path)
    assert (record["date"], record["time"]) == ("20210304", "070809.5")
    assert sorted(record["referenced_series_uids"]) == sorted(["1.2.3", SERIES])
    record = read_header(edited(path, lambda dataset: setattr(dataset, "ContentDate", "")))
    assert (record["date"], record["time"]) == ("20200101", "101112")
    record = read_header(edited(path, lambda dataset: delattr(dataset, "SeriesDate")))
    assert (record["date"], record["time"]) == (None, None)


def test_frames_that_begin_in_the_middle_of_a_byte_are_read(tmp_path):
    grid = grid_of((5, 13, 11))
    label = np.zeros(grid.shape, np.uint8)
    label[1, 2:9, 3:5] = 1
    label[2, 0, 0] = label[2, 12, 10] = 1
    label[3, 4:7, 1:10] = 1
    path = write(tmp_path / "odd.dcm", label, names=("Tumour 1",), grid=grid)
    found, _ = seg_mask(path, grid, {"tumour": "Tumour.*"})
    np.testing.assert_array_equal(found, label)


@pytest.mark.parametrize(("keyword", "value"), [("Rows", 15), ("Rows", 1), ("Columns", 10), ("Columns", 1)])
@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        *[
            (kind, syntax)
            for kind in ("BINARY", "LABELMAP")
            for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
        ],
        ("BINARY", DeflatedExplicitVRLittleEndian),
        ("LABELMAP", JPEGLSLossless),
        ("LABELMAP", RLELossless),
    ],
)
def test_a_matrix_that_is_said_too_small_is_refused(tmp_path, kind, syntax, keyword, value):
    deflated = syntax == DeflatedExplicitVRLittleEndian
    path = write(tmp_path / "s", lopsided_label(), kind=kind, syntax=ExplicitVRLittleEndian if deflated else syntax)
    edited(path, lambda dataset: setattr(dataset.file_meta, "TransferSyntaxUID", syntax))
    assert seg_mask(path, GRID, STRUCTURES)[0].any()
    assert reason(edited(path, lambda dataset: setattr(dataset, keyword, value))) == "LABEL_UNREADABLE"


# Judged by highdicom

EXAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"


def volume_of(path, number):
    """One segment of a file as highdicom reads it, and its grid."""
    volume = highdicom.seg.segread(path).get_volume(
        segment_numbers=[number], combine_segments=True, rescale_fractional=True
    )
    spacing, axes = np.linalg.norm(volume.affine[:3, :3], axis=0), volume.affine[:3, :3].T
    z, y, x = (tuple(float(c) for c in axis / size) for axis, size in zip(axes, spacing, strict=True))
    grid = Grid(volume.array.shape, tuple(map(float, spacing)), tuple(map(float, volume.affine[:3, 3])), (z, y, x))
    return volume.array, grid


@pytest.mark.parametrize("name", ["liver_1frame.dcm", "liver_expb_1frame.dcm"])
def test_the_examples_of_pydicom_are_read_as_highdicom_reads_them(tmp_path, name):
    # One frame was cut out of three, and the descriptions of all were left.
    assert reason(EXAMPLES / name, structures={"liver": "Liver"}) == "LABEL_UNREADABLE"
    for part in ("liver_1frame.dcm", name):
        dataset = pydicom.dcmread(EXAMPLES / part)
        dataset.NumberOfFrames = 1
        del dataset.PerFrameFunctionalGroupsSequence[1:]
        dataset.save_as(tmp_path / part)
    # highdicom reads no big-endian files; both hold the same.
    expected, grid = volume_of(tmp_path / "liver_1frame.dcm", 1)
    label, facts = seg_mask(tmp_path / name, grid, {"liver": "Liver"})
    np.testing.assert_array_equal(label, expected == 1)
    assert (label.sum(), facts["n_frames"]) == (36233, 1)


def test_big_endian_words_are_refused(tmp_path):
    content = (EXAMPLES / "liver_expb_1frame.dcm").read_bytes()
    tag = b"\x7f\xe0\x00\x10"
    assert content.count(tag + b"OB") == 1
    (tmp_path / "s").write_bytes(content.replace(tag + b"OB", tag + b"OW"))
    assert reason(tmp_path / "s", structures={"liver": "Liver"}) == "LABEL_UNREADABLE"


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_are_read_as_highdicom_reads_them(tmp_path, kind):
    path = write(tmp_path / "s", lopsided_label(), kind=kind)
    for number, name in ((1, "Tumour.*"), (2, "Lung")):
        expected, grid = volume_of(path, number)
        assert (expected == number).any()
        np.testing.assert_array_equal(seg_mask(path, grid, {"a": name})[0], expected == number)

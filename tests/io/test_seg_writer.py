"""DICOM-SEG: several readers find the label again, and the object says whose it is and where it lies."""

import shutil
import subprocess
import time
import warnings

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_phantom import FRAME, SERIES, STUDY, grid_of
from hypothesis import given, settings
from hypothesis import strategies as st
from label_phantom import (
    CLASSES,
    GRID,
    IDENTITY,
    classic,
    enhanced,
    label_of,
    lacking,
    moments,
    moved,
    sources_of,
)

from cohortseg.errors import Rejected
from cohortseg.io.dicomseg import seg_mask
from cohortseg.io.geometry import stack_geometry
from cohortseg.io.headers import read_header
from cohortseg.io.seg_writer import Segment, write_seg
from cohortseg.io.source_images import matches, read_sources
from cohortseg.volume import Grid, Volume

LIVER, TISSUE = ("10200004", "SCT", "Liver"), ("85756007", "SCT", "Tissue")
ANATOMY = ("91723000", "SCT", "Anatomical structure")
SEGMENTS = [Segment("liver", LIVER, ANATOMY), *(Segment(name, TISSUE, ANATOMY) for name in CLASSES[1:])]
STRUCTURES = {name: name for name in CLASSES}
KEY = bytes(range(32))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return sources_of(tmp_path_factory.mktemp("series"))


def written(path, label, sources, **options):
    write_seg(path, label, sources, SEGMENTS, **options)
    return pydicom.dcmread(path)


def read_again(path, grid=GRID):
    return seg_mask(path, grid, STRUCTURES)[0]


def place_of(frame, grid=GRID):
    """Slice of the grid on which a frame lies."""
    position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
    return round(float((position - np.array(grid.origin_mm)) @ np.array(grid.axes[0])) / grid.spacing_mm[0])


def named(seg):
    """The source images that each frame names, by segment and slice."""
    return {
        (frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber, place_of(frame)): [
            image for derived in frame.DerivationImageSequence for image in derived.SourceImageSequence
        ]
        for frame in seg.PerFrameFunctionalGroupsSequence
    }


# ---- the voxels


def test_our_own_reader_gets_the_label_back(tmp_path, sources):
    written(tmp_path / "s.dcm", label_of(), sources)
    np.testing.assert_array_equal(read_again(tmp_path / "s.dcm"), label_of().array)


def test_pydicom_alone_gets_the_label_back(tmp_path, sources):
    seg = written(tmp_path / "s.dcm", label_of(), sources)
    again = np.zeros(GRID.shape, np.uint8)
    for frame, pixels in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        again[place_of(frame)][pixels > 0] = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    np.testing.assert_array_equal(again, label_of().array)


def test_highdicom_gets_the_label_back_on_the_geometry_of_the_series(tmp_path):
    paths = classic(tmp_path / "series")
    written(tmp_path / "s.dcm", label_of(), read_sources(paths))
    series = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in paths])
    seg = highdicom.seg.segread(tmp_path / "s.dcm")
    volume = seg.get_volume(combine_segments=True).match_geometry(series)
    # highdicom counts the slices of the series from its own end.
    first = np.array(volume.affine[:3, 3])
    place = round(float((first - np.array(GRID.origin_mm)) @ np.array(GRID.axes[0])) / GRID.spacing_mm[0])
    array = volume.array if place == 0 else volume.array[::-1]
    np.testing.assert_array_equal(array, label_of().array)


LEFT = Grid(GRID.shape, GRID.spacing_mm, GRID.origin_mm, (tuple(-c for c in GRID.axes[0]), *GRID.axes[1:]))


@pytest.mark.skipif(shutil.which("segimage2itkimage") is None, reason="dcmqi is not here (pip install dcmqi)")
@pytest.mark.parametrize("grid", [GRID, LEFT], ids=["right-handed", "left-handed"])
def test_dcmqi_gets_the_label_back_and_has_nothing_to_warn_of(tmp_path, grid):
    written(tmp_path / "s.dcm", Volume(label_of().array, grid), sources_of(tmp_path / "series", grid))
    (tmp_path / "out").mkdir()
    command = ["segimage2itkimage", "--inputDICOM", str(tmp_path / "s.dcm"), "--outputType", "nrrd"]
    command += ["--outputDirectory", str(tmp_path / "out"), "--prefix", "p"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert not [line for line in (done.stdout + done.stderr).splitlines() if "WARN" in line or "ERR" in line.upper()]
    again = np.zeros(grid.shape, np.uint8)
    for number in (1, 2, 3):
        image = SimpleITK.ReadImage(str(tmp_path / "out" / f"p-{number}.nrrd"))
        for z, y, x in np.argwhere(SimpleITK.GetArrayFromImage(image)).tolist():
            place = np.linalg.inv(grid.affine) @ [*image.TransformIndexToPhysicalPoint((x, y, z)), 1.0]
            np.testing.assert_allclose(place, place.round(), atol=1e-3)
            again[tuple(place[:3].round().astype(int))] = number
    np.testing.assert_array_equal(again, label_of().array)


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 4), st.integers(2, 6), st.integers(4, 7)),
    degrees=st.tuples(*[st.floats(-180, 180)] * 3),
    left_handed=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_any_label_on_any_grid_comes_back(tmp_path_factory, seed, shape, degrees, left_handed):
    own = grid_of(shape, degrees)
    grid = Grid(shape, own.spacing_mm, own.origin_mm, (tuple(-c for c in own.axes[0]), *own.axes[1:]))
    grid = grid if left_handed else own
    folder = tmp_path_factory.mktemp("any")
    label = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint8)
    written(folder / "s.dcm", Volume(label, grid), sources_of(folder / "series", own))
    np.testing.assert_array_equal(read_again(folder / "s.dcm", grid), label)


def test_a_class_without_voxels_is_a_segment_without_frames(tmp_path, sources):
    seg = written(tmp_path / "s.dcm", label_of(), sources)
    assert [(one.SegmentNumber, one.SegmentLabel) for one in seg.SegmentSequence] == [
        (1, "liver"),
        (2, "tumour"),
        (3, "spleen"),
    ]
    frames = [
        one.SegmentIdentificationSequence[0].ReferencedSegmentNumber for one in seg.PerFrameFunctionalGroupsSequence
    ]
    # Liver on slices 1 to 4 and 6, tumour on 0, 4 and 5.
    assert frames == [1] * 5 + [2] * 3


def test_a_label_without_voxels_is_an_object_with_an_empty_frame_for_each_class(tmp_path, sources):
    empty = Volume(np.zeros(GRID.shape, np.uint8), GRID)
    seg = written(tmp_path / "s.dcm", empty, sources)
    assert seg.NumberOfFrames == 3
    assert not seg.pixel_array.any()
    assert not read_again(tmp_path / "s.dcm").any()
    assert lacking(seg, "segmentation", ("frame-of-reference", "common-instance-reference")) == []


def test_a_class_that_is_not_described_is_refused(tmp_path, sources):
    label = label_of()
    label.array[0, 1, 1] = 4
    with pytest.raises(ValueError, match="lack"):
        write_seg(tmp_path / "s.dcm", label, sources, SEGMENTS)


def test_slices_of_a_few_pixels_are_refused(tmp_path):
    grid = grid_of((3, 1, 7))
    label = Volume(np.ones(grid.shape, np.uint8), grid)
    with pytest.raises(ValueError, match="7 pixels"):
        write_seg(tmp_path / "s.dcm", label, sources_of(tmp_path / "series", grid), SEGMENTS)


# ---- what it says


def test_the_mandatory_elements_of_a_segmentation_are_there(tmp_path, sources):
    seg = written(tmp_path / "s.dcm", label_of(), sources)
    assert lacking(seg, "segmentation", ("frame-of-reference", "common-instance-reference")) == []


# PS3.3 A.51 and C.8.20: what must hold, beside being there.
EXPECTED = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4",
    "Modality": "SEG",
    "ImageType": ["DERIVED", "PRIMARY"],
    "SegmentationType": "BINARY",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelRepresentation": 0,
    "BitsAllocated": 1,
    "BitsStored": 1,
    "HighBit": 0,
    "LossyImageCompression": "00",
    "Manufacturer": "cohortseg",
    "ManufacturerModelName": "cohortseg",
    "FrameOfReferenceUID": FRAME,
    "StudyInstanceUID": STUDY,
    "PatientID": "P-7",
    "PatientName": "Doe^Jane",
    "StudyDate": "20200229",
    "Rows": 14,
    "Columns": 11,
}


@pytest.mark.parametrize("keyword", EXPECTED)
def test_an_element_says_what_the_standard_and_the_source_say(tmp_path, sources, keyword):
    assert written(tmp_path / "s.dcm", label_of(), sources).get(keyword) == EXPECTED[keyword]


def test_each_frame_has_the_functional_groups_of_a_segmentation(tmp_path, sources):
    seg = written(tmp_path / "s.dcm", label_of(), sources)
    shared = seg.SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0]
    assert [float(value) for value in measures.PixelSpacing] == [0.8, 0.7]
    assert float(measures.SliceThickness) == float(measures.SpacingBetweenSlices) == 2.5
    np.testing.assert_allclose(
        np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float), [*GRID.axes[2], *GRID.axes[1]]
    )
    dimensions = [one.DimensionIndexPointer for one in seg.DimensionIndexSequence]
    assert dimensions == [0x0062000B, 0x00200032]
    indices = []
    for frame in seg.PerFrameFunctionalGroupsSequence:
        assert len(frame.PlanePositionSequence) == len(frame.SegmentIdentificationSequence) == 1
        indices.append(tuple(frame.FrameContentSequence[0].DimensionIndexValues))
    assert sorted(set(indices)) == indices


def test_the_dimensions_are_organised_once_and_tell_segment_and_place(tmp_path, sources):
    seg = written(tmp_path / "s.dcm", label_of(), sources)
    (organisation,) = seg.DimensionOrganizationSequence
    uid = organisation.DimensionOrganizationUID
    assert [one.DimensionOrganizationUID for one in seg.DimensionIndexSequence] == [uid, uid]
    places = {}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        number, place = frame.FrameContentSequence[0].DimensionIndexValues
        assert number == frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        places.setdefault(place, set()).add(place_of(frame))
    # One index for each place, in order along the normal.
    assert [places[index] for index in sorted(places)] in (
        [{place} for place in (0, 1, 2, 3, 4, 5, 6)],
        [{place} for place in (6, 5, 4, 3, 2, 1, 0)],
    )


def test_each_frame_shows_something_and_the_pixels_fill_their_element(tmp_path, sources):
    seg = written(tmp_path / "s.dcm", label_of(), sources)
    assert all(pixels.any() for pixels in seg.pixel_array)
    bits = seg.NumberOfFrames * seg.Rows * seg.Columns
    assert len(seg.PixelData) == 2 * -(-bits // 16), "packed without gaps, padded to an even length"


def test_segments_say_what_they_are_and_what_made_them(tmp_path, sources):
    seg = written(tmp_path / "s.dcm", label_of(), sources, trained=False, description="net fold-0-seed-1")
    first = seg.SegmentSequence[0]
    kind, category = first.SegmentedPropertyTypeCodeSequence[0], first.SegmentedPropertyCategoryCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == LIVER
    assert (category.CodeValue, category.CodingSchemeDesignator, category.CodeMeaning) == ANATOMY
    assert (first.SegmentAlgorithmType, first.SegmentAlgorithmName) == ("AUTOMATIC", "cohortseg")
    family = first.SegmentationAlgorithmIdentificationSequence[0].AlgorithmFamilyCodeSequence[0]
    assert family.CodeMeaning == "Histogram Analysis"
    assert seg.SeriesDescription == "net fold-0-seed-1"


def test_each_frame_names_the_slice_it_was_drawn_on(tmp_path):
    paths = classic(tmp_path / "series")
    seg = written(tmp_path / "s.dcm", label_of(), read_sources(paths[::-1]))
    where = {tuple(map(float, one.ImagePositionPatient)): one.SOPInstanceUID for one in map(pydicom.dcmread, paths)}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (derived,) = frame.DerivationImageSequence
        (image,) = derived.SourceImageSequence
        position = tuple(map(float, frame.PlanePositionSequence[0].ImagePositionPatient))
        nearest = min(where, key=lambda other: np.linalg.norm(np.subtract(other, position)))
        assert image.ReferencedSOPInstanceUID == where[nearest]
        assert image.SpatialLocationsPreserved == "YES"
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == SERIES
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence} == set(where.values())


# ---- other sources


def test_one_multi_frame_object_is_named_with_the_number_of_the_frame(tmp_path):
    # Frames stand in the order of an upside-down acquisition.
    order = [6, 5, 4, 3, 2, 1, 0]
    seg = written(tmp_path / "s.dcm", label_of(), read_sources([enhanced(tmp_path / "e.dcm", slices=order)]))
    np.testing.assert_array_equal(read_again(tmp_path / "s.dcm"), label_of().array)
    assert {key: [int(image.ReferencedFrameNumber) for image in found] for key, found in named(seg).items()} == {
        **{(1, place): [7 - place] for place in (1, 2, 3, 4, 6)},
        **{(2, place): [7 - place] for place in (0, 4, 5)},
    }
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1
    assert lacking(seg, "segmentation", ("frame-of-reference", "common-instance-reference")) == []


def test_several_multi_frame_objects_make_one_source(tmp_path):
    paths = [enhanced(tmp_path / f"{n}.dcm", slices=own, number=n) for n, own in enumerate([[0, 1, 2], [3, 4, 5, 6]])]
    seg = written(tmp_path / "s.dcm", label_of(), read_sources(paths))
    assert {
        place: [(image.ReferencedSOPInstanceUID[-1], int(image.ReferencedFrameNumber)) for image in found]
        for (_, place), found in named(seg).items()
    } == {place: [("0", place + 1) if place < 3 else ("1", place - 2)] for place in range(7)}


def test_only_the_frames_that_were_used_are_named(tmp_path):
    path = enhanced(tmp_path / "e.dcm", slices=[*range(7), *range(7)])
    both = matches(read_sources([path]), GRID)
    later = matches(read_sources([path], frames={path: range(7, 14)}), GRID)
    assert [[one.frame for one, _ in found] for found in both] == [[n + 1, n + 8] for n in range(7)]
    assert [[one.frame for one, _ in found] for found in later] == [[n + 8] for n in range(7)]


def test_a_straightened_gantry_keeps_the_planes_but_not_the_pixels(tmp_path):
    lean = np.array(GRID.axes[1])
    sources = read_sources(classic(tmp_path / "series", edit=moved(lambda index: 0.4 * index * lean)))
    seg = written(tmp_path / "s.dcm", label_of(), sources)
    np.testing.assert_array_equal(read_again(tmp_path / "s.dcm"), label_of().array)
    found = matches(sources, GRID)
    assert [len(own) for own in found] == [1] * 7
    assert [same for own in found for _, same in own] == [True] + [False] * 6
    told = {place: [image.SpatialLocationsPreserved for image in images] for (_, place), images in named(seg).items()}
    assert told == {0: ["YES"]} | {place: ["NO"] for place in range(1, 7)}


def test_a_slice_that_was_put_in_names_no_source(tmp_path):
    paths = [path for path in classic(tmp_path / "series") if read_header(path)["instance_number"] != 1000 - 3]
    sources = read_sources(paths)
    assert [len(own) for own in matches(sources, GRID)] == [1, 1, 1, 0, 1, 1, 1]
    seg = written(tmp_path / "s.dcm", label_of(), sources)
    assert {place: len(images) for (_, place), images in named(seg).items()} == {
        place: int(place != 3) for place in range(7)
    }
    np.testing.assert_array_equal(read_again(tmp_path / "s.dcm"), label_of().array)


def test_a_label_on_another_grid_than_the_source_lies_where_it_should(tmp_path, sources):
    finer = GRID.with_spacing((1.25, 0.5, 0.9))
    label = Volume(np.random.default_rng(1).integers(0, 4, finer.shape).astype(np.uint8), finer)
    written(tmp_path / "s.dcm", label, sources)
    np.testing.assert_array_equal(read_again(tmp_path / "s.dcm", finer), label.array)


def test_the_grid_of_a_series_finds_every_slice_of_it(tmp_path):
    paths = classic(tmp_path / "series")
    grid = stack_geometry([read_header(path) for path in paths]).grid
    assert [[same for _, same in own] for own in matches(read_sources(paths), grid)] == [[True]] * 7


# ---- identity


def test_names_beyond_ascii_are_kept(tmp_path):
    def name(index, dataset):
        dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 100", "Müller^Jörg"

    seg = written(tmp_path / "s.dcm", label_of(), read_sources(classic(tmp_path / "series", edit=name)))
    assert seg.PatientName == "Müller^Jörg"


def test_a_source_that_says_little_or_nonsense_is_no_obstacle(tmp_path):
    def spoil(index, dataset):
        with warnings.catch_warnings(action="ignore"):
            dataset.PatientSex, dataset.StudyTime, dataset.StudyDate = "U", "10:15:00", "29.02.2020"
        del dataset.PatientID, dataset.AccessionNumber, dataset.PatientBirthDate

    seg = written(tmp_path / "s.dcm", label_of(), read_sources(classic(tmp_path / "series", edit=spoil)))
    np.testing.assert_array_equal(read_again(tmp_path / "s.dcm"), label_of().array)
    assert (seg.PatientID, seg.PatientSex, seg.StudyDate, seg.ContentDate) == ("", "", "", "19000101")
    assert lacking(seg, "segmentation", ("frame-of-reference", "common-instance-reference")) == []


def test_remapped_objects_tell_nothing_of_the_patient(tmp_path):
    sources = sources_of(tmp_path / "series", key=KEY, pseudonym="s07")
    seg = written(tmp_path / "s.dcm", label_of(), sources)
    text = (tmp_path / "s.dcm").read_bytes().decode("latin-1")
    assert [word for word in IDENTITY if word in text] == []
    assert (seg.PatientID, seg.PatientName, seg.PatientIdentityRemoved) == ("s07", "s07", "YES")
    np.testing.assert_array_equal(read_again(tmp_path / "s.dcm"), label_of().array)
    assert lacking(seg, "segmentation", ("frame-of-reference", "common-instance-reference")) == []


def test_a_source_without_frame_of_reference_is_refused(tmp_path):
    def drop(index, dataset):
        del dataset.FrameOfReferenceUID

    sources = read_sources(classic(tmp_path / "series", edit=drop))
    assert not sources.has_frame
    with pytest.raises(ValueError, match="frame of reference"):
        write_seg(tmp_path / "s.dcm", label_of(), sources, SEGMENTS)


# ---- always the same


def test_equal_labels_give_equal_bytes_at_any_time_and_in_any_order_of_files(tmp_path):
    paths = classic(tmp_path / "series")
    write_seg(tmp_path / "a.dcm", label_of(), read_sources(paths), SEGMENTS)
    time.sleep(1.1)  # the clock of DICOM counts seconds
    write_seg(tmp_path / "b.dcm", label_of(), read_sources(paths[::-1]), SEGMENTS)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_dates_and_times_are_those_of_the_source(tmp_path, sources):
    seg = written(tmp_path / "s.dcm", label_of(), sources)
    assert moments(seg) == {"20200229", "101500", "20200229101500"}


def test_another_label_is_another_object(tmp_path, sources):
    one = written(tmp_path / "a.dcm", label_of(), sources)
    changed = label_of()
    changed.array[0, 1, 1] = 1
    other = written(tmp_path / "b.dcm", changed, sources)
    shifted = Grid(GRID.shape, GRID.spacing_mm, (0.0, 12.5, 47.25), GRID.axes)
    third = written(tmp_path / "c.dcm", Volume(label_of().array, shifted), sources)
    assert len({seg.SOPInstanceUID for seg in (one, other, third)}) == 3
    assert len({seg.SeriesInstanceUID for seg in (one, other, third)}) == 3


# ---- sources that are not what they were


def test_sources_that_changed_are_refused(tmp_path):
    paths = classic(tmp_path / "series")
    other = classic(tmp_path / "other", edit=lambda index, one: setattr(one, "SeriesInstanceUID", f"{SERIES}.77"))
    (tmp_path / "text.dcm").write_text("no DICOM")
    for bad in ([*paths, tmp_path / "absent.dcm"], [*paths, tmp_path / "text.dcm"]):
        with pytest.raises(Rejected) as caught:
            read_sources(bad)
        assert caught.value.reason == "SOURCE_CHANGED"
    for path, number in zip(other, range(7), strict=True):
        one = pydicom.dcmread(path)
        one.SOPInstanceUID = f"{SERIES}.77.{number}"
        one.save_as(path)
    with pytest.raises(Rejected, match="one series"):
        read_sources([*paths, *other])

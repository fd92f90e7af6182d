"""RTSTRUCT: a fill that knows nothing of the writer finds the label again, and the object says what it was drawn on."""

import time

import numpy as np
import pydicom
import pytest
from dicom_phantom import FRAME, SERIES, STUDY, grid_of
from hypothesis import given, settings
from hypothesis import strategies as st
from label_phantom import CLASSES, GRID, IDENTITY, classic, enhanced, label_of, lacking, moments, moved, sources_of
from polygon_fill import area_of, index_of, mask_of, points_of

from cohortseg.io.rtstruct import rtstruct_mask
from cohortseg.io.rtstruct_writer import decimal_strings, write_rtstruct
from cohortseg.io.source_images import read_sources
from cohortseg.volume import Grid, Volume

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return sources_of(tmp_path_factory.mktemp("series"))


def written(path, label, sources, **options):
    write_rtstruct(path, label, sources, CLASSES, **options)
    return pydicom.dcmread(path)


def contours_of(structures, name):
    """The contours of an ROI by its name."""
    (number,) = [one.ROINumber for one in structures.StructureSetROISequence if one.ROIName == name]
    (roi,) = [one for one in structures.ROIContourSequence if one.ReferencedROINumber == number]
    return list(roi.get("ContourSequence") or [])


def read_again(structures, grid=GRID):
    label = np.zeros(grid.shape, np.uint8)
    for number, name in enumerate(CLASSES, start=1):
        label[mask_of(contours_of(structures, name), grid)] = number
    return label


# ---- the voxels


def test_an_independent_fill_in_world_coordinates_gets_the_label_back(tmp_path, sources):
    structures = written(tmp_path / "s.dcm", label_of(), sources)
    np.testing.assert_array_equal(read_again(structures), label_of().array)


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 7)),
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
    structures = written(folder / "s.dcm", Volume(label, grid), sources_of(folder / "series", own))
    np.testing.assert_array_equal(read_again(structures, grid), label)


def test_our_own_reader_gets_the_label_back(tmp_path, sources):
    written(tmp_path / "s.dcm", label_of(), sources)
    label, _ = rtstruct_mask(tmp_path / "s.dcm", GRID, {name: name for name in CLASSES}, missing="empty")
    np.testing.assert_array_equal(label, label_of().array)


def test_the_area_of_the_outlines_is_that_of_the_voxels(tmp_path, sources):
    structures = written(tmp_path / "s.dcm", label_of(), sources)
    # Without hole or island the area is the sum; the tumour has none.
    areas = [area_of(index_of(GRID, points_of(one))[:, 1:]) for one in contours_of(structures, "tumour")]
    assert sum(areas) == pytest.approx((label_of().array == 2).sum(), abs=1e-3)


def test_a_hole_and_an_island_in_it_are_contours_of_their_own(tmp_path, sources):
    structures = written(tmp_path / "s.dcm", label_of(), sources)
    per_slice = {}
    for contour in contours_of(structures, "liver"):
        place = round(index_of(GRID, points_of(contour))[0, 0])
        per_slice.setdefault(place, []).append(round(area_of(index_of(GRID, points_of(contour))[:, 1:])))
    # Liver of 8 by 7 pixels, on slices 2 and 3 with a hole of 4 by 4, on slice 3 with two voxels in it.
    assert {place: sorted(areas) for place, areas in per_slice.items()} == {
        1: [56],
        2: [16, 56],
        3: [1, 1, 16, 56],
        4: [52],  # the tumour covers a corner
        6: [1],
    }


def test_a_class_without_voxels_is_an_roi_that_was_never_drawn(tmp_path, sources):
    structures = written(tmp_path / "s.dcm", label_of(), sources)
    assert [one.ROIName for one in structures.StructureSetROISequence] == list(CLASSES)
    assert contours_of(structures, "spleen") == []
    empty = written(tmp_path / "e.dcm", Volume(np.zeros(GRID.shape, np.uint8), GRID), sources)
    assert not read_again(empty).any()
    assert lacking(empty, "rt-structure-set", ("frame-of-reference",)) == []


# ---- what it says


def test_the_mandatory_elements_of_a_structure_set_are_there(tmp_path, sources):
    structures = written(tmp_path / "s.dcm", label_of(), sources)
    assert lacking(structures, "rt-structure-set", ("frame-of-reference",)) == []


EXPECTED = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3",
    "Modality": "RTSTRUCT",
    "StudyInstanceUID": STUDY,
    "FrameOfReferenceUID": FRAME,
    "PatientID": "P-7",
    "PatientName": "Doe^Jane",
    "StudyDate": "20200229",
    "StructureSetDate": "20200229",
    "Manufacturer": "cohortseg",
    "ApprovalStatus": "UNAPPROVED",
    "SeriesDescription": "net fold-0-seed-1",
}


@pytest.mark.parametrize("keyword", EXPECTED)
def test_an_element_says_what_the_standard_and_the_source_say(tmp_path, sources, keyword):
    structures = written(tmp_path / "s.dcm", label_of(), sources, description="net fold-0-seed-1")
    assert structures.get(keyword) == EXPECTED[keyword]
    assert structures.SeriesInstanceUID != SERIES


def test_each_contour_is_closed_planar_and_each_roi_automatic(tmp_path, sources):
    structures = written(tmp_path / "s.dcm", label_of(), sources)
    for name in CLASSES:
        assert {one.ContourGeometricType for one in contours_of(structures, name)} <= {"CLOSED_PLANAR"}
    assert {one.ROIGenerationAlgorithm for one in structures.StructureSetROISequence} == {"AUTOMATIC"}
    assert {one.ReferencedFrameOfReferenceUID for one in structures.StructureSetROISequence} == {FRAME}
    numbers = [one.ReferencedROINumber for one in structures.RTROIObservationsSequence]
    assert numbers == [one.ROINumber for one in structures.StructureSetROISequence] == [1, 2, 3]
    colours = [tuple(one.ROIDisplayColor) for one in structures.ROIContourSequence]
    assert len(set(colours)) == 3


def test_each_contour_names_the_slice_it_was_drawn_on_and_the_set_names_all(tmp_path):
    paths = classic(tmp_path / "series")
    structures = written(tmp_path / "s.dcm", label_of(), read_sources(paths[::-1]))
    where = {one.SOPInstanceUID: np.array(one.ImagePositionPatient, float) for one in map(pydicom.dcmread, paths)}
    for name in ("liver", "tumour"):
        for contour in contours_of(structures, name):
            (image,) = contour.ContourImageSequence
            apart = (points_of(contour) - where[image.ReferencedSOPInstanceUID]) @ np.array(GRID.axes[0])
            assert np.abs(apart).max() < 1e-3
    (frame,) = structures.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert (frame.FrameOfReferenceUID, study.ReferencedSOPInstanceUID) == (FRAME, STUDY)
    assert series.SeriesInstanceUID == SERIES
    assert {one.ReferencedSOPInstanceUID for one in series.ContourImageSequence} == set(where)


def test_the_frames_of_a_multi_frame_object_are_named_by_number(tmp_path):
    order = [6, 5, 4, 3, 2, 1, 0]
    structures = written(tmp_path / "s.dcm", label_of(), read_sources([enhanced(tmp_path / "e.dcm", slices=order)]))
    np.testing.assert_array_equal(read_again(structures), label_of().array)
    named = set()
    for contour in contours_of(structures, "liver"):
        (image,) = contour.ContourImageSequence
        named.add((round(index_of(GRID, points_of(contour))[0, 0]), int(image.ReferencedFrameNumber)))
    assert named == {(place, 7 - place) for place in (1, 2, 3, 4, 6)}


def test_contours_beside_the_slices_of_the_source_name_none(tmp_path):
    lean = np.array(GRID.axes[1])
    sources = read_sources(classic(tmp_path / "series", edit=moved(lambda index: 0.4 * index * lean)))
    structures = written(tmp_path / "s.dcm", label_of(), sources)
    np.testing.assert_array_equal(read_again(structures), label_of().array)
    has_image = {
        round(index_of(GRID, points_of(one))[0, 0]): "ContourImageSequence" in one
        for name in ("liver", "tumour")
        for one in contours_of(structures, name)
    }
    # Straightened about the first slice: only there do the pixels lie where they did.
    assert has_image == {0: True} | dict.fromkeys((1, 2, 3, 4, 5, 6), False)


def test_more_coordinates_than_an_explicit_length_can_tell_come_back(tmp_path):
    # A comb: one outline of more than 64 kB.
    grid = grid_of((1, 6, 1600))
    array = np.zeros(grid.shape, np.uint8)
    array[0, 1, :], array[0, 2:5, ::2] = 1, 1
    structures = written(tmp_path / "s.dcm", Volume(array, grid), sources_of(tmp_path / "series", grid))
    (contour,) = contours_of(structures, "liver")
    assert len(contour.ContourData) * 7 > 2**16
    np.testing.assert_array_equal(mask_of([contour], grid), array == 1)


# ---- identity


def test_remapped_objects_tell_nothing_of_the_patient(tmp_path):
    sources = sources_of(tmp_path / "series", key=KEY, pseudonym="s07")
    structures = written(tmp_path / "s.dcm", label_of(), sources)
    text = (tmp_path / "s.dcm").read_bytes().decode("latin-1")
    assert [word for word in IDENTITY if word in text] == []
    assert (structures.PatientID, structures.PatientName) == ("s07", "s07")
    np.testing.assert_array_equal(read_again(structures), label_of().array)
    assert lacking(structures, "rt-structure-set", ("frame-of-reference",)) == []


# ---- always the same


def test_equal_labels_give_equal_bytes_at_any_time_and_in_any_order_of_files(tmp_path):
    paths = classic(tmp_path / "series")
    write_rtstruct(tmp_path / "a.dcm", label_of(), read_sources(paths), CLASSES)
    time.sleep(1.1)  # the clock of DICOM counts seconds
    write_rtstruct(tmp_path / "b.dcm", label_of(), read_sources(paths[::-1]), CLASSES)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_writing_leaves_what_is_known_of_the_source_as_it_is(tmp_path):
    sources = sources_of(tmp_path / "series")
    before = str(sources.header)
    one, again = (written(tmp_path / f"{n}.dcm", label_of(), sources) for n in range(2))
    assert str(sources.header) == before
    assert one == again


def test_dates_and_times_are_those_of_the_source(tmp_path, sources):
    assert moments(written(tmp_path / "s.dcm", label_of(), sources)) == {"20200229", "101500"}


def test_another_label_or_other_names_are_another_object(tmp_path, sources):
    one = written(tmp_path / "a.dcm", label_of(), sources)
    changed = label_of()
    changed.array[0, 1, 1] = 1
    other = written(tmp_path / "b.dcm", changed, sources)
    write_rtstruct(tmp_path / "c.dcm", label_of(), sources, ["liver", "tumor", "spleen"])
    third = pydicom.dcmread(tmp_path / "c.dcm")
    assert len({found.SOPInstanceUID for found in (one, other, third)}) == 3


# ---- refused


def test_a_class_that_is_not_named_is_refused(tmp_path, sources):
    label = label_of()
    label.array[0, 1, 1] = 4
    with pytest.raises(ValueError, match="class 4, 3 are named"):
        write_rtstruct(tmp_path / "s.dcm", label, sources, CLASSES)


def test_a_source_without_frame_of_reference_is_refused(tmp_path):
    def drop(index, dataset):
        del dataset.FrameOfReferenceUID

    sources = read_sources(classic(tmp_path / "series", edit=drop))
    with pytest.raises(ValueError, match="frame of reference"):
        write_rtstruct(tmp_path / "s.dcm", label_of(), sources, CLASSES)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
@settings(max_examples=100, deadline=None)
def test_numbers_are_written_to_ten_nanometres_in_at_most_sixteen_characters(numbers):
    data = decimal_strings(np.array(numbers))
    assert len(data) % 2 == 0
    texts = data.decode("ascii").strip().split("\\")
    assert max(map(len, texts)) <= 16
    np.testing.assert_allclose([float(text) for text in texts], numbers, atol=0.51e-5)
    assert "-0.00000" not in texts


def test_a_number_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="mm"):
        decimal_strings(np.array([1e9]))

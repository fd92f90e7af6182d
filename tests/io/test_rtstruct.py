"""Contours to voxels: areas by formula, holes, keyholes, planes, edges; real structure sets against their polygons."""

import re

import numpy as np
import pydicom
import pytest
from dicom_phantom import contour, grid_of, world_polygon, write_rtstruct
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask
from skimage.measure import points_in_poly

from cohortseg.errors import Rejected, SettingsError
from cohortseg.io.geometry import stack_geometry
from cohortseg.io.headers import read_header
from cohortseg.io.planar import contour_label, even_odd, signed_mm
from cohortseg.io.rtstruct import read_rois, rtstruct_mask
from cohortseg.volume import Grid

GRID = grid_of((7, 14, 11))
SQUARE = np.array([[1.5, 2.5], [1.5, 6.5], [4.5, 6.5], [4.5, 2.5]])
"""Encloses the centres of rows 2 to 4 and columns 3 to 6."""


def expected(*boxes, number=1):
    label = np.zeros(GRID.shape, np.uint8)
    for z, rows, columns in boxes:
        label[z, rows, columns] = number
    return label


def on(index, corners=SQUARE, grid=GRID, **options):
    return contour(world_polygon(grid, index, np.asarray(corners, float)), **options)


def paint(tmp_path, rois, structures=None, **options):
    return rtstruct_mask(write_rtstruct(tmp_path / "r", rois), GRID, structures or {"tumour": "GTV"}, **options)


def reason(tmp_path, rois, structures=None, **options):
    with pytest.raises(Rejected) as caught:
        paint(tmp_path, rois, structures, **options)
    return caught.value.reason


def full(corners, shape=(14, 11)):
    mask = np.zeros(shape, bool)
    box, inside = even_odd([np.asarray(one, float) for one in corners], shape)
    mask[box] = inside
    return mask


def circle(centre_yx, radius, n=400):
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.asarray(centre_yx) + radius * np.column_stack([np.sin(angle), np.cos(angle)])


# Polygons to pixels


def test_a_pixel_belongs_when_its_centre_lies_inside():
    mask = np.zeros((14, 11), bool)
    mask[2:5, 3:7] = True
    np.testing.assert_array_equal(full([SQUARE]), mask)
    np.testing.assert_array_equal(full([SQUARE + 0.49]), mask)
    np.testing.assert_array_equal(full([SQUARE + 0.51]), np.roll(mask, (1, 1), (0, 1)))


def test_neighbours_that_share_an_edge_through_pixel_centres_share_no_pixel_and_leave_none_out():
    left, right = [[1, 1], [1, 4], [6, 4], [6, 1]], [[1, 4], [1, 9], [6, 9], [6, 4]]
    both = full([left]).astype(int) + full([right])
    np.testing.assert_array_equal(both, full([[[1, 1], [1, 9], [6, 9], [6, 1]]]))
    assert both.sum() == 5 * 8


@pytest.mark.parametrize(
    ("radius_mm", "single", "mean"), [(2, 0.11, 5e-3), (4, 0.045, 1e-3), (10, 0.015, 5e-4), (40, 2e-3, 5e-5)]
)
def test_circles_have_the_area_of_the_formula(radius_mm, single, mean):
    radius = radius_mm / 0.75
    shifts = (np.arange(16) + 0.5) / 16
    areas = np.array(
        [
            even_odd([circle((60 + down, 60 + right), radius, 2000)], (128, 128))[1].sum() / (np.pi * radius**2)
            for down in shifts
            for right in shifts
        ]
    )
    # One small circle holds few centres, so its area jumps: 2.3 pixels of 22 at most. Over all places within a pixel
    # nothing is gained or lost.
    assert np.abs(areas - 1).max() < single
    assert areas.mean() == pytest.approx(1, abs=mean)


@pytest.mark.parametrize("radius_mm", [2, 4, 10, 40])
def test_circles_on_pixels_that_are_no_squares_have_the_area_of_the_formula(radius_mm):
    spacing_mm = np.array((0.98, 0.61))
    shape = tuple(np.ceil(2 * (radius_mm + 2) / spacing_mm).astype(int))
    middle = np.array(shape) // 2
    outline = circle((0, 0), radius_mm, 720) / spacing_mm
    shifts = [middle + np.array((down, right)) for down in np.arange(12) / 12 for right in np.arange(12) / 12]
    areas = np.array([even_odd([outline + shift], shape)[1].sum() for shift in shifts]) * spacing_mm.prod()
    polygon = 360 * radius_mm**2 * np.sin(2 * np.pi / 720)
    # In the mean over all places within a pixel; a single circle of 2 mm holds but 21 centres.
    assert areas.mean() == pytest.approx(polygon, rel=0.005)
    assert areas.mean() == pytest.approx(np.pi * radius_mm**2, rel=0.01)
    # One of 10 mm or more is right wherever it lies.
    assert radius_mm < 10 or np.abs(areas / polygon - 1).max() < 0.015


def test_a_circle_around_a_pixel_corner_is_symmetric():
    for radius in (2.7, 5.3, 13.7, 53.3):
        mask = full([circle((63.5, 63.5), radius)], (128, 128))
        for turned in (mask[::-1], mask[:, ::-1], mask.T):
            np.testing.assert_array_equal(mask, turned)


def test_an_inner_contour_is_a_hole_and_a_third_one_an_island():
    mask = full([circle((20, 20), r) for r in (15.3, 10.3, 4.3)], (41, 41))
    distance = np.hypot(*(np.indices((41, 41)) - 20))
    np.testing.assert_array_equal(mask, (distance < 4.3) | ((distance > 10.3) & (distance < 15.3)))


def test_a_keyhole_contour_keeps_its_hole():
    outer, inner = circle((20, 20), 15.3), circle((20, 20), 7.7)[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner[-1:], inner, outer[:1]])
    mask = full([keyhole], (41, 41))
    np.testing.assert_array_equal(mask, full([outer, inner], (41, 41)))
    assert not mask[20, 20]


@given(
    st.integers(3, 12).flatmap(
        lambda n: st.lists(st.tuples(st.floats(-4, 18), st.floats(-4, 15)), min_size=n, max_size=n)
    )
)
@settings(max_examples=50, deadline=None)
def test_any_polygon_is_filled_as_another_library_fills_it(corners):
    corners = np.array(corners)
    mask = full([corners])
    # Centres on an edge may be seen otherwise: the rim is left out.
    rim = np.zeros((14, 11), bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        for share in np.linspace(0, 1, 200):
            y, x = np.rint(start + share * (end - start)).astype(int)
            if 0 <= y < 14 and 0 <= x < 11:
                rim[y, x] = True
    judge = polygon2mask((14, 11), corners)
    np.testing.assert_array_equal(mask[~rim], judge[~rim])


@given(st.lists(st.tuples(st.floats(-20, 40), st.floats(-20, 40)), min_size=3, max_size=8))
@settings(max_examples=50, deadline=None)
def test_the_start_and_sense_of_a_polygon_do_not_matter(corners):
    corners = np.array(corners)
    np.testing.assert_array_equal(full([corners]), full([np.roll(corners, 2, axis=0)]))
    np.testing.assert_array_equal(full([corners]), full([corners[::-1]]))


def test_polygons_beside_the_image_or_without_area_hold_nothing():
    for corners in (
        [[-9, 2], [-9, 5], [-3, 5]],
        [[30, 2], [40, 3], [35, 8]],
        [[3, 3], [3, 3], [3, 3]],
        [[2, 1], [2, 5], [2, 9]],
    ):
        assert not full([corners]).any()


# Structure sets to labels


def test_contours_land_on_their_slices_in_a_tilted_grid(tmp_path):
    label, facts = paint(tmp_path, {"GTV": [on(2), on(4)], "other": [on(3)]})
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, expected((2, slice(2, 5), slice(3, 7)), (4, slice(2, 5), slice(3, 7))))
    assert facts["n_contours"] == 2
    assert facts["n_skipped_slices"] == 1
    assert facts["plane_offset_mm"] < 1e-3


def test_rois_of_one_class_are_united_and_not_cut_out_of_each_other(tmp_path):
    label, facts = paint(tmp_path, {"GTV-1": [on(2)], "GTV-2": [on(2, SQUARE + 1)]}, {"tumour": "GTV-.*"})
    np.testing.assert_array_equal(label, expected((2, slice(2, 5), slice(3, 7)), (2, slice(3, 6), slice(4, 8))))
    assert facts["n_rois"] == {"tumour": 2}
    assert facts["n_overlap_voxels"] == 0


def test_the_class_named_first_keeps_the_overlap(tmp_path):
    rois = {"A": [on(2)], "B": [on(2, SQUARE + 1)]}
    label, facts = paint(tmp_path, rois, {"a": "A", "b": "B"})
    assert [(label == number).sum() for number in (1, 2)] == [12, 12 - 6]
    assert (facts["n_overlap_voxels"], facts["overlap_voxels"]) == (6, {"a": {"b": 6}})
    label, _ = paint(tmp_path, rois, {"b": "B", "a": "A"})
    assert [(label == number).sum() for number in (1, 2)] == [12, 12 - 6]


@pytest.mark.parametrize(
    "again", [SQUARE, SQUARE[::-1], np.roll(SQUARE, 1, axis=0), np.concatenate([SQUARE, SQUARE[:1]])]
)
def test_a_contour_drawn_twice_does_not_cancel_itself(tmp_path, again):
    label, facts = paint(tmp_path, {"GTV": [on(2), on(2, again)]})
    assert label.sum() == 12
    assert (facts["n_contours"], facts["n_ignored"]) == (1, 1)


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_holes_and_keyholes_are_read_from_both_kinds_of_closed_contours(tmp_path, kind):
    inner = SQUARE - (0, 1) + [[1, 1], [1, -1], [-1, -1], [-1, 1]]
    outer = SQUARE - (0, 1) + [[-1, -1], [-1, 2], [2, 2], [2, -1]]
    keyhole = np.concatenate([outer, outer[:1], inner[::-1], inner[-1:]])
    label, facts = paint(
        tmp_path, {"GTV": [on(2, outer, kind=kind), on(2, inner, kind=kind), on(4, keyhole, kind=kind)]}
    )
    ring = np.zeros(GRID.shape, np.uint8)
    ring[[2, 4], 1:7, 1:8] = 1
    ring[[2, 4], 3:4, 3:5] = 0
    np.testing.assert_array_equal(label, ring)
    assert facts["n_contours"] == 3


def test_points_and_lines_are_ignored_and_counted(tmp_path):
    ignored = [on(2, SQUARE[:1], kind="POINT"), on(2, kind="OPEN_PLANAR"), on(2, SQUARE[:2])]
    label, facts = paint(tmp_path, {"GTV": [on(3), *ignored]})
    assert label.sum() == 12
    assert (facts["n_contours"], facts["n_ignored"]) == (1, 3)


def test_an_roi_that_was_never_drawn_is_an_empty_class(tmp_path):
    label, facts = paint(tmp_path, {"GTV": []})
    assert not label.any()
    assert facts["n_contours"] == 0


def test_a_structure_that_is_not_there_is_refused(tmp_path):
    assert reason(tmp_path, {"GTV-1": [on(2)]}) == "LABEL_STRUCTURE_MISSING"
    assert reason(tmp_path, {"A": [on(2)]}, {"a": "A", "b": "B"}) == "LABEL_STRUCTURE_MISSING"


def test_synonyms_name_one_class(tmp_path):
    rois = {"Pulmo": [on(2)], "Lung L": [on(4)], "Heart": [on(3)]}
    label, facts = paint(tmp_path, rois, {"lung": ["Lung.*", "Pulmo"]})
    assert sorted(set(np.nonzero(label)[0])) == [2, 4]
    assert facts["n_rois"] == {"lung": 2}


def test_a_class_that_is_not_there_may_be_left_empty(tmp_path):
    label, facts = paint(tmp_path, {"B": [on(2)]}, {"a": "A", "b": ["B"]}, missing="empty")
    np.testing.assert_array_equal(label, expected((2, slice(2, 5), slice(3, 7)), number=2))
    assert (facts["n_rois"], facts["missing"]) == ({"a": 0, "b": 1}, ["a"])
    assert reason(tmp_path, {"C": [on(2)]}, {"a": "A", "b": "B"}, missing="empty") == "LABEL_STRUCTURE_MISSING"


def test_a_plane_between_two_slices_goes_to_the_nearer_one(tmp_path):
    label, facts = paint(tmp_path, {"GTV": [on(2.3), on(3.3)]})
    assert sorted(set(np.nonzero(label)[0])) == [2, 3]
    assert facts["plane_offset_mm"] == facts["plane_shift_mm"] == pytest.approx(0.3 * 2.5, abs=1e-3)


def test_a_label_beside_the_slices_is_told_from_one_that_jitters(tmp_path):
    _, facts = paint(tmp_path, {"GTV": [on(1.7), on(3.3)]})
    assert facts["plane_offset_mm"] == pytest.approx(0.75, abs=1e-3)
    assert facts["plane_shift_mm"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("shift", [0.5, -0.5, 0.25, -0.12])
def test_a_label_beside_the_slices_is_refused_when_asked(tmp_path, shift):
    rois = {"GTV": [on(2 + shift), on(3 + shift)]}
    with pytest.raises(Rejected, match=f"LABEL_OFF_GRID: a contour lies {abs(shift) * 2.5:.3g} mm"):
        paint(tmp_path, rois, planes="reject")
    assert paint(tmp_path, {"GTV": [on(2.05)]}, planes="reject")[0].sum() == 12
    assert paint(tmp_path, {"GTV": [on(2 + shift)]}, planes="reject", tolerance_mm=1.3)[0].sum() == 12


def test_a_contour_that_lost_its_points_is_refused_and_not_left_out(tmp_path):
    whole = on(3)
    for change in (
        lambda one: delattr(one, "ContourData"),
        lambda one: setattr(one, "ContourData", one.ContourData[:9]),
        lambda one: setattr(one, "ContourGeometricType", "CLOSDD_PLANAR"),
    ):
        cut = contour(np.array(whole.ContourData, float).reshape(-1, 3))
        change(cut)
        assert reason(tmp_path, {"GTV": [on(2), cut, on(4)]}) == "LABEL_UNREADABLE"
    # A count that lacks, or is too small, takes nothing away.
    for count in (None, 2):
        cut = contour(np.array(whole.ContourData, float).reshape(-1, 3))
        cut.NumberOfContourPoints = count
        assert paint(tmp_path, {"GTV": [on(2), cut]})[0].sum() == 24


def test_an_unknown_way_with_planes_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="'nearby'"):
        paint(tmp_path, {"GTV": [on(2)]}, planes="nearby")


@pytest.mark.parametrize("shift", [0.5, -0.5, 0.4, -0.4, 0.55])
def test_a_structure_that_lies_half_a_slice_off_as_a_whole_is_refused(tmp_path, shift):
    rois = {"GTV": [on(z + shift) for z in range(1, 5)]}
    beside = abs(shift - round(shift + 1e-9))
    with pytest.raises(Rejected, match=f"LABEL_OFF_GRID: all 4 contours .* by {beside:.2f} slice distances"):
        paint(tmp_path, rois)


@pytest.mark.parametrize("shift", [0.3, -0.3, 0.12])
def test_a_smaller_shift_of_a_whole_structure_is_a_warning(tmp_path, shift):
    label, facts = paint(tmp_path, {"GTV": [on(z + shift) for z in range(1, 5)]})
    np.testing.assert_array_equal(label.any(axis=(1, 2)), [False, True, True, True, True, False, False])
    (warning,) = facts["warnings"]
    assert f"by {abs(shift):.2f} slice distances" in warning


def test_contours_on_both_sides_of_their_slices_are_no_shift(tmp_path):
    for heights in ((1.45, 1.6), (1.05, 2.05), (1.0, 2.45)):
        label, facts = paint(tmp_path, {"GTV": [on(height) for height in heights]})
        assert label.any(axis=(1, 2)).sum() == 2
        assert facts["warnings"] == []


def test_each_structure_is_looked_at_on_its_own(tmp_path):
    rois = {"GTV": [on(2.45), on(3.45)], "Lung": [on(1), on(2)]}
    with pytest.raises(Rejected, match="LABEL_OFF_GRID"):
        paint(tmp_path, rois, {"tumour": "GTV", "lung": "Lung"})
    assert paint(tmp_path, rois, {"lung": "Lung"})[1]["warnings"] == []


def test_between_slices_nothing_is_refused_where_it_is_interpolated(tmp_path):
    label, facts = paint(tmp_path, {"GTV": [on(z + 0.5) for z in range(1, 5)]}, planes="interpolate")
    assert label.any()
    assert len(facts["warnings"]) == 1


@given(st.floats(-1e-7, 1e-7), st.floats(-1e-7, 1e-7))
@settings(max_examples=20, deadline=None)
def test_the_last_digits_do_not_tear_a_stack_between_slices_apart(one, other):
    polygon = np.column_stack([np.zeros(4), SQUARE])
    # The third one lies on its slice: as a whole the structure is not shifted.
    stack = [polygon + np.array([height, 0, 0]) for height in (1.5 + one, 2.5 + other, 4.0)]
    options = {"tolerance_mm": 0.05, "missing": "reject"}
    for planes in ("nearest", "interpolate"):
        label, _ = contour_label(["A"], lambda _: stack, GRID, {"a": "A"}, planes=planes, **options)
        np.testing.assert_array_equal(label.sum(axis=(1, 2)), [0, 0, 12, 12, 12, 0, 0])


def test_contours_denser_than_the_slices_are_refused(tmp_path):
    assert reason(tmp_path, {"GTV": [on(2 + 0.4 * step) for step in range(8)]}) == "LABEL_OFF_GRID"


def test_a_contour_that_crosses_slices_is_refused(tmp_path):
    points = world_polygon(GRID, 3, SQUARE) + np.array([0, 1, 1, 0])[:, None] * 5.0 * np.array(GRID.axes[0])
    for planes in ("nearest", "interpolate"):
        assert reason(tmp_path, {"GTV": [contour(points)]}, planes=planes) == "LABEL_OFF_GRID"


@pytest.mark.parametrize(("degrees", "planes"), [(90, "nearest"), (30, "nearest"), (90, "interpolate")])
def test_a_contour_drawn_on_another_view_is_refused_with_its_angle(tmp_path, degrees, planes):
    # A small one, that hardly leaves its slice, in a plane turned about the rows.
    flat = (SQUARE - SQUARE.mean(axis=0)) * (0.8, 0.7) / 2
    angle = np.radians(degrees)
    z, y, x = (np.array(axis) for axis in GRID.axes)
    points = flat[:, :1] * (np.cos(angle) * y + np.sin(angle) * z) + flat[:, 1:] * x + GRID.world((3, 6, 5))
    with pytest.raises(Rejected, match=rf"LABEL_OFF_GRID: .* turned by {degrees}\.0 degrees"):
        paint(tmp_path, {"GTV": [on(2), contour(points)]}, planes=planes)


def test_a_long_contour_that_is_hardly_turned_is_refused_where_it_crosses_slices():
    # Two degrees against the slices, over 120 mm.
    z, y, x = np.tan(np.radians(2)) * 60 / 1.5, 60.0, 20.0
    long = np.array([[5 - z, 70 - y, 10], [5 - z, 70 - y, 10 + x], [5 + z, 70 + y, 10 + x], [5 + z, 70 + y, 10]])
    grid = Grid((11, 140, 40), (1.5, 1.0, 1.0), (0.0, 0.0, 0.0))
    for planes in ("nearest", "interpolate", "reject"):
        with pytest.raises(Rejected, match=r"LABEL_OFF_GRID: a contour reaches over 2\.79 slice"):
            contour_label(["A"], lambda _: [long], grid, {"a": "A"}, tolerance_mm=0.05, missing="reject", planes=planes)


@pytest.mark.parametrize("index", [-0.7, 6.8, 40])
def test_a_contour_above_or_below_the_image_is_refused(tmp_path, index):
    assert reason(tmp_path, {"GTV": [on(2), on(index)]}) == "LABEL_OUTSIDE"


def test_a_contour_over_the_edge_is_clipped_up_to_a_voxel_and_then_refused(tmp_path):
    label, facts = paint(tmp_path, {"GTV": [on(2, SQUARE - (2.9, 0)), on(3)]})
    np.testing.assert_array_equal(label[2], expected((2, slice(0, 2), slice(3, 7)))[2])
    assert facts["n_clipped"] == 1
    assert reason(tmp_path, {"GTV": [on(2, SQUARE - (3.2, 0))]}) == "LABEL_OUTSIDE"
    assert reason(tmp_path, {"GTV": [on(2, SQUARE - (0, 4.2))]}) == "LABEL_OUTSIDE"


def test_unwanted_rois_may_lie_anywhere(tmp_path):
    label, _ = paint(tmp_path, {"GTV": [on(2)], "couch": [on(2, SQUARE + 90), on(99)]})
    assert label.sum() == 12


def test_broken_structure_sets_are_refused(tmp_path):
    broken = on(2)
    broken["ContourData"]._value = ["1", "2", "3", "4"] * 3 + ["5"]
    assert reason(tmp_path, {"GTV": [broken]}) == "LABEL_UNREADABLE"
    path = write_rtstruct(tmp_path / "whole", {"GTV": [on(2)]})
    cut = tmp_path / "cut"
    cut.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(Rejected, match="LABEL_UNREADABLE"):
        rtstruct_mask(cut, GRID, {"tumour": "GTV"})
    cut.write_text("nothing")
    with pytest.raises(Rejected, match="LABEL_UNREADABLE"):
        rtstruct_mask(cut, GRID, {"tumour": "GTV"})
    with pytest.raises(Rejected, match="SOURCE_CHANGED"):
        rtstruct_mask(tmp_path / "absent", GRID, {"tumour": "GTV"})


def test_its_record_tells_when_it_was_drawn(tmp_path):
    path = write_rtstruct(tmp_path / "r", {"GTV": [on(2)]})
    assert [read_header(path)[key] for key in ("date", "time")] == [None, None]
    dataset = pydicom.dcmread(path)
    for wanted, change in (
        (["20190101", None], {"SeriesDate": "20190101"}),
        (["20200202", "1112"], {"ContentDate": "20200202", "ContentTime": "1112"}),
        (["20210304", "070809.5"], {"StructureSetDate": "20210304", "StructureSetTime": "070809.5"}),
    ):
        dataset.update(change)
        dataset.save_as(path)
        assert [read_header(path)[key] for key in ("date", "time")] == wanted


def test_every_encoding_gives_the_same_label(tmp_path):
    labels = [
        rtstruct_mask(write_rtstruct(tmp_path / str(n), {"GTV": [on(2)]}, syntax=syntax), GRID, {"tumour": "GTV"})[0]
        for n, syntax in enumerate(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"))
    ]
    np.testing.assert_array_equal(*labels)


def test_a_left_handed_grid_is_painted_in_place(tmp_path):
    turned = Grid(GRID.shape, GRID.spacing_mm, GRID.origin_mm, (tuple(-c for c in GRID.axes[0]), *GRID.axes[1:]))
    path = write_rtstruct(tmp_path / "r", {"GTV": [on(2, grid=turned)]})
    np.testing.assert_array_equal(
        rtstruct_mask(path, turned, {"tumour": "GTV"})[0], expected((2, slice(2, 5), slice(3, 7)))
    )


@pytest.mark.parametrize(
    ("axes", "corner"),
    [
        # Sagittal: slices towards the left, rows downwards, columns backwards.
        (((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)), (10 + 2 * 3, 20 + 3 * 0.7, 30 - 2 * 0.8)),
        # Coronal: slices towards the back, rows downwards, columns to the left.
        (((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)), (10 + 3 * 0.7, 20 + 2 * 3, 30 - 2 * 0.8)),
    ],
)
def test_sagittal_and_coronal_images_are_painted_in_place(tmp_path, axes, corner):
    grid = Grid((7, 14, 11), (3.0, 0.8, 0.7), (10.0, 20.0, 30.0), axes)
    steps = np.array([(-0.4, -0.35), (-0.4, 3.15), (2.0, 3.15), (2.0, -0.35)])
    points = np.array(corner) + steps[:, :1] * np.array(axes[1]) + steps[:, 1:] * np.array(axes[2])
    path = write_rtstruct(tmp_path / "r", {"GTV": [contour(points)]})
    label, _ = rtstruct_mask(path, grid, {"tumour": "GTV"}, planes="reject")
    wanted = np.zeros(grid.shape, np.uint8)
    wanted[2, 2:5, 3:8] = 1
    np.testing.assert_array_equal(label, wanted)


# Contours on other planes than the slices

CONE = Grid((25, 64, 70), (3.0, 0.8, 0.7), (0.0, 0.0, 0.0))


def cone_radius_mm(z):
    return 20.0 - 0.7 * z


def cone(heights):
    """Circles that grow smaller upwards, centred between pixels and leaning over."""
    around = [circle((0, 0), 1.0) * cone_radius_mm(z) / CONE.spacing_mm[1:] for z in heights]
    return [
        np.column_stack([np.full(400, float(z)), points + np.array([31.3 + 0.1 * z, 35.2])])
        for z, points in zip(heights, around, strict=True)
    ]


def interpolated(stack, grid=CONE, **options):
    options = {"tolerance_mm": 0.05, "missing": "reject", "planes": "interpolate", **options}
    return contour_label(["A"], lambda _: stack, grid, {"a": "A"}, **options)


def test_signed_distances_are_those_of_the_formula():
    mm = signed_mm([circle((20.3, 24.6), 1), circle((20.3, 24.6), 12)], (41, 50), (1.0, 1.0))
    rows, columns = np.indices((41, 50))
    distance = np.hypot(rows - 20.3, columns - 24.6)
    expected_mm = np.where(distance < 6.5, distance - 1, 12 - distance)
    np.testing.assert_allclose(mm, expected_mm, atol=0.2)
    assert np.abs(mm - expected_mm).mean() < 0.08


def test_signed_distances_respect_the_pixel_size_and_an_empty_shape():
    box = np.array([[4.5, 6.5], [4.5, 20.5], [10.5, 20.5], [10.5, 6.5]])
    mm = signed_mm([box], (16, 30), (2.0, 0.5))
    assert mm[7, 13] == pytest.approx(6.5 * 0.5, abs=0.15)
    assert mm[5, 13] == pytest.approx(1.0, abs=0.15)
    assert mm[2, 13] == pytest.approx(-5.0, abs=0.15)
    assert mm[7, 28] == pytest.approx(-7.5 * 0.5, abs=0.15)
    assert (signed_mm([box[:1]], (16, 30), (2.0, 0.5)) == -np.inf).all()


@pytest.mark.parametrize("step", [2, 3, 4, 1.5, 2.4])
def test_slices_between_coarse_planes_get_the_shape_between(step):
    heights = np.arange(2, 22.01, step)
    label, facts = interpolated(cone(heights))
    places = np.arange(2, np.floor(heights[-1]) + 1).astype(int)
    areas = label[places].sum(axis=(1, 2)) * 0.8 * 0.7
    np.testing.assert_allclose(areas, np.pi * cone_radius_mm(places) ** 2, rtol=0.03)
    assert areas.sum() == pytest.approx((np.pi * cone_radius_mm(places) ** 2).sum(), rel=0.004)
    # The axis leans over: so must the shapes between.
    for place in places:
        assert np.argwhere(label[place]).mean(axis=0) == pytest.approx((31.3 + 0.1 * place, 35.2), abs=0.15)
    assert facts["n_interpolated_slices"] == sum(np.abs(heights - place).min() > 0.1 for place in places)
    assert facts["n_skipped_slices"] == 0


@pytest.mark.parametrize("shift", [0.2, -0.3, 0.45])
def test_planes_beside_the_slices_and_planes_denser_than_them_keep_the_shape(shift):
    for step in (1.0, 0.4):
        heights = np.arange(3, 20.01, step) + shift
        label, _ = interpolated(cone(heights))
        # Each plane stands for half a step on both sides of it.
        places = [z for z in range(25) if heights[0] - step / 2 < z <= heights[-1] + step / 2]
        np.testing.assert_array_equal(np.unique(np.nonzero(label)[0]), places)
        wanted = np.pi * cone_radius_mm(np.clip(places, heights[0], heights[-1])) ** 2
        areas = label[places].sum(axis=(1, 2)) * 0.8 * 0.7
        np.testing.assert_allclose(areas, wanted, rtol=0.03)
        assert areas.sum() == pytest.approx(wanted.sum(), rel=0.004)
    with pytest.raises(Rejected, match="fall together"):
        interpolated(cone(heights), planes="nearest")


def test_contours_on_the_slices_are_the_same_however_planes_are_taken():
    stack = cone(range(3, 15))
    labels = [interpolated(stack, planes=planes)[0] for planes in ("reject", "nearest", "interpolate")]
    np.testing.assert_array_equal(labels[0], labels[1])
    np.testing.assert_array_equal(labels[0], labels[2])
    assert sorted(set(np.nonzero(labels[0])[0])) == list(range(3, 15))


def test_nothing_is_filled_unless_asked():
    label, facts = interpolated(cone([2, 4, 6, 8]), planes="nearest")
    assert sorted(set(np.nonzero(label)[0])) == [2, 4, 6, 8]
    assert (facts["n_skipped_slices"], facts["n_interpolated_slices"]) == (3, 0)


def test_two_parts_of_a_structure_are_not_joined():
    label, facts = interpolated(cone([1, 2, 3, 4, 9, 10, 11]))
    assert sorted(set(np.nonzero(label)[0])) == [1, 2, 3, 4, 9, 10, 11]
    assert (facts["n_skipped_slices"], facts["n_interpolated_slices"]) == (4, 0)
    # Two planes alone do not tell how dense a structure was contoured: 20 mm is the most.
    assert interpolated(cone([2, 8]))[1]["n_interpolated_slices"] == 5
    assert interpolated(cone([2, 9]))[1]["n_interpolated_slices"] == 0


def test_the_ends_of_a_part_reach_half_a_slice():
    label, _ = interpolated(cone([2.3, 3.3, 4.3, 12.7, 13.7]))
    assert sorted(set(np.nonzero(label)[0])) == [2, 3, 4, 13, 14]
    assert sorted(set(np.nonzero(interpolated(cone([6.4]))[0])[0])) == [6]
    assert sorted(set(np.nonzero(interpolated(cone([0.2, 1.2, 23.4, 24.4]))[0])[0])) == [0, 1, 23, 24]


def test_holes_are_kept_between_planes_and_shapes_apart_leave_nothing_there():
    rings = [
        np.column_stack([np.full(400, float(z)), circle((30, 35), radius)]) for z in (4, 6) for radius in (20 + z, z)
    ]
    label, _ = interpolated(rings)
    distance = np.hypot(*(np.indices(CONE.shape[1:]) - np.array([30, 35])[:, None, None]))
    wanted = (distance < 25) & (distance > 5)
    rim = (np.abs(distance - 25) < 0.4) | (np.abs(distance - 5) < 0.4)
    np.testing.assert_array_equal(label[5][~rim] > 0, wanted[~rim])
    apart = [np.column_stack([np.full(400, z), circle(centre, 6)]) for z, centre in ((4.0, (12, 12)), (6.0, (50, 50)))]
    label, facts = interpolated(apart)
    assert not label[5].any()
    assert (label[4].any(), label[6].any(), facts["n_interpolated_slices"]) == (True, True, 1)


def test_shapes_over_the_edge_of_the_image_are_clipped_between_planes():
    edge = [np.column_stack([np.full(400, float(z)), circle((9, 60.4), 9.8)]) for z in (4, 6)]
    label, facts = interpolated(edge)
    assert facts["n_clipped"] == 2
    differs = label[4] != label[5]
    assert differs.sum() <= 4
    assert label[5][0].any()
    assert label[5][:, -1].any()


@pytest.mark.parametrize("index", [-0.7, 6.8])
def test_planes_outside_the_image_are_refused_when_interpolating(tmp_path, index):
    assert reason(tmp_path, {"GTV": [on(2), on(index)]}, planes="interpolate") == "LABEL_OUTSIDE"


def test_an_roi_without_contours_is_empty_however_planes_are_taken(tmp_path):
    for planes in ("reject", "nearest", "interpolate"):
        assert not paint(tmp_path, {"GTV": []}, planes=planes)[0].any()


# Real structure sets


def series_grid(folder):
    records = [read_header(path) for path in sorted(folder.iterdir())]
    return stack_geometry([record for record in records if record["kind"] == "image"]).grid


def shoelace_voxels(path, grid, name):
    """Area of the closed contours of an ROI, in voxels; a contour inside another one is taken away."""
    slices = {}
    for contours in (roi.contours for roi in read_rois(path) if roi.name == name):
        for one in contours:
            points = np.array(one.ContourData, float).reshape(-1, 3) - grid.origin_mm
            z, *yx = (points @ np.array(grid.axes).T / grid.spacing_mm).T
            if one.ContourGeometricType == "CLOSED_PLANAR":
                slices.setdefault(round(z.mean()), []).append(np.column_stack(yx))
    total = 0.0
    for own in slices.values():
        for place, (y, x) in enumerate(polygon.T for polygon in own):
            others = [polygon for other, polygon in enumerate(own) if other != place]
            depth = sum(bool(points_in_poly([(y[0], x[0])], polygon)[0]) for polygon in others)
            total += (-1) ** depth * abs(y @ np.roll(x, -1) - x @ np.roll(y, -1)) / 2
    return total


@pytest.mark.data
def test_the_volume_of_real_tumours_is_that_of_their_polygons(unpacked):
    ratios = []
    for folder in sorted((unpacked / "sts").glob("*/*")):
        path, grid = next((folder / "mask").iterdir()), series_grid(folder / "image")
        for roi in read_rois(path):
            label, facts = rtstruct_mask(path, grid, {"tumour": re.escape(roi.name)})
            area = shoelace_voxels(path, grid, roi.name)
            ratios.append(label.sum() / area)
            # PET voxels are so large that a tumour holds a few hundred.
            assert ratios[-1] == pytest.approx(1, abs=0.003 if area > 3000 else 0.015), folder
            assert (facts["n_ignored"], facts["n_clipped"], facts["n_skipped_slices"]) == (0, 0, 0)
            assert facts["plane_offset_mm"] < 0.05
    assert len(ratios) == 36
    assert np.mean(ratios) == pytest.approx(1, abs=0.002)


@pytest.mark.data
def test_the_structures_of_a_lung_patient_have_their_known_volumes(unpacked):
    folder = unpacked / "lung" / "LUNG1-003_20180209_CT"
    grid, path = series_grid(folder), folder / "1.dcm"
    structures = {"tumour": "GTV-1", "lung": "Lung [LR]", "heart": "Heart", "marker": "I1"}
    label, facts = rtstruct_mask(path, grid, structures)
    volumes_ml = np.bincount(label.ravel(), minlength=5)[1:] * grid.voxel_ml
    assert volumes_ml[0] == pytest.approx(34.7, abs=0.1)
    assert volumes_ml[1] == pytest.approx(3901, abs=5)
    assert volumes_ml[3] == 0
    assert facts["n_rois"] == {"tumour": 1, "lung": 2, "heart": 1, "marker": 1}
    assert facts["n_ignored"] == 1
    for name in (roi.name for roi in read_rois(path)):
        label, _ = rtstruct_mask(path, grid, {"own": re.escape(name)})
        # 1% for every one of them: the smallest has 8.7 ml, and points have none.
        assert label.sum() == pytest.approx(shoelace_voxels(path, grid, name), rel=0.01), name

"""Contours to voxels: areas by formula, holes, keyholes, planes, edges; real structure sets against their polygons."""

import numpy as np
import pytest
from dicom_phantom import contour, grid_of, world_polygon, write_rtstruct
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from cohortseg.errors import Rejected
from cohortseg.io.geometry import stack_geometry
from cohortseg.io.headers import read_header
from cohortseg.io.planar import even_odd
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
    ("radius_mm", "single", "mean"), [(2, 0.11, 5e-3), (4, 0.05, 3e-3), (10.3, 0.015, 1e-3), (40, 2e-3, 2e-4)]
)
def test_circles_have_the_area_of_the_formula(radius_mm, single, mean):
    radius, rng = radius_mm / 0.75, np.random.default_rng(5)
    areas = []
    for centre in rng.uniform(60, 61, (300, 2)):
        _, mask = even_odd([circle(centre, radius)], (128, 128))
        areas.append(mask.sum() / (np.pi * radius**2))
    # One small circle holds few centres, so its area jumps; over all positions nothing is gained or lost.
    assert np.abs(np.array(areas) - 1).max() < single
    assert np.mean(areas) == pytest.approx(1, abs=mean)


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
    assert facts["n_overlap_voxels"] == 6
    label, _ = paint(tmp_path, rois, {"b": "B", "a": "A"})
    assert [(label == number).sum() for number in (1, 2)] == [12, 12 - 6]


def test_a_contour_drawn_twice_does_not_cancel_itself(tmp_path):
    label, facts = paint(tmp_path, {"GTV": [on(2), on(2)]})
    assert label.sum() == 12
    assert facts["n_ignored"] == 1


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


def test_a_plane_between_two_slices_goes_to_the_nearer_one(tmp_path):
    label, facts = paint(tmp_path, {"GTV": [on(2.3), on(3.3)]})
    assert sorted(set(np.nonzero(label)[0])) == [2, 3]
    assert facts["plane_offset_mm"] == pytest.approx(0.3 * 2.5, abs=1e-3)


def test_a_stack_shifted_by_half_a_slice_stays_a_stack(tmp_path):
    label, _ = paint(tmp_path, {"GTV": [on(z + 0.5) for z in range(1, 5)]})
    assert label.any(axis=(1, 2)).sum() == 4


def test_contours_denser_than_the_slices_are_refused(tmp_path):
    assert reason(tmp_path, {"GTV": [on(2 + 0.4 * step) for step in range(8)]}) == "LABEL_OFF_GRID"


def test_a_contour_that_crosses_slices_is_refused(tmp_path):
    points = world_polygon(GRID, 3, SQUARE) + np.array([0, 1, 1, 0])[:, None] * 5.0 * np.array(GRID.axes[0])
    assert reason(tmp_path, {"GTV": [contour(points)]}) == "LABEL_OFF_GRID"


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


# Real structure sets


def series_grid(folder):
    records = [read_header(path) for path in sorted(folder.iterdir())]
    return stack_geometry([record for record in records if record["kind"] == "image"]).grid


def shoelace_voxels(path, grid, names):
    """Area of all closed contours of the named ROIs, in voxels: none of the cohort has holes."""
    total = 0.0
    for roi in read_rois(path):
        for one in roi.contours if roi.name in names else ():
            points = np.array(one.ContourData, float).reshape(-1, 3) @ np.array(grid.axes[1:]).T / grid.spacing_mm[1:]
            y, x = points.T
            total += abs(y @ np.roll(x, -1) - x @ np.roll(y, -1)) / 2
    return total


@pytest.mark.data
def test_the_volume_of_real_tumours_is_that_of_their_polygons(unpacked):
    ratios = []
    for folder in sorted((unpacked / "sts").glob("*/*")):
        path, grid = next((folder / "mask").iterdir()), series_grid(folder / "image")
        label, facts = rtstruct_mask(path, grid, {"tumour": "GTV_Mass.*"})
        area = shoelace_voxels(path, grid, {roi.name for roi in read_rois(path)})
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
    grid = series_grid(folder)
    structures = {"tumour": "GTV-1", "lung": "Lung [LR]", "heart": "Heart", "marker": "I1"}
    label, facts = rtstruct_mask(folder / "1.dcm", grid, structures)
    volumes_ml = np.bincount(label.ravel(), minlength=5)[1:] * grid.voxel_ml
    assert volumes_ml[0] == pytest.approx(34.7, abs=0.1)
    assert volumes_ml[0] == pytest.approx(shoelace_voxels(folder / "1.dcm", grid, {"GTV-1"}) * grid.voxel_ml, rel=0.005)
    assert volumes_ml[1] == pytest.approx(3901, abs=5)
    assert volumes_ml[3] == 0
    assert facts["n_rois"] == {"tumour": 1, "lung": 2, "heart": 1, "marker": 1}
    assert facts["n_ignored"] == 1

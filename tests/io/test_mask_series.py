"""Masks that stand as image series: part of the image, turned round, of two values or many."""

import numpy as np
import pytest
from dicom_phantom import grid_of, hu_of, write_series
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import Rejected
from cohortseg.io.geometry import stack_geometry
from cohortseg.io.mask_series import series_mask
from cohortseg.io.series import open_series, read_slabs
from cohortseg.volume import Grid

GRID = grid_of((7, 14, 11))


def lopsided():
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2:5, 3:9, 1:4] = 1
    mask[4:6, 10:13, 5:11] = 1
    mask[5, 12, 7] = 0
    return mask


def slabs(array, size=3):
    return ((z0, array[z0 : z0 + size]) for z0 in range(0, len(array), size))


def reason(array, values=None, own_grid=GRID, grid=GRID, pieces=None, **options):
    with pytest.raises(Rejected) as caught:
        series_mask(pieces if pieces is not None else slabs(array), own_grid, grid, values, **options)
    return caught.value.reason


def part(grid, first, shape):
    return Grid(shape, grid.spacing_mm, grid.world(first), grid.axes)


@pytest.mark.parametrize("value", [1, 255, 1000.5, 0.25])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_two_values_make_one_class(value, size):
    label, facts = series_mask(slabs(lopsided() * np.float32(value), size), GRID, GRID, None)
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, lopsided())
    assert facts == {"n_voxels": {"mask": int(lopsided().sum())}, "turned": False, "n_uncovered": 0}


@pytest.mark.parametrize("background", [-5, 1, 100])
def test_the_background_need_not_be_zero(background):
    array = np.where(lopsided() == 1, 210, background).astype(np.int16)
    np.testing.assert_array_equal(series_mask(slabs(array), GRID, GRID, None)[0], lopsided())


def test_a_background_that_comes_first_is_forgotten_when_the_mask_comes():
    # The first slabs hold one value only, which looks like a mask until a larger one comes.
    array = np.where(lopsided() == 1, 9, 3)
    smaller = Grid((7, 13, 11), GRID.spacing_mm, GRID.origin_mm, GRID.axes)
    np.testing.assert_array_equal(series_mask(slabs(array, 1), GRID, GRID, None)[0], lopsided())
    np.testing.assert_array_equal(series_mask(slabs(array, 1), GRID, smaller, None)[0], lopsided()[:, :13])


@pytest.mark.parametrize(
    "array", [np.full(GRID.shape, 7), np.full(GRID.shape, -1024), lopsided() - 1.0, lopsided() + 2]
)
def test_a_series_that_is_no_mask_is_refused(array):
    assert reason(array) == "LABEL_VALUES"


def test_an_empty_mask_is_an_empty_label():
    label, facts = series_mask(slabs(np.zeros(GRID.shape)), GRID, GRID, None)
    assert not label.any()
    assert facts["n_voxels"] == {"mask": 0}


def test_more_than_two_values_need_names():
    array = lopsided() * 2
    array[3, 4, 2] = 1
    assert reason(array) == "LABEL_VALUES"
    assert reason(hu_of(GRID.shape)) == "LABEL_VALUES"
    # Also when each slab for itself holds two.
    later = np.zeros(GRID.shape)
    later[1, 1, 1], later[6, 1, 1] = 1, 2
    assert reason(None, pieces=slabs(later, 1)) == "LABEL_VALUES"


def test_named_values_are_numbered_as_they_are_named():
    array = lopsided() * np.int16(4)
    array[4:6, 10:13] //= 2
    label, facts = series_mask(slabs(array), GRID, GRID, {"lung": 2, "tumour": 4})
    np.testing.assert_array_equal(label, np.choose(array // 2, [0, 1, 2]))
    assert facts["n_voxels"] == {"lung": int((array == 2).sum()), "tumour": int((array == 4).sum())}
    assert reason(array, {"tumour": 4}) == "LABEL_VALUES"
    label, facts = series_mask(slabs(array), GRID, GRID, {"heart": 7, "lung": 2, "tumour": 4})
    assert facts["n_voxels"]["heart"] == 0
    assert set(np.unique(label)) == {0, 2, 3}


def test_a_mask_of_a_part_of_the_image_lands_where_it_lies():
    own = part(GRID, (2, 3, 1), (4, 10, 10))
    label, facts = series_mask(slabs(lopsided()[2:6, 3:13, 1:]), own, GRID, None)
    np.testing.assert_array_equal(label, lopsided())
    assert facts["n_uncovered"] == 7 * 14 * 11 - 4 * 10 * 10


def test_a_mask_larger_than_the_image_may_be_empty_outside():
    image = part(GRID, (2, 3, 1), (4, 10, 10))
    label, facts = series_mask(slabs(lopsided()), GRID, image, None)
    np.testing.assert_array_equal(label, lopsided()[2:6, 3:13, 1:])
    assert facts["n_uncovered"] == 0
    for first, shape in (((3, 3, 1), (4, 10, 10)), ((2, 4, 1), (4, 10, 10)), ((2, 3, 1), (4, 10, 9))):
        assert reason(lopsided(), grid=part(GRID, first, shape)) == "LABEL_OUTSIDE"


def test_a_mask_beside_the_image_is_refused_and_an_empty_one_covers_nothing():
    far = part(GRID, (9, 0, -40), GRID.shape)
    assert reason(lopsided(), own_grid=far) == "LABEL_OUTSIDE"
    label, facts = series_mask(slabs(lopsided() * 0), far, GRID, None)
    assert not label.any()
    assert facts["n_uncovered"] == label.size


@given(st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
@settings(max_examples=48, deadline=None)
def test_however_its_axes_run_the_mask_lands_on_the_same_voxels(order, flips):
    sign = [-1 if flip else 1 for flip in flips]
    turned = lopsided().transpose(order)[tuple(slice(None, None, one) for one in sign)]
    corner = [0.0] * 3
    for axis, flip in zip(order, flips, strict=True):
        corner[axis] = GRID.shape[axis] - 1.0 if flip else 0.0
    axes = tuple(tuple(s * c for c in GRID.axes[axis]) for s, axis in zip(sign, order, strict=True))
    own = Grid(turned.shape, tuple(GRID.spacing_mm[axis] for axis in order), GRID.world(tuple(corner)), axes)
    label, facts = series_mask(slabs(turned), own, GRID, None)
    np.testing.assert_array_equal(label, lopsided())
    assert facts["turned"] == (list(order) != [0, 1, 2] or any(flips))


@pytest.mark.parametrize("index", [(0.4, 0, 0), (0, 0.3, 0), (0, 0, -0.2)])
def test_a_mask_between_the_voxels_is_refused(index):
    own = Grid(GRID.shape, GRID.spacing_mm, GRID.world(index), GRID.axes)
    assert reason(lopsided(), own_grid=own) == "LABEL_OFF_GRID"
    assert series_mask(slabs(lopsided()), own, GRID, None, tolerance_mm=1.1)[0].any()


@pytest.mark.parametrize("spacing_mm", [(5.0, 0.8, 0.7), (2.5, 0.4, 0.7), (2.5, 0.8, 0.71)])
def test_a_mask_of_another_voxel_size_is_refused(spacing_mm):
    assert reason(lopsided(), own_grid=Grid(GRID.shape, spacing_mm, GRID.origin_mm, GRID.axes)) == "LABEL_OFF_GRID"


@pytest.mark.parametrize("degrees", [(21.0, -35.0, 10.0), (65.0, -35.0, 10.0), (20.0, -35.0, 55.0)])
def test_a_turned_mask_is_refused(degrees):
    assert reason(lopsided(), own_grid=grid_of((7, 14, 11), degrees)) == "LABEL_OFF_GRID"


def test_a_mask_of_one_slice_lands_on_its_slice():
    own = Grid((1, 14, 11), (9.0, 0.8, 0.7), GRID.world((3, 0, 0)), GRID.axes)
    label, _ = series_mask(slabs(lopsided()[3:4]), own, GRID, None)
    np.testing.assert_array_equal(np.unique(np.nonzero(label)[0]), [3])
    np.testing.assert_array_equal(label[3], lopsided()[3])


def test_missing_slices_and_slices_of_another_size_are_refused():
    array = lopsided()
    assert reason(None, pieces=iter([(0, array[:3])])) == "LABEL_UNREADABLE"
    assert reason(None, pieces=iter([(0, array[:3]), (4, array[4:])])) == "LABEL_UNREADABLE"
    assert reason(None, pieces=iter([(0, array[:, :, :5])])) == "LABEL_UNREADABLE"
    assert reason(None, pieces=iter([])) == "LABEL_UNREADABLE"


@pytest.mark.parametrize("values", [None, {"tumour": 1}])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(values, bad):
    array = lopsided().astype(np.float32)
    array[6, 13, 10] = bad
    assert reason(array, values) == "NOT_A_NUMBER"


def test_a_series_on_disk_with_its_slices_the_other_way_is_read(tmp_path):
    shown = (lopsided()[::-1] * 255).astype(np.uint8)
    z, y, x = GRID.axes
    own = Grid(GRID.shape, GRID.spacing_mm, GRID.world((6, 0, 0)), (tuple(-c for c in z), y, x))
    paths, records = write_series(tmp_path / "mask", own, shown, modality="OT", intercept=0.0)
    stack = stack_geometry(records)
    series = open_series([paths[place] for place in stack.order], [records[place] for place in stack.order])
    label, _ = series_mask(read_slabs(series, slab=2), stack.grid, GRID, None)
    np.testing.assert_array_equal(label, lopsided())

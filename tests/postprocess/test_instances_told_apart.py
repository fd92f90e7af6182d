"""Objects of a class told apart: disks whose waists are known by hand, cores of probability, and what is left alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.postprocess.instances import by_distance, by_probability, high_maxima, objects_by_class, whole

LOPSIDED = (3.0, 1.0, 0.5)
masks = hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 9)] * 3), elements=st.integers(0, 2))


def disks(*centres, radius=10.0, shape=(1, 40, 90), spacing=(1.0, 1.0, 1.0)):
    """Disks (balls where there are planes) of one radius in mm round centres (z, y, x) in mm."""
    at = np.meshgrid(*(np.arange(n) * size for n, size in zip(shape, spacing, strict=True)), indexing="ij")
    far = [sum((axis - c) ** 2 for axis, c in zip(at, centre, strict=True)) for centre in centres]
    return (np.min(far, axis=0) <= radius**2).astype(np.uint8)


def told_apart(label, spacing=(1.0, 1.0, 1.0), *, depth=1.0, smooth=0.0, classes=1):
    return objects_by_class(label, classes, lambda _: by_distance(spacing_mm=spacing, depth_mm=depth, smooth_mm=smooth))


def test_two_touching_disks_are_two_objects_and_the_border_lies_half_way():
    label = disks((0, 20, 25), (0, 20, 41))  # radius 10, 16 apart: half the waist is 6
    found = told_apart(label)
    assert found.dtype == np.int32
    assert np.unique(found).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found > 0, label > 0)
    assert set(np.unique(found[:, :, :33])) == {0, 1}
    assert set(np.unique(found[:, :, 34:])) == {0, 2}


@pytest.mark.parametrize(("depth", "n"), [(3.0, 2), (5.0, 1)])
def test_the_depth_is_how_much_narrower_the_waist_must_be(depth, n):
    # The swelling is 10 wide, the waist 6: a difference of about 4 (to a pixel).
    assert told_apart(disks((0, 20, 25), (0, 20, 41)), depth=depth).max() == n


def test_the_spacing_counts_and_balls_are_parted_across_planes():
    shape = (14, 30, 50)
    label = disks((12, 14, 12), (27, 14, 12), radius=10.0, shape=shape, spacing=LOPSIDED)
    found = told_apart(label, LOPSIDED, depth=1.5)
    assert found.max() == 2
    assert set(np.unique(found[:6])) == {0, 1}
    assert set(np.unique(found[8:])) == {0, 2}
    # The same voxels on a cube of 1 mm are flat plates, not swellings along z.
    assert told_apart(label, (1.0, 1.0, 1.0), depth=1.5).max() == 1


def test_a_rough_border_is_smoothed_before_it_makes_false_objects():
    label = np.zeros((1, 40, 90), np.uint8)
    label[0, 14:27, 10:80] = 1
    label[0, 14, 10:80:9] = label[0, 14, 11:80:9] = 0  # notches in a long bar
    assert told_apart(label, depth=0.3).max() > 1
    assert told_apart(label, depth=0.3, smooth=2.0).max() == 1


def test_an_object_that_the_image_cuts_is_not_parted_and_one_that_fills_it_is_one():
    assert told_apart(disks((0, 0, 45), radius=15)).max() == 1
    assert told_apart(np.ones((2, 4, 5), np.uint8)).max() == 1
    assert told_apart(np.zeros((2, 4, 5), np.uint8)).max() == 0


def test_components_are_left_whole_and_numbered_class_by_class():
    label = disks((0, 20, 25), (0, 20, 41), (0, 20, 75))
    label[:, :, 60:] *= 2
    label[0, 0, 0] = 2
    found = objects_by_class(label, 2, lambda _: whole)
    assert np.unique(found[label == 1]).tolist() == [1]
    assert np.unique(found[label == 2]).tolist() == [2, 3]
    assert objects_by_class(label, 1, lambda _: whole)[label == 2].max() == 0


def test_classes_that_touch_are_never_one_object():
    label = disks((0, 20, 30))
    label[:, :, 30:] *= 2
    assert told_apart(label, classes=2).max() == 2


def test_cores_of_high_probability_are_objects_and_the_rest_goes_to_the_nearest():
    label = np.ones((1, 3, 9), np.uint8)
    probability = np.tile(np.array([0.6, 0.95, 0.97, 0.8, 0.55, 0.8, 0.95, 0.92, 0.6]), (1, 3, 1))
    found = objects_by_class(label, 1, lambda _: by_probability(probability, marker=0.9))
    assert found[0, 1, [0, 1, 2, 3]].tolist() == [1] * 4
    assert found[0, 1, [5, 6, 7, 8]].tolist() == [2] * 4
    for marker in (0.5, 0.96, 0.99):  # one core of all, one core, none
        assert objects_by_class(label, 1, lambda _, m=marker: by_probability(probability, marker=m)).max() == 1


def test_high_maxima_by_hand():
    surface = np.array([[[0, 3, 2, 4, 1, 6, 0, 2, 0]]], np.float64)
    for depth, n in ((0.5, 4), (1.5, 3), (2.5, 2), (6.0, 0)):
        # 3 stands 1 over its saddle, 2 stands 2, 4 stands 3 over the saddle towards 6
        assert high_maxima(surface, depth).max() == n, depth


@settings(max_examples=60, deadline=None)
@given(masks, st.sampled_from([0.0, 0.4, 1.5]))
def test_objects_cover_exactly_their_class_and_are_numbered_without_a_gap(label, smooth):
    found = told_apart(label, LOPSIDED, smooth=smooth, classes=2)
    np.testing.assert_array_equal(found > 0, label > 0)
    assert np.unique(found[found > 0]).tolist() == list(range(1, found.max() + 1))
    for number in range(1, found.max() + 1):
        assert len(np.unique(label[found == number])) == 1

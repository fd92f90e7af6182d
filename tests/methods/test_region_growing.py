import numpy as np
import pytest
from flat_phantom import blob, dice, volume_of
from skimage.segmentation import flood as flood_of_skimage

from cohortseg.errors import SettingsError
from cohortseg.methods.region_growing import all_regions, build, confidence, flood, grow, seed_place


def test_of_two_plateaus_exactly_the_one_with_the_seed_is_grown():
    image = np.zeros((4, 9, 12))
    image[:, :, 6:] = 10.0
    image += np.tile([0.0, 1.0, 0.5], 144).reshape(image.shape)
    for start, expected in (((1, 2, 2), np.arange(12) < 6), ((1, 2, 9), np.arange(12) >= 6)):
        np.testing.assert_array_equal(grow(image, start, 1.0), expected * np.ones(image.shape, bool))


@pytest.mark.parametrize("connectivity", [1, 2, 3])
def test_with_a_fixed_mean_it_is_scikit_images_flood(connectivity):
    image = np.random.default_rng(3).integers(0, 20, (9, 21, 17)).astype(float)
    start = (4, 9, 8)
    mine = flood(image, start, image[start] - 6, image[start] + 6, connectivity=connectivity)
    np.testing.assert_array_equal(mine, flood_of_skimage(image, start, connectivity=connectivity, tolerance=6))
    assert 0 < mine.mean() < 1


def test_the_same_as_itks_connected_threshold_and_confidence_connected():
    import SimpleITK

    volume, _ = blob(noise=12)
    image = volume.array.astype(np.float64)
    start = (6, 29, 47)
    itk = SimpleITK.GetImageFromArray(image)
    judge = SimpleITK.ConnectedThreshold(itk, seedList=[start[::-1]], lower=70, upper=140)
    np.testing.assert_array_equal(flood(image, start, 70, 140), SimpleITK.GetArrayFromImage(judge) > 0)
    judge = SimpleITK.ConfidenceConnected(
        itk, seedList=[start[::-1]], numberOfIterations=4, multiplier=2.5, initialNeighborhoodRadius=2
    )
    mine = confidence(image, start, 2.5, 4, 30.0)
    assert dice(mine, SimpleITK.GetArrayFromImage(judge) > 0) > 0.99


def test_a_bridge_of_one_voxel_leaks_only_when_its_value_fits():
    image = np.zeros((1, 7, 15))
    image[0, 2:5, 1:6] = image[0, 2:5, 9:14] = 100.0
    for bridge, leaks in ((95.0, True), (60.0, False)):
        image[0, 3, 6:9] = bridge
        assert grow(image, (0, 3, 3), 10.0)[0, 3, 12] == leaks


def test_the_mean_runs_along_with_a_slow_slope_and_the_seed_does_not():
    image = np.arange(40.0)[None, None] * np.ones((1, 3, 1))
    running, fixed = grow(image, (0, 1, 0), 6.0), flood(image, (0, 1, 0), -6.0, 6.0)
    assert running.sum() > fixed.sum()
    assert fixed.sum() == 21


def test_it_does_not_matter_how_the_image_lies_in_memory():
    image = np.random.default_rng(5).normal(0, 1, (6, 14, 15)).cumsum(axis=1)
    start = (2, 6, 4)
    found = grow(image, start, 2.0)
    turned = grow(image[::-1, :, ::-1], (3, 6, 10), 2.0)
    np.testing.assert_array_equal(turned[::-1, :, ::-1], found)
    assert 20 < found.sum() < found.size


def test_the_first_seed_is_the_first_voxel_and_the_next_the_commonest_grey_level_that_is_free():
    image = np.full((1, 6, 8), 5.0)  # the first voxel is of the background
    image[0, 2:4, 1:4] = 100.0  # 6 voxels
    image[0, 2:5, 5:8] = 60.0  # 9 voxels: the next seed
    found = all_regions(image, "running_mean", 1.0, 2.5, 4, 1, 8)
    assert found[0, 0, 0] == 0
    assert found[0, 2, 5] == 1
    assert found[0, 2, 1] == 2
    np.testing.assert_array_equal(np.unique(found), [0, 1, 2])


def test_what_is_left_joins_the_region_with_the_nearest_mean():
    image = np.array([[[0.0, 0, 0, 50, 50, 90]]])
    found = all_regions(image, "running_mean", 1.0, 2.5, 4, 1, 2)
    np.testing.assert_array_equal(found[0, 0], [0, 0, 0, 1, 1, 1])


def test_single_seeds_lie_where_their_name_says():
    image = np.array([[[3.0, 7, 7], [9, 1, 7]]])
    assert seed_place(image, "brightest") == (0, 1, 0)
    assert seed_place(image, "darkest") == (0, 1, 1)
    assert seed_place(image, "mode") == (0, 0, 1)
    assert seed_place(image, "centre") == (0, 1, 1)


@pytest.mark.parametrize("criterion", ["running_mean", "seed", "confidence"])
def test_the_phantom_is_grown_from_its_middle_and_from_common_grey_levels(criterion):
    volume, mask = blob(noise=6)
    for seeds in ("centre", "first_and_modes"):
        found = build(seeds=seeds, criterion=criterion, tolerance=0.3)(volume)
        assert dice(mask, found > 0) > 0.98, seeds


def test_one_value_holds_no_object_and_impossible_settings_are_refused():
    assert not build()(volume_of(np.full((4, 5), 7))).any()
    with pytest.raises(SettingsError, match="connectivity must be 1, 2 or 3"):
        build(connectivity=6)

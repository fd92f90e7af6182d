import numpy as np
import pytest
from chest_phantom import GRID, chest, dice

from cohortseg.errors import Rejected, SettingsError
from cohortseg.methods import segmenter
from cohortseg.methods.lung import airway, build, closed, disk, lung_mask, widened
from cohortseg.methods.regions import body
from cohortseg.methods.spine import (
    centre_of,
    mirrored,
    moving_average,
    profile,
    smoothed,
    spine_axis,
    start_of,
    symmetric,
)
from cohortseg.volume import Grid, Volume


@pytest.fixture(scope="module")
def phantom():
    return chest()


def test_the_smoothing_of_a_step_has_its_known_values():
    found = smoothed([10.0] * 6, 0.0, 0.3)
    np.testing.assert_allclose(found, [3, 5.1, 6.57, 7.599, 8.3193, 8.82351])


def test_a_slice_without_a_centre_keeps_the_position_before_it():
    np.testing.assert_allclose(smoothed([10, np.nan, 10], 0.0, 0.3), [3, 3, 5.1])


def test_the_start_is_the_mean_of_five_slices_not_six_terms_over_five():
    assert start_of([10, 11, 12, 13, 14, 99]) == 12
    assert start_of([np.nan, 10, 20, np.nan, np.nan, 5]) == 15
    assert np.isnan(start_of([np.nan]))


def test_the_moving_average_spreads_an_impulse_over_seven_columns_and_keeps_its_place():
    impulse = np.zeros(31)
    impulse[12] = 1
    found = moving_average(impulse)
    np.testing.assert_allclose(found, np.where(np.abs(np.arange(31) - 12) <= 3, 1 / 7, 0))
    assert found.size == 31
    with pytest.raises(ValueError, match="odd"):
        moving_average(impulse, 6)


def test_the_disk_of_radius_5_has_81_pixels_and_widens_each_slice_for_itself():
    assert disk(5).sum() == 81
    mask = np.zeros((3, 21, 23), bool)
    mask[1, 10, 11] = True
    found = widened(mask, 5)
    assert found[1].sum() == 81
    np.testing.assert_array_equal(found[1, 5:16, 6:17], disk(5))
    assert not found[[0, 2]].any()
    np.testing.assert_array_equal(widened(mask, 0), mask)


def test_the_mirror_image_about_a_column_by_hand():
    mask = np.zeros((2, 1, 9), bool)
    mask[:, 0, :2] = True
    found = mirrored(mask, np.array([3.0, 4.5]))
    np.testing.assert_array_equal(np.flatnonzero(found[0, 0]), [5, 6])
    np.testing.assert_array_equal(np.flatnonzero(found[1, 0]), [8])  # column 9 would be outside


@pytest.mark.parametrize("column", [14.0, 17.5, 9.0])
def test_the_union_is_symmetric_holds_the_mask_and_is_the_same_when_done_twice(column):
    mask = np.random.default_rng(2).random((4, 9, 30)) < 0.2
    mask[:, :, :2] = mask[:, :, -2:] = False
    axis = np.full(4, column)
    found = symmetric(mask, axis)
    assert found[mask].all()
    np.testing.assert_array_equal(symmetric(found, axis), found)
    seen = slice(int(max(0, 2 * column - 29)), int(min(29, 2 * column)) + 1)  # columns whose mirror image is inside
    np.testing.assert_array_equal(found[:, :, seen], found[:, :, seen][:, :, ::-1])


def spine_phantom(column=60.0, bone_front=None):
    """A body of water with a vertebra at the back; with a sternum in front on demand; (2, 80, 120)."""
    y, x = np.ogrid[:80, :120]
    inside = ((y - 40) / 34) ** 2 + ((x - 58) / 50) ** 2 <= 1
    plane = np.where(inside, 30, -1000)
    plane[((y - 60) / 8) ** 2 + ((x - column) / 9) ** 2 <= 1] = 500
    if bone_front is not None:
        plane[10:40, bone_front : bone_front + 8] = 700
    return np.stack([plane] * 2), np.stack([inside] * 2)


@pytest.mark.parametrize("peak", ["highest", "centroid", "symmetry"])
def test_the_spine_is_found_in_its_column(peak):
    image, inside = spine_phantom(column=61.0)
    found = centre_of(moving_average(profile(image[0], inside[0])), inside[0].any(axis=0), peak)
    assert found == pytest.approx(61, abs=0.5)


def test_bone_in_front_misleads_the_whole_profile_and_not_the_back_of_it():
    image, inside = spine_phantom(column=60.0, bone_front=48)
    columns = inside[0].any(axis=0)
    misled = centre_of(moving_average(profile(image[0], inside[0], "all")), columns, "highest")
    assert abs(misled - 60) > 5
    assert centre_of(moving_average(profile(image[0], inside[0], "posterior")), columns) == pytest.approx(60, abs=0.5)


def test_the_couch_is_no_bone():
    image, inside = spine_phantom()
    image[:, 76:, 20:] = 400
    assert profile(image[0], inside[0])[110] == 0


def test_without_bone_or_body_there_is_no_centre_and_the_axis_is_the_middle_of_the_image():
    empty = np.zeros(120)
    assert np.isnan(centre_of(empty, np.ones(120, bool)))
    assert np.isnan(centre_of(empty, np.zeros(120, bool)))
    for peak in ("highest", "centroid", "symmetry"):
        assert np.isnan(centre_of(empty, np.ones(120, bool), peak))
    air = np.full((3, 80, 120), -1000)
    axis = spine_axis(air, np.zeros(air.shape, bool), np.ones(3, bool))
    np.testing.assert_array_equal(axis, 59.5)


def test_the_axis_follows_the_spine_smoothly_and_goes_on_beyond_the_lungs():
    planes = [spine_phantom(column)[0][0] for column in np.linspace(55, 65, 12)]
    image = np.stack(planes)
    inside = np.stack([spine_phantom()[1][0]] * 12)
    slices = np.zeros(12, bool)
    slices[2:10] = True
    raw = spine_axis(image, inside, slices, axis="raw")
    smooth = spine_axis(image, inside, slices, axis="smoothed")
    assert np.abs(raw[2:10] - np.linspace(55, 65, 12)[2:10]).max() <= 1
    start = np.mean(raw[2:7])
    np.testing.assert_allclose(smooth[2:10], smoothed(raw[2:10].tolist(), start))
    assert (raw[:2] == raw[2]).all()
    assert (raw[10:] == raw[9]).all()
    mean = spine_axis(image, inside, slices, axis="mean")
    np.testing.assert_allclose(mean, raw[2:10].mean())
    middle = spine_axis(image, inside, slices, axis="body")
    np.testing.assert_allclose(middle, 58)


def test_the_lungs_of_the_phantom_are_found_without_windpipe_and_gas(phantom):
    volume, masks = phantom
    found = build()(volume) > 0
    reference = masks["lungs"] & ~masks["wall mass"]
    assert dice(reference, found) > 0.95
    assert not found[masks["bowel gas"]].any()
    assert found[masks["windpipe"]].mean() < 0.02
    assert found[masks["vessel"] & masks["lungs"]].mean() > 0.95


def test_otsus_rule_finds_a_limit_of_air_by_itself(phantom):
    volume, masks = phantom
    found = build(air_hu=None)(volume) > 0
    assert dice(masks["lungs"] & ~masks["wall mass"], found) > 0.95


def test_closing_fills_a_tube_of_three_voxels_grows_only_and_is_done_when_done():
    mask = np.zeros((14, 30, 32), bool)
    mask[2:12, 5:25, 5:27] = True
    mask[:, 13:16, 14:17] = False
    within = np.ones(mask.shape, bool)
    found = closed(mask, 3.0, (1.0, 1.0, 1.0), within)
    assert found[3:11, 13:16, 14:17].all()
    assert found[mask].all()
    np.testing.assert_array_equal(closed(found, 3.0, (1.0, 1.0, 1.0), within), found)


def test_a_lung_at_the_border_of_the_image_is_not_eroded():
    mask = np.zeros((6, 20, 20), bool)
    mask[:, 4:16, 4:16] = True
    np.testing.assert_array_equal(closed(mask, 4.0, (3.0, 1.0, 1.0), np.ones(mask.shape, bool)), mask)


def test_a_collapsed_lung_is_taken_back_by_the_mirror_image(phantom):
    volume, masks = phantom
    left = masks["lungs"].copy()
    left[:, :, 55:] = False
    ill = volume.array.copy()
    ill[left] = 40
    ill[:, 46:54, 50:58] = 400  # a spine
    plain = build()(Volume(ill, GRID)) > 0
    both = build(flip_union=True, margin=3)(Volume(ill, GRID)) > 0
    assert plain[left].mean() < 0.05
    assert both[left].mean() > 0.9
    assert both[plain].all()


def test_the_airway_is_a_wide_dark_tube_in_the_middle(phantom):
    volume, masks = phantom
    found = airway(volume.array, body(volume), GRID.spacing_mm)
    assert found[masks["windpipe"] & masks["body"]].mean() > 0.9
    assert found[masks["lungs"] & ~masks["windpipe"]].mean() < 0.02
    kept = lung_mask(volume, body(volume), -400.0, -300.0, 5.0, airways=True)
    assert dice(masks["lungs"], kept) > 0.9


@pytest.mark.parametrize("value", [-1000, 40])
def test_without_air_in_a_body_there_is_no_lung(value):
    volume = Volume(np.full((4, 30, 32), value, np.int16), Grid((4, 30, 32), (3.0, 2.0, 2.0), (0, 0, 0)))
    assert not build(flip_union=True, margin=2)(volume).any()


def test_a_single_plane_and_impossible_settings_are_refused():
    plane = Volume(np.zeros((1, 9, 9), np.int16), Grid((1, 9, 9), (1.0, 1.0, 1.0), (0, 0, 0)))
    with pytest.raises(Rejected, match=r"TOO_FEW_SLICES.*3D"):
        segmenter("lung", {})(plane)
    with pytest.raises(SettingsError, match="growth_hu"):
        build(growth_hu=-500.0)
    with pytest.raises(SettingsError, match="odd"):
        build(spine_taps=6)

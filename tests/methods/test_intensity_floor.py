"""Images from intensities alone: each rule by hand, and nothing where there is no body."""

import numpy as np
import pytest

from cohortseg.methods.body import body_mask
from cohortseg.methods.intensity import QUANTILES, RULES, SHARES, best_level, body_of_input, learn, make

SHAPE = (3, 9, 8)
INSIDE = np.zeros(SHAPE, bool)
INSIDE[1:, 2:8, 1:6] = True


def own(seed=0):
    """An input: dark outside, values from 100 to 200 inside."""
    image = np.zeros(SHAPE, np.int16)
    image[INSIDE] = np.random.default_rng(seed).integers(100, 200, INSIDE.sum())
    return image


def target_of(image, slope=3.0, level=-200.0, outside=-1000.0):
    return np.where(INSIDE, slope * image + level, outside).astype(np.float32)


def made(rule, image, model, low=-1000.0, high=2000.0):
    return make(image, model, rule=rule, low=low, high=high)


def test_the_body_is_the_largest_bright_piece_with_the_holes_of_its_planes_filled():
    image = own()
    image[2, 4, 3] = 0  # a hole
    image[0, 0, 7] = 150  # another piece
    np.testing.assert_array_equal(body_mask(image), INSIDE)
    np.testing.assert_array_equal(body_mask(image, above=50.0), INSIDE)
    assert not body_mask(image, above=1000.0).any()
    assert body_mask(np.full(SHAPE, 7.0)).all()


def test_mean_is_one_value_inside_and_one_outside_and_each_case_counts_the_same():
    images = [own(1), own(2)]
    targets = [target_of(images[0], 0.0, 40.0, -1000.0), target_of(images[1], 0.0, 80.0, -900.0)]
    model = learn(lambda: zip(images, targets, strict=True), rule="mean", above=-500.0)
    found = made("mean", own(3), model)
    np.testing.assert_allclose(found[INSIDE], 60.0)
    np.testing.assert_allclose(found[~INSIDE], -950.0)


def test_a_line_is_found_again_whatever_the_scale_of_the_input():
    model = learn(lambda: [(own(s), target_of(own(s))) for s in (1, 2)], rule="linear", above=-500.0)
    image = own(1)
    np.testing.assert_allclose(made("linear", image, model), target_of(image), atol=15.0)
    # MR has no unit: the same scan in other numbers is the same image.
    other = np.where(INSIDE, 5 * image + 7, 0).astype(np.int16)
    np.testing.assert_allclose(made("linear", other, model), made("linear", image, model), atol=1e-3)


def test_quantiles_find_any_increasing_map_again():
    image = own(4)
    target = np.where(INSIDE, (image / 20.0) ** 3, -1000.0).astype(np.float32)
    found = made("histogram", image, learn(lambda: [(image, target)], rule="histogram", above=-500.0))
    assert np.abs(found - target)[INSIDE].mean() < 0.02 * np.ptp(target[INSIDE])
    assert np.corrcoef(found[INSIDE], target[INSIDE])[0, 1] > 0.999


def test_equal_values_have_a_rank_in_the_middle_of_theirs():
    image = np.where(INSIDE, 50, 0).astype(np.int16)
    model = {"level": np.array([0.1]), "inside": np.linspace(0.0, 100.0, QUANTILES), "outside": np.array([-1000.0])}
    np.testing.assert_allclose(made("histogram", image, model)[INSIDE], 50.0)


def test_the_input_itself_needs_nothing_learnt_and_is_clipped():
    model = learn(lambda: [], rule="input")
    np.testing.assert_array_equal(made("input", own(), model, 0.0, 150.0), np.clip(own(), 0, 150).astype(np.float32))


@pytest.mark.parametrize("rule", RULES)
def test_what_is_made_stays_in_the_range_and_is_float32(rule):
    model = learn(lambda: [(own(1), target_of(own(1)))], rule=rule, above=-500.0)
    found = made(rule, own(2), model, -100.0, 120.0)
    assert found.dtype == np.float32
    assert found.min() == -100.0
    assert found.max() <= 120.0
    assert RULES[rule].source


@pytest.mark.parametrize("rule", RULES)
def test_an_image_of_one_value_is_all_inside(rule):
    flat = np.full(SHAPE, 3.0, np.float32)
    model = learn(lambda: [(flat, flat * 10)], rule=rule)
    np.testing.assert_allclose(made(rule, flat, model), 30.0)


def test_the_body_of_the_input_is_found_as_the_targets_have_it_where_fat_is_bright_and_muscle_dark():
    """Otsu would part fat from muscle; the learnt share parts both from air."""
    mr = np.where(INSIDE, 150, 10).astype(np.int16)
    mr[1:, 2:5, 1:6] = 1000
    ct = np.where(INSIDE, 40.0, -1000.0).astype(np.float32)
    assert not np.array_equal(body_mask(mr), INSIDE)
    level = best_level([(mr, ct)], -500.0)
    np.testing.assert_array_equal(body_of_input(mr, level), INSIDE)
    assert best_level([(mr, np.full(SHAPE, -1000.0, np.float32))], -500.0) == SHARES[0]
    model = learn(lambda: [(mr, ct)], rule="mean", above=-500.0)
    np.testing.assert_allclose(made("mean", mr * 3, model), ct)

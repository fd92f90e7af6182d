import itertools

import numpy as np
import pytest
from flat_phantom import blob, dice, volume_of

from cohortseg.errors import SettingsError
from cohortseg.methods import multithreshold
from cohortseg.methods.entropy import deepest_valley, tsallis, tsallis_thresholds, valleys


def tsallis_by_definition(counts, cuts, q):
    """Pseudo-additive Tsallis entropy of the classes between cuts."""
    p = counts / counts.sum()
    total = 0.0
    for part in np.split(p, cuts):
        if part.sum() == 0:
            return -np.inf
        own = part[part > 0] / part.sum()
        entropy = -(own * np.log(own)).sum() if q == 1 else (1 - (own**q).sum()) / (q - 1)
        total = total + entropy + (1 - q) * total * entropy
    return total


@pytest.mark.parametrize("q", [0.5, 0.8, 1.0, 1.7])
@pytest.mark.parametrize("n", [1, 2])
def test_tsallis_finds_the_cuts_with_the_largest_entropy_by_brute_force(q, n):
    counts = np.random.default_rng(5).integers(1, 60, 18).astype(float)
    counts[7] = 0
    found = tsallis_thresholds(counts, np.arange(18.0), n, q=q)
    scores = {
        cuts: tsallis_by_definition(counts, [c + 1 for c in cuts], q) for cuts in itertools.combinations(range(17), n)
    }
    assert tsallis_by_definition(counts, [int(c) + 1 for c in found], q) == pytest.approx(max(scores.values()))


def test_tsallis_with_q_towards_1_is_kapurs_threshold():
    counts = np.random.default_rng(2).poisson(20, 60).astype(float) + np.hanning(60) * 40
    centres = np.arange(60.0)
    kapur = max(range(59), key=lambda cut: tsallis_by_definition(counts, [cut + 1], 1))
    assert tsallis(counts, centres, q=1.0) == kapur
    assert tsallis(counts, centres, q=1 + 1e-6) == kapur


def test_another_index_gives_another_threshold():
    counts = np.concatenate([np.full(10, 5.0), np.full(40, 1.0), np.full(6, 30.0)])
    found = {tsallis(counts, np.arange(56.0), q=q) for q in (0.3, 1.0, 3.0)}
    assert len(found) > 1


def test_three_grey_levels_are_told_apart_exactly():
    image = np.repeat(np.array([[10, 60, 200]], np.uint8), [40, 30, 20], axis=1) * np.ones((9, 1), np.uint8)
    for rule in multithreshold.RULES:
        found = multithreshold.build(rule=rule, levels=3, objects=[2, 3])(volume_of(image))[0]
        np.testing.assert_array_equal(found, (image > 30) + (image > 100).astype(int), err_msg=rule)


def test_three_modes_have_two_valleys():
    values = np.arange(200.0)
    bumps = [(40, 12, 900), (100, 10, 500), (160, 8, 700)]
    counts = sum(height * np.exp(-((values - mean) ** 2) / (2 * sd**2)) for mean, sd, height in bumps)
    found = valleys(counts + 2, values)
    assert found.size == 2
    assert 60 < found[0] < 80
    assert 120 < found[1] < 140


def test_a_single_mode_has_no_valley_and_falls_back_on_otsu():
    values = np.arange(100.0)
    counts = 1000 * np.exp(-((values - 50) ** 2) / 200)
    assert valleys(counts, values).size == 0
    assert deepest_valley(counts, values) == pytest.approx(50, abs=1)


def test_the_deepest_valley_is_taken_where_there_are_several():
    values = np.arange(300.0)
    bumps = [(50, 15, 900), (110, 15, 800), (230, 15, 700)]
    counts = sum(height * np.exp(-((values - mean) ** 2) / (2 * sd**2)) for mean, sd, height in bumps)
    assert 130 < deepest_valley(counts, values) < 210


def test_the_phantom_is_found_by_each_rule():
    volume, mask = blob()
    for rule in multithreshold.RULES:
        found = multithreshold.build(rule=rule, levels=2)(volume)
        assert dice(mask, found > 0) > (0.9 if rule == "tsallis" else 0.999), rule


def test_multi_otsu_is_scikit_images_and_goes_on_beyond_four_levels():
    from skimage.filters import threshold_multiotsu

    random = np.random.default_rng(0)
    image = random.normal(np.repeat([20, 60, 120, 160, 220], 400), 6).clip(0, 255).astype(np.uint8).reshape(1, 40, 50)
    three = multithreshold.build(levels=3, objects=[1, 2, 3])(volume_of(image)) - 1
    np.testing.assert_array_equal(three, np.digitize(image, threshold_multiotsu(image, 3), right=True))
    five = multithreshold.build(levels=5, objects=[1, 2, 3, 4, 5])(volume_of(image))
    assert (five.ravel() == np.repeat([1, 2, 3, 4, 5], 400)).mean() > 0.99


def test_nothing_is_found_in_an_image_of_one_value():
    for rule in multithreshold.RULES:
        assert not multithreshold.build(rule=rule)(volume_of(np.full((4, 5), 7))).any()


def test_impossible_settings_are_refused():
    with pytest.raises(SettingsError, match="choices: multi_otsu, tsallis, valleys"):
        multithreshold.build(rule="otsu")
    with pytest.raises(SettingsError, match="levels must be from 2"):
        multithreshold.build(levels=1)

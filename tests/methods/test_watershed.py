import numpy as np
import pytest
from flat_phantom import blob, dice, volume_of
from scipy import ndimage

from cohortseg.errors import SettingsError
from cohortseg.methods.watershed import build, split_touching, steepest


def two_discs():
    y, x = np.ogrid[:64, :90]
    return ((y - 30) ** 2 + (x - 30) ** 2 <= 400) | ((y - 34) ** 2 + (x - 62) ** 2 <= 400)


def test_two_touching_discs_are_one_component_and_become_two_objects_of_like_size():
    discs = two_discs()
    assert ndimage.label(discs)[1] == 1
    found = split_touching(discs[None], (1.0, 1.0, 1.0), 8.0)[0]
    sizes = np.bincount(found.ravel())[1:]
    assert sizes.size == 2
    assert sizes.sum() == discs.sum()
    assert abs(sizes[0] / sizes[1] - 1) < 0.05
    assert found[30, 20] != found[34, 70]


def test_the_method_leaves_a_line_between_them_so_that_components_count_them():
    discs = two_discs()
    random = np.random.default_rng(0)
    found = build(apart_mm=8.0)(volume_of(100 * discs + random.normal(0, 2, discs.shape)))[0]
    numbers, _ = ndimage.label(found, np.ones((3, 3)))
    assert (np.bincount(numbers.ravel())[1:] > 10).sum() == 2  # a speck of noise above the threshold does not count
    assert dice(discs, found > 0) > 0.97


def test_a_ball_stays_one_object_with_thick_slices():
    z, y, x = np.ogrid[:11, :40, :50]
    ball = ((z - 5) * 3) ** 2 + (y - 20) ** 2 + ((x - 25) * 0.8) ** 2 <= 169
    assert split_touching(ball, (3.0, 1.0, 0.8), 6.0).max() == 1
    wide = np.pad(ball, [(0, 0), (0, 0), (0, 30)])
    second = wide | np.roll(wide, 27, axis=2)
    assert split_touching(second, (3.0, 1.0, 0.8), 6.0).max() == 2


@pytest.mark.parametrize("surface", ["distance", "gradient"])
def test_the_phantom_is_found(surface):
    volume, mask = blob()
    assert dice(mask, build(surface=surface, apart_mm=40.0)(volume) > 0) > 0.98


def test_the_gradient_moves_a_poor_guess_to_the_steepest_place():
    y, x = np.ogrid[:60, :70]
    far = np.sqrt((y - 30) ** 2 + (x - 33) ** 2)[None]
    image, disc = 100 / (1 + np.exp((far - 20) / 1.5)), far <= 20
    for radius in (16, 24):
        guess = far <= radius
        found = steepest(image, guess, (1.0, 1.0, 1.0), 1.0, 6.0)
        assert dice(disc, guess) < 0.85
        assert dice(disc, found) > 0.97


def test_nothing_in_nothing_and_wrong_settings_are_refused():
    assert split_touching(np.zeros((3, 4, 5), bool), (1, 1, 1), 2.0).max() == 0
    for surface in ("distance", "gradient"):
        assert not build(surface=surface)(volume_of(np.full((9, 8), 2))).any()
    with pytest.raises(SettingsError, match="rule 'mean'"):
        build(rule="mean")
    with pytest.raises(SettingsError, match="positive"):
        build(apart_mm=0)

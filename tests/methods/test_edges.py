import numpy as np
import pytest
from flat_phantom import blob, dice, volume_of
from scipy import ndimage

from cohortseg.errors import SettingsError
from cohortseg.methods import canny, tophat
from cohortseg.methods.canny import edges, filled


def test_a_vertical_step_gives_a_line_of_one_pixel_at_the_step():
    image = np.zeros((30, 41))
    image[:, 20:] = 100.0
    found = edges(image, 1.5, 0.8, 0.9)[3:-3]
    assert (found.sum(axis=1) == 1).all()
    assert set(np.nonzero(found)[1]) <= {19, 20}
    assert len(set(np.nonzero(found)[1])) == 1


def test_the_area_of_a_square_is_filled():
    image = np.zeros((50, 64))
    image[12:37, 20:50] = 1.0
    found = canny.build(scale=1.0)(volume_of(image))[0] > 0
    assert dice(image > 0, found) > 0.95


def test_gaps_are_closed_up_to_a_size_and_open_lines_are_no_area():
    lines = np.zeros((56, 40), bool)
    lines[10, 8:30] = lines[30, 8:30] = lines[10:31, 8] = lines[10:31, 29] = True
    lines[20:23, 29] = False  # a gap of three pixels
    lines[50, 2:38] = True  # a line that surrounds nothing
    closed = filled(lines, 3, 1)
    assert closed[20, 15]
    assert not closed[45:].any()
    assert not filled(lines, 0, 1)[20, 15]
    assert not filled(lines, 3, 1000).any()


def test_canny_finds_the_phantom_nothing_in_one_value_and_refuses_limits_in_the_wrong_order():
    volume, mask = blob(noise=3)
    assert dice(mask, canny.build()(volume) > 0) > 0.95
    assert not canny.build()(volume_of(np.full((9, 8), 2))).any()
    with pytest.raises(SettingsError, match="low must be below high"):
        canny.build(low=0.9, high=0.8)


def disc_and_line():
    image = np.zeros((1, 40, 50), np.int16)
    y, x = np.ogrid[:40, :50]
    disc = (y - 20) ** 2 + (x - 30) ** 2 <= 100
    image[0, disc] = 80
    image[0, 5, 2:46] = 80
    return image, disc


def test_the_white_top_hat_finds_the_line_and_not_the_disc():
    image, disc = disc_and_line()
    found = tophat.build(kind="white", radius_mm=3.0, above=40)(volume_of(image))[0] > 0
    assert found[5, 2:46].all()
    assert found[ndimage.binary_erosion(disc, iterations=4)].sum() == 0
    assert not found[30:, :15].any()


def test_an_uneven_illumination_plays_no_part():
    image, _ = disc_and_line()
    slope = (np.arange(50) * 20)[None, None]
    segment = tophat.build(kind="white", radius_mm=3.0, above=40)
    inner = np.s_[0, :, 8:-8]  # the slope's box ends at the border
    even, uneven = segment(volume_of(image)), segment(volume_of(image + slope))
    assert even[inner][5].all()
    assert (uneven[inner][5] == even[inner][5]).all()
    assert (image + slope > 40).mean() > 0.9


def test_the_black_top_hat_is_the_white_one_of_the_negative_and_the_gradient_is_on_the_border():
    image, _ = disc_and_line()
    white = tophat.build(kind="white", radius_mm=2.0, above=40)(volume_of(image))
    np.testing.assert_array_equal(tophat.build(kind="black", radius_mm=2.0, above=40)(volume_of(-image)), white)
    border = tophat.build(kind="gradient", radius_mm=1.0, above=40)(volume_of(image))[0] > 0
    assert border[20, 20]
    assert not border[20, 30]


def test_the_radius_is_in_mm_along_each_axis_and_must_be_positive():
    assert tophat.reach(5.0, (2.5, 1.0, 6.0)) == (2, 5, 0)
    assert tophat.halo((2.5, 1.0, 6.0), radius_mm=5.0, kind="white") == (4, 10, 0)
    with pytest.raises(SettingsError, match="positive"):
        tophat.build(radius_mm=0)

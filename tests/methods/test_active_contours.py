import importlib

import numpy as np
import pytest
from flat_phantom import blob, dice, volume_of
from scipy import ndimage

from cohortseg.errors import SettingsError
from cohortseg.methods import chan_vese, drlse, geodesic, snake
from cohortseg.methods.starts import start_mask


def disc(radius=20, shape=(84, 90), blur=1.5):
    """A blurred disc, 0 and 1, and its mask."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    mask = (y - 41) ** 2 + (x - 45) ** 2 <= radius**2
    return ndimage.gaussian_filter(mask.astype(float), blur), mask


def test_starts_have_their_size_and_lie_in_the_middle():
    plane = np.arange(40.0 * 60).reshape(40, 60)
    box, ellipse = (start_mask(plane, kind, 0.5) for kind in ("box", "ellipse"))
    assert box.sum() == 20 * 30
    assert ellipse.sum() / (np.pi / 4 * 20 * 30) == pytest.approx(1, abs=0.03)
    for mask in (box, ellipse):
        np.testing.assert_array_equal(mask, mask[::-1, ::-1])
    assert start_mask(plane, "otsu", 0.5).mean() == pytest.approx(0.5, abs=0.02)


def level_set(regularisation, iterations=200):
    image, _ = disc()
    phi = np.where(start_mask(image, "box", 0.8), -drlse.HEIGHT, drlse.HEIGHT)
    indicator = drlse.edge_indicator(255 * image, 1.5)
    options = {"step": 5.0, "regularisation": regularisation, "length": 5.0}
    phi = drlse.evolve(phi, indicator, area=1.5, iterations=iterations, **options)
    return drlse.evolve(phi, indicator, area=0.0, iterations=10, **options)


def test_drlse_shrinks_from_a_box_onto_a_blurred_disc():
    image, mask = disc(blur=0.8)
    found = drlse.build(scale=0.8, iterations=300)(volume_of(image))[0] > 0
    assert dice(mask, found) > 0.995
    # the wider an edge is drawn, the farther from it the contour slows down
    wide = drlse.build(scale=1.5, iterations=300)(volume_of(image))[0] > 0
    assert dice(mask, found) > dice(mask, wide) > 0.95


def test_drlse_keeps_the_slope_of_a_distance_near_the_contour_without_reinitialisation():
    phi = level_set(0.2)
    slope = np.hypot(*np.gradient(phi))[np.abs(phi) < 1.5]
    assert slope.mean() == pytest.approx(0.98, abs=0.03)
    assert np.quantile(slope, 0.05) > 0.8
    assert np.quantile(slope, 0.95) < 1.1


def test_without_the_distance_term_the_level_set_loses_its_shape():
    phi = level_set(0.0)
    slope = np.hypot(*np.gradient(phi))
    near = slope[np.abs(phi) < 1.5]
    assert near.size == 0 or np.abs(near - 1).mean() > 0.3


def test_the_distance_term_rests_on_a_distance_and_pulls_to_it():
    y, x = np.mgrid[:60, :60].astype(float)
    far = np.hypot(y - 29.5, x - 29.5)
    phi = far - 15

    def term(phi):
        p_y, p_x = np.gradient(phi)
        return drlse.distance_term(phi, p_y, p_x, np.hypot(p_y, p_x))

    ring = (far > 8) & (far < 25)
    assert np.abs(term(phi)[ring]).max() < 0.02
    plane = np.s_[10:-10, 10:-10]
    for factor, rest in ((1.6, 1.0), (0.2, 0.0)):  # the two wells of the potential; 1/2 parts them
        now = factor * phi + 0.05 * np.sin(x)
        before = np.abs(np.hypot(*np.gradient(now))[plane] - rest)
        for _ in range(200):
            now += 0.2 * term(now)
        after = np.abs(np.hypot(*np.gradient(now))[plane] - rest)
        assert after.mean() < 0.8 * before.mean(), factor


@pytest.mark.parametrize("area", [-1.5, 1.5])
def test_the_area_term_shrinks_or_grows(area):
    flat = np.ones((40, 50))
    phi = np.where(start_mask(flat, "ellipse", 0.5), -2.0, 2.0)
    after = drlse.evolve(phi, flat, step=5.0, regularisation=0.2, length=0.0, area=area, iterations=3)
    assert ((after < 0).sum() < (phi < 0).sum()) == (area > 0)


def test_an_unstable_regularisation_is_refused():
    with pytest.raises(SettingsError, match=r"below 0\.25"):
        drlse.build(regularisation=0.25)


def scikit_image():
    """Its module afresh: whose turn the smoothing operators have is a global variable of it."""
    import skimage.segmentation.morphsnakes as module

    return importlib.reload(module)


def test_chan_vese_is_scikit_images_morphological_one():
    image, _ = disc(blur=4)
    image = image + np.random.default_rng(1).normal(0, 0.1, image.shape)
    start = start_mask(image, "ellipse", 0.3)
    for n in (5, 20):
        judge = scikit_image().morphological_chan_vese(image, n, start.astype(np.int8), smoothing=1)
        mine = chan_vese.evolve([image], [1.0], start, iterations=n, smoothing=1)
        assert (mine == (judge > 0)).mean() == 1


def test_the_geodesic_contour_is_scikit_images_and_does_not_depend_on_the_images_before():
    image, _ = disc(blur=3)
    image = image + np.random.default_rng(1).normal(0, 0.05, image.shape)
    for balloon, size in ((-1, 0.8), (1, 0.2), (0, 0.5)):
        start = start_mask(image, "ellipse", size)
        stopping = scikit_image().inverse_gaussian_gradient(image, 100.0, 2.0)
        judge = scikit_image().morphological_geodesic_active_contour(
            stopping, 31, start.astype(np.int8), smoothing=1, balloon=balloon, threshold=0.4
        )
        for _ in range(2):
            mine = geodesic.evolve(start, stopping, 0.4, balloon=balloon, iterations=31, smoothing=1)
            assert (mine == (judge > 0)).all(), balloon


def test_with_an_illumination_that_varies_the_local_contour_beats_the_global_one():
    image, mask = disc()
    bias = 4 * np.linspace(0, 1, image.shape[1])[None]
    uneven = volume_of(image + bias)
    globally = chan_vese.build(start_size=0.5)(uneven)[0] > 0
    locally = chan_vese.build(start_size=0.5, local_mm=15.0)(uneven)[0] > 0
    assert dice(mask, locally) > 0.9
    assert dice(mask, globally) < 0.7


def test_the_brighter_side_is_the_object():
    image, mask = disc()
    assert dice(mask, chan_vese.build()(volume_of(image))[0] > 0) > 0.98
    assert dice(~mask, chan_vese.build()(volume_of(-image))[0] > 0) > 0.98


def test_the_geodesic_contour_shrinks_onto_the_disc_and_grows_from_inside():
    image, mask = disc()
    for options in ({"balloon": -1, "start_size": 0.8}, {"balloon": 1, "start_size": 0.2}):
        found = geodesic.build(**options)(volume_of(image))[0] > 0
        assert dice(mask, found) > 0.95, options


def test_the_snake_comes_within_a_pixel_of_the_disc():
    from skimage.segmentation import active_contour

    image, _ = disc()
    smooth = ndimage.gaussian_filter(image, 2)
    curve = active_contour(
        smooth, snake.ellipse(image.shape, 0.65, 120), alpha=0.015, beta=10.0, gamma=0.001, max_num_iter=2500
    )
    radius = np.hypot(curve[:, 0] - 41, curve[:, 1] - 45)
    assert np.abs(radius - 20).max() < 1.25
    assert np.abs(radius - 20).mean() < 1


def test_a_curve_becomes_the_pixels_it_surrounds():
    inside = snake.within(snake.ellipse((40, 60), 0.5, 400), (40, 60))
    assert inside.sum() == pytest.approx(np.pi / 4 * 20 * 30, rel=0.02)


@pytest.mark.parametrize(
    ("method", "options", "least"),
    [
        (drlse, {}, 0.95),
        (chan_vese, {}, 0.98),
        (geodesic, {"start_size": 0.95}, 0.9),
        (snake, {"start_size": 0.9}, 0.9),
    ],
)
def test_the_phantom_is_found(method, options, least):
    volume, mask = blob(noise=4)
    found = method.build(**options)(volume) > 0
    assert dice(mask, found) > least


@pytest.mark.parametrize("method", [drlse, chan_vese, geodesic, snake])
def test_a_plane_of_one_value_is_background_and_a_start_beyond_the_plane_is_refused(method):
    assert not method.build()(volume_of(np.full((30, 28), 2))).any()
    with pytest.raises(SettingsError, match="start_size"):
        method.build(start_size=1.5)


def test_a_local_weight_beyond_one_is_refused():
    with pytest.raises(SettingsError, match="from 0 to 1"):
        chan_vese.build(local_weight=1.5)

"""Surface distances: answers by hand, a brute-force judge, scipy, spheres, and what must not matter."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from cohortseg.metrics import surface
from cohortseg.metrics.bits import crop_to_union, pack, unpack

SPACING = (3.0, 2.0, 1.0)

pairs = hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=5).flatmap(
    lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape))
)


def distances(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: tuple[float, float, float]
) -> surface.SurfaceDistances:
    return surface.surface_distances(pack(reference), pack(prediction), spacing_mm=spacing_mm)


def outline(mask: np.ndarray) -> np.ndarray:
    return unpack(surface.surface(pack(mask)))


def every_metric(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: tuple[float, float, float], tolerance_mm: float = 2.0
) -> tuple[float, float, float, float]:
    found = distances(reference, prediction, spacing_mm)
    return (
        surface.hd_mm(found),
        surface.hd95_mm(found),
        surface.assd_mm(found),
        surface.nsd(found, tolerance_mm=tolerance_mm),
    )


def voxels(shape: tuple[int, int, int], *places: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


def ball(shape: tuple[int, int, int], centre: tuple[float, ...], radius_mm: float, spacing_mm: tuple[float, ...]):
    z, y, x = np.ogrid[tuple(slice(size) for size in shape)]
    squares = (((axis - c) * s) ** 2 for axis, c, s in zip((z, y, x), centre, spacing_mm, strict=True))
    return sum(squares) <= radius_mm**2


def by_brute_force(reference: np.ndarray, prediction: np.ndarray, spacing_mm: tuple[float, float, float]):
    """Both lists of distances from every pair of surface voxels; the surface from scipy's erosion."""
    points = [
        np.argwhere(mask & ~ndimage.binary_erosion(mask, border_value=0)) * spacing_mm
        for mask in (reference, prediction)
    ]
    table = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
    return table.min(axis=1), table.min(axis=0)


@pytest.fixture(params=[0, 10**9], ids=["points", "maps"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Force one of the two ways of measuring, whatever the masks."""
    monkeypatch.setattr(surface, "SPARSE", request.param)


@pytest.mark.usefixtures("way")
def test_two_voxels_three_slices_apart_are_three_spacings_apart() -> None:
    one, other = voxels((7, 3, 3), (1, 1, 1)), voxels((7, 3, 3), (4, 1, 1))
    assert every_metric(one, other, (2.5, 1.0, 1.0), 7.5) == (7.5, 7.5, 7.5, 1.0)
    assert every_metric(one, other, (2.5, 1.0, 1.0), 7.4) == (7.5, 7.5, 7.5, 0.0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("step", "distance"), [((1, 0, 0), 3.0), ((0, 1, 0), 2.0), ((0, 0, 1), 1.0), ((1, 1, 2), 17**0.5)]
)
def test_each_axis_has_its_own_spacing(step: tuple[int, int, int], distance: float) -> None:
    one = voxels((4, 4, 4), (1, 1, 1))
    other = voxels((4, 4, 4), (1 + step[0], 1 + step[1], 1 + step[2]))
    assert every_metric(one, other, SPACING)[0] == pytest.approx(distance, rel=1e-6)


@pytest.mark.usefixtures("way")
def test_one_stray_voxel_tells_the_definitions_apart() -> None:
    line = voxels((12, 3, 12), *[(0, 1, x) for x in range(1, 11)])
    stray = line | voxels((12, 3, 12), (10, 1, 5))
    hd_mm, hd95_mm, assd_mm, nsd = every_metric(line, stray, (1.0, 1.0, 1.0), 5.0)
    assert hd_mm == 10.0
    assert hd95_mm == pytest.approx(5.0)  # position 9.5 of ten zeros and a ten; pooled it would be 0
    assert assd_mm == pytest.approx(10 / 21)  # the mean of both directed means would be 10 / 22
    assert nsd == pytest.approx(20 / 21)


@pytest.mark.usefixtures("way")
def test_a_cube_moved_by_one_and_by_two_millimetres() -> None:
    cube, one, two = (np.zeros((14, 12, 12), bool) for _ in range(3))
    cube[1:11, 1:11, 1:11] = one[2:12, 1:11, 1:11] = two[3:13, 1:11, 1:11] = True
    assert every_metric(cube, one, (1.0, 1.0, 1.0), 1.0)[3] == 1.0
    # 488 surface voxels; within 1 mm: nine of the ten rings of 36, and the rim of 28 inside the far face
    assert every_metric(cube, two, (1.0, 1.0, 1.0), 1.0)[3] == (9 * 36 + 28) / 488


def test_the_surface_of_a_cube_is_all_but_its_core() -> None:
    cube = np.zeros((7, 6, 8), bool)
    cube[1:5, 1:6, 1:7] = True
    expected = cube.copy()
    expected[2:4, 2:5, 2:6] = False
    np.testing.assert_array_equal(outline(cube), expected)


def test_the_image_border_counts_as_background() -> None:
    whole = np.ones((4, 5, 6), bool)
    assert outline(whole).sum() == 4 * 5 * 6 - 2 * 3 * 4


def test_a_mask_cut_by_the_border_is_measured_there() -> None:
    reference, prediction = np.zeros((6, 5, 5), bool), np.zeros((6, 5, 5), bool)
    reference[0:4, 1:4, 1:4] = True
    prediction[1:4, 1:4, 1:4] = True
    # the reference's cut face lies at z = 0, the prediction's face one slice of 3 mm further
    assert every_metric(reference, prediction, SPACING)[0] == pytest.approx(3.0)


def test_in_a_flat_image_the_surface_is_the_outline() -> None:
    flat = np.zeros((1, 6, 7), bool)
    flat[0, 1:5, 1:6] = True
    assert outline(flat).sum() == 4 * 5 - 2 * 3
    thin = np.zeros((3, 6, 7), bool)
    thin[1] = flat[0]
    assert outline(thin).sum() == 4 * 5


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("z_mm", [0.001, 3.0, 500.0])
def test_a_square_in_a_square_of_a_picture_is_measured_in_the_plane(z_mm: float) -> None:
    """A 3 by 3 square one pixel inside a 5 by 5 one: outlines of 8 and 16 pixels of 2 by 1 mm; z plays no part."""
    outer, inner = np.zeros((1, 9, 8), bool), np.zeros((1, 9, 8), bool)
    outer[0, 2:7, 1:6] = inner[0, 3:6, 2:5] = True
    found = distances(outer, inner, (z_mm, 2.0, 1.0))
    assert (found.from_reference_mm.size, found.from_prediction_mm.size) == (16, 8)
    # From the outer outline: 3 pixels a side lie 2 mm (above, below) or 1 mm (left, right) away, the corners 5**0.5.
    expected = sorted([2.0] * 6 + [1.0] * 6 + [5**0.5] * 4)
    np.testing.assert_allclose(np.sort(found.from_reference_mm), expected, rtol=1e-6)
    # From the inner outline: its corners and the middles of its sides left and right are 1 mm from the outer one.
    np.testing.assert_allclose(np.sort(found.from_prediction_mm), [1.0] * 6 + [2.0] * 2, rtol=1e-6)
    assert surface.hd_mm(found) == pytest.approx(5**0.5, rel=1e-6)
    assert surface.assd_mm(found) == pytest.approx((18 + 4 * 5**0.5 + 10) / 24, rel=1e-6)
    assert surface.nsd(found, tolerance_mm=1.0) == (6 + 6) / 24


@pytest.mark.usefixtures("way")
def test_a_picture_measures_like_any_plane_of_a_prism_away_from_its_ends() -> None:
    """Counting the top and bottom faces of a single slice would make every pixel surface and every distance 0."""
    draw = np.random.default_rng(5)
    masks = [ndimage.gaussian_filter(draw.normal(size=(40, 30)), 3.0) > 0.0 for _ in range(2)]
    found = distances(*(mask[None] for mask in masks), SPACING)
    edges = [mask & ~ndimage.binary_erosion(mask, border_value=0) for mask in masks]
    maps = [ndimage.distance_transform_edt(~edge, sampling=SPACING[1:]) for edge in edges]
    np.testing.assert_allclose(found.from_reference_mm, maps[1][edges[0]], rtol=2e-6)
    np.testing.assert_allclose(found.from_prediction_mm, maps[0][edges[1]], rtol=2e-6)


def test_a_thin_mask_in_a_thick_image_stays_a_surface_after_the_crop() -> None:
    disc, ring = np.zeros((5, 7, 7), bool), np.zeros((5, 7, 7), bool)
    disc[2, 1:6, 1:6] = ring[2, 1:6, 1:6] = True
    ring[2, 3, 3] = False
    # all 25 voxels of the disc are surface; its centre lies 1 mm from the ring along x
    assert every_metric(disc, ring, SPACING)[2] == pytest.approx(1.0 / (25 + 24))


def test_the_box_holds_both_masks_and_stops_at_the_image() -> None:
    one, other = voxels((9, 8, 300), (0, 3, 70)), voxels((9, 8, 300), (5, 7, 100))
    ours, theirs = crop_to_union(pack(one), pack(other))
    assert (ours.shape, ours.corner) == ((7, 6, 192), (0, 2, 0))
    np.testing.assert_array_equal(unpack(ours), one[0:7, 2:8, 0:192])
    np.testing.assert_array_equal(unpack(theirs), other[0:7, 2:8, 0:192])


@pytest.mark.parametrize("empty", ["reference", "prediction", "both"])
def test_an_empty_mask_leaves_every_distance_undefined(empty: str) -> None:
    full, nothing = voxels((3, 4, 5), (1, 1, 1)), np.zeros((3, 4, 5), bool)
    reference = full if empty == "prediction" else nothing
    prediction = full if empty == "reference" else nothing
    assert all(math.isnan(value) for value in every_metric(reference, prediction, SPACING))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("spacing", [0.1, 0.2, 0.3, 0.7, 1 / 3, 1.1, 4.9])
def test_a_distance_equal_to_the_tolerance_is_within_it(spacing: float) -> None:
    one, other = voxels((3, 3, 9), (1, 1, 1)), voxels((3, 3, 9), (1, 1, 7))
    assert every_metric(one, other, (1.0, 1.0, spacing), 6 * spacing)[3] == 1.0
    assert every_metric(one, other, (1.0, 1.0, spacing), 5.99 * spacing)[3] == 0.0


@pytest.mark.usefixtures("way")
def test_spheres_about_one_centre_are_as_far_apart_as_their_radii() -> None:
    spacing_mm = (2.0, 1.0, 0.8)
    inner = ball((30, 60, 70), (15, 30, 35), 20.0, spacing_mm)
    outer = ball((30, 60, 70), (15, 30, 35), 25.0, spacing_mm)
    hd_mm, hd95_mm, assd_mm, nsd = every_metric(inner, outer, spacing_mm, 7.0)
    assert 5.0 <= hd_mm <= 5.0 + 2.0
    assert 5.0 - 1.0 <= assd_mm <= hd95_mm <= hd_mm
    assert assd_mm == pytest.approx(5.0, abs=0.6)
    assert nsd == 1.0
    assert every_metric(inner, outer, spacing_mm, 2.0)[3] == 0.0


def test_both_ways_agree_on_lopsided_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    spacing_mm = (2.5, 0.9, 0.7)
    reference = ball((24, 40, 50), (10, 18, 22), 11.0, spacing_mm)
    prediction = ball((24, 40, 50), (12, 20, 25), 9.0, spacing_mm) | voxels((24, 40, 50), (1, 38, 3))
    lists = []
    for sparse in (0, 10**9):
        monkeypatch.setattr(surface, "SPARSE", sparse)
        found = distances(reference, prediction, spacing_mm)
        lists.append(np.concatenate((found.from_reference_mm, found.from_prediction_mm)))
    np.testing.assert_allclose(lists[0], lists[1], rtol=2e-6, atol=1e-6)


def test_small_masks_far_apart_are_measured_by_points_and_noise_by_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the other way was asked for")

    one, other = voxels((30, 40, 50), (1, 1, 1)), voxels((30, 40, 50), (28, 1, 41))
    noise = np.random.default_rng(2).random((9, 9, 9)) < 0.5
    with monkeypatch.context() as patch:
        patch.setattr(surface, "_by_maps", refuse)
        assert every_metric(one, other, SPACING)[0] == pytest.approx(math.hypot(81, 40))
    monkeypatch.setattr(surface, "nearest_mm", refuse)
    assert every_metric(noise, noise, SPACING)[0] == 0.0


def test_scipy_finds_the_same_distances_in_the_same_order() -> None:
    rng = np.random.default_rng(3)
    reference, prediction = (ndimage.gaussian_filter(rng.normal(size=(20, 30, 25)), 2.0) > 0.02 for _ in range(2))
    found = distances(reference, prediction, SPACING)
    edges = [mask & ~ndimage.binary_erosion(mask, border_value=0) for mask in (reference, prediction)]
    maps = [ndimage.distance_transform_edt(~edge, sampling=SPACING) for edge in edges]
    np.testing.assert_allclose(found.from_reference_mm, maps[1][edges[0]], rtol=2e-6)
    np.testing.assert_allclose(found.from_prediction_mm, maps[0][edges[1]], rtol=2e-6)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_brute_force_finds_the_same_distances(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found = distances(*pair, SPACING)
    if not (pair[0].any() and pair[1].any()):
        assert found.from_reference_mm.size == found.from_prediction_mm.size == 0
        return
    expected = by_brute_force(*pair, SPACING)
    np.testing.assert_allclose(found.from_reference_mm, expected[0], rtol=1e-6)
    np.testing.assert_allclose(found.from_prediction_mm, expected[1], rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_it_does_not_matter_which_mask_comes_first(pair: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_allclose(every_metric(*pair, SPACING), every_metric(*pair[::-1], SPACING), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_doubling_the_spacing_doubles_the_distances(pair: tuple[np.ndarray, np.ndarray]) -> None:
    once = every_metric(*pair, SPACING, 2.0)
    twice = every_metric(*pair, (6.0, 4.0, 2.0), 4.0)
    np.testing.assert_allclose(twice, np.array(once) * [2, 2, 2, 1], rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(pairs, st.sampled_from([0, 1, 2, (0, 2), (0, 1, 2)]))
def test_mirroring_both_masks_changes_nothing(pair: tuple[np.ndarray, np.ndarray], axes: int | tuple[int, ...]) -> None:
    mirrored = (np.flip(pair[0], axes), np.flip(pair[1], axes))
    np.testing.assert_allclose(every_metric(*pair, SPACING), every_metric(*mirrored, SPACING), rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_more_background_around_changes_nothing(pair: tuple[np.ndarray, np.ndarray]) -> None:
    wider = [np.pad(mask, ((1, 3), (2, 1), (4, 2))) for mask in pair]
    np.testing.assert_allclose(every_metric(*pair, SPACING), every_metric(*wider, SPACING), rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(pairs)
def test_turning_axes_and_spacing_together_changes_nothing(pair: tuple[np.ndarray, np.ndarray]) -> None:
    turned = [mask.transpose(2, 0, 1) for mask in pair]
    expected = every_metric(*pair, SPACING)
    np.testing.assert_allclose(every_metric(*turned, (1.0, 3.0, 2.0)), expected, rtol=1e-6)

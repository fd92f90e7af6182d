"""Features of a region: by hand, scikit-image and scipy as judges, nothing outside counts, no region and one voxel."""

import math

import numpy as np
import pytest
from scipy import stats
from skimage.feature import graycomatrix, graycoprops

from cohortseg.metrics.region_features import FEATURES, co_occurrence, grey_levels, region_features, texture

SPACING = (3.0, 2.0, 0.5)


def lopsided():
    """An image and a region that no axis divides evenly."""
    rng = np.random.default_rng(11)
    mask = np.zeros((6, 9, 14), bool)
    mask[1:4, 2:7, 3:12] = rng.random((3, 5, 9)) < 0.8
    return rng.normal(40, 12, mask.shape).astype(np.float32), mask


def test_sizes_are_those_of_the_grid() -> None:
    mask = np.zeros((6, 9, 14), bool)
    mask[1:3, 2:5, 3:9] = True
    mask[3, 2, 3] = True
    found = region_features(np.zeros(mask.shape), mask, spacing_mm=SPACING)
    assert math.exp(found["log_volume"]) == pytest.approx(37 * 3 / 1000)
    assert found["largest_area_mm2"] == 18 * 1.0
    assert found["extent_mm"] == 9.0  # three slices; 3 rows are 6 mm, 6 columns 3 mm
    assert found["box_share"] == pytest.approx(37 / 54)


def test_intensities_are_those_of_scipy_and_only_of_the_region() -> None:
    image, mask = lopsided()
    found = region_features(image, mask, spacing_mm=SPACING)
    values = image[mask].astype(float)
    assert tuple(found) == tuple(FEATURES)
    assert found["skewness"] == pytest.approx(stats.skew(values))
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(values))
    assert (found["p10"], found["median"], found["p90"]) == pytest.approx(tuple(np.percentile(values, (10, 50, 90))))
    histogram = np.histogram(values, 32)[0] / values.size
    assert found["entropy"] == pytest.approx(stats.entropy(histogram, base=2))
    other = np.where(mask, image, 1e6).astype(np.float32)
    assert region_features(other, mask, spacing_mm=SPACING) == found


def test_texture_is_that_of_scikit_image_added_up_over_slices() -> None:
    image, _ = lopsided()
    mask = np.zeros(image.shape, bool)
    mask[1:5, 1:8, 2:13] = True
    grey = grey_levels(image, image[mask], 8)
    counts = co_occurrence(grey, mask, 8)
    angles = [0, math.pi / 4, math.pi / 2, 3 * math.pi / 4]
    expected = sum(
        graycomatrix(plane[1:8, 2:13].astype(np.uint8), [1], angles, 8, symmetric=True).sum(axis=3)[:, :, 0]
        for plane in grey[1:5]
    )
    np.testing.assert_array_equal(counts, expected)
    normed = (expected / expected.sum())[:, :, None, None]
    for name, prop in (("contrast",) * 2, ("correlation",) * 2, ("energy", "ASM"), ("homogeneity",) * 2):
        assert texture(counts)[name] == pytest.approx(graycoprops(normed, prop)[0, 0]), name


def test_a_hole_makes_no_neighbours_across_it() -> None:
    mask = np.array([[[True, False, True]]])
    assert not co_occurrence(np.array([[[0, 0, 1]]]), mask, 2).any()
    assert co_occurrence(np.array([[[0, 0, 1]]]), np.ones((1, 1, 3), bool), 2).tolist() == [[2.0, 1.0], [1.0, 0.0]]


def test_fine_and_coarse_texture_are_told_apart_whatever_the_brightness() -> None:
    mask = np.ones((1, 24, 24), bool)
    fine = np.indices((24, 24)).sum(axis=0)[None] % 2 * 100.0
    coarse = (np.indices((24, 24)) // 6).sum(axis=0)[None] % 2 * 100.0
    one, other = (region_features(image, mask, spacing_mm=(1.0, 1.0, 1.0)) for image in (fine, coarse))
    assert (one["mean"], one["sd"], one["entropy"]) == (other["mean"], other["sd"], other["entropy"])
    assert one["contrast"] > 2 * other["contrast"]
    brighter = region_features(3 * fine + 500, mask, spacing_mm=(1.0, 1.0, 1.0))
    assert [brighter[name] for name in ("contrast", "energy")] == [one[name] for name in ("contrast", "energy")]


def test_no_region_has_no_features_and_one_voxel_has_all() -> None:
    mask = np.zeros((3, 3, 3), bool)
    assert region_features(np.ones(mask.shape), mask, spacing_mm=SPACING) is None
    mask[1, 1, 1] = True
    found = region_features(np.full(mask.shape, 7), mask, spacing_mm=SPACING)
    assert all(math.isfinite(value) for value in found.values())
    assert (found["mean"], found["sd"], found["contrast"], found["energy"]) == (7.0, 0.0, 0.0, 1.0)

"""A label measured slab by slab: the numbers of the whole, whatever the slabs; each slice is read once."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from cohortseg.metrics.case import CaseMeasures, measure_case
from cohortseg.metrics.slabs import measure_by_slabs, search_far

DISTANCES = ("hd_mm", "hd95_mm", "assd_mm", "nsd")


def both_ways(
    reference: np.ndarray, prediction: np.ndarray, slab: int, **options: object
) -> tuple[CaseMeasures, CaseMeasures]:
    """Measured as a whole and by slabs."""
    asked: list[int] = []

    def read(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        asked.extend(range(first, last))
        return reference[first:last], prediction[first:last]

    whole = measure_case(reference, prediction, **options)
    parts = measure_by_slabs(read, reference.shape, slab=slab, **options)
    assert asked == list(range(len(reference)))
    return whole, parts


def assert_equal(whole: CaseMeasures, parts: CaseMeasures, *, distances_to: float) -> None:
    assert list(whole.row) == list(parts.row)
    for name, value in whole.row.items():
        if name in DISTANCES:
            assert parts.row[name] == pytest.approx(value, rel=distances_to, nan_ok=True), name
        else:
            np.testing.assert_equal(parts.row[name], value, name)
    np.testing.assert_equal(parts.trimap, whole.trimap)
    np.testing.assert_equal(parts.lesions, whole.lesions)
    assert parts.reference_centre == whole.reference_centre


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two masks, from empty to noise, of images down to one slice."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 7), st.integers(1, 70)))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    shares = draw(st.tuples(*(st.sampled_from((0.0, 0.01, 0.2, 0.9)) for _ in range(2))))
    return random.random(shape) < shares[0], random.random(shape) < shares[1]


@settings(deadline=None, max_examples=60)
@given(pairs(), st.integers(1, 13), st.sampled_from(((3.0, 2.0, 1.0), (0.5, 0.7, 0.7), (1.0, 4.0, 2.5))))
def test_slabs_of_any_thickness_give_the_numbers_of_the_whole(pair, slab, spacing_mm):
    whole, parts = both_ways(
        *pair, slab, spacing_mm=spacing_mm, nsd_tolerance_mm=2.0, boundary_band_mm=1.5, trimap_bands_mm=(0.0, 1.5, 5.0)
    )
    # Noise is mapped in single precision where it is seen as a whole.
    assert_equal(whole, parts, distances_to=1e-5)


@pytest.fixture
def bodies() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lopsided bodies across many slices, specks far away, and a probability."""
    random = np.random.default_rng(4)
    field = ndimage.gaussian_filter(random.random((150, 40, 90)), (9, 4, 5))
    reference, prediction = (
        field > np.quantile(field, 0.9),
        np.roll(field, (3, 1, -2), (0, 1, 2)) > np.quantile(field, 0.91),
    )
    prediction[random.random(field.shape) < 1e-4] ^= True
    return reference, prediction, random.random(field.shape, np.float32)


@pytest.mark.parametrize("slab", [7, 64, 200])
def test_bodies_have_the_same_distances_lesions_and_scores(bodies, slab, monkeypatch):
    # As of a large image, where surfaces are few: searched, not mapped in single precision.
    monkeypatch.setattr("cohortseg.metrics.surface.SPARSE", 0)
    reference, prediction, probability = bodies
    options = {"spacing_mm": (2.0, 0.8, 0.7), "nsd_tolerance_mm": 2.0, "trimap_bands_mm": (1.0, 9.0)}
    whole, parts = both_ways(reference, prediction, slab, **options, probability=probability, n_not_judged=17)
    assert whole.row["n_lesions_prediction"] > 20
    assert whole.row["hd_mm"] > 10.0
    assert_equal(whole, parts, distances_to=1e-12)


@pytest.mark.parametrize("most_ends", [1, 10, 10**6])
def test_what_is_near_is_searched_first_and_the_nearest_is_found(most_ends):
    random = np.random.default_rng(2)
    shape, spacing_mm = (400, 50, 50), (0.5, 2.0, 1.0)

    def voxels(n: int, low: int, high: int) -> np.ndarray:
        found = random.integers((low, 0, 0), (high, *shape[1:]), (n, 3))
        return found[np.lexsort(found.T[::-1])]

    start, ends = voxels(300, 0, 400), np.concatenate((voxels(20, 0, 5), voxels(40, 300, 330)))
    expected = cdist(start * np.array(spacing_mm), ends * np.array(spacing_mm)).min(axis=1)
    found = search_far(start, ends, spacing_mm, shape[0], most_ends)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_what_cannot_be_compared_is_refused_as_of_the_whole():
    empty = np.zeros((4, 3, 5), bool)
    for change in ({"spacing_mm": (0.0, 1.0, 1.0)}, {"nsd_tolerance_mm": -1.0}, {"trimap_bands_mm": (math.inf,)}):
        options = {"spacing_mm": (1.0, 1.0, 1.0), "nsd_tolerance_mm": 2.0, **change}
        with pytest.raises(ValueError, match="must"):
            measure_by_slabs(lambda first, last: (empty[first:last], empty[first:last]), empty.shape, **options)


def test_memory_follows_the_slab_and_not_the_image():
    def disc(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        z, y, x = np.ogrid[first:last, :256, :256]
        return ((y - 120) ** 2 + (x - 120) ** 2 < 900) & (z >= 0), ((y - 123) ** 2 + (x - 120) ** 2 < 900) & (z >= 0)

    def peak(n_slices: int) -> int:
        tracemalloc.start()
        measure_by_slabs(disc, (n_slices, 256, 256), spacing_mm=(1.0, 1.0, 1.0), nsd_tolerance_mm=2.0, slab=32)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # Eight times the voxels: 29 million more, a sixth of a byte for each.
    assert peak(512) - peak(64) < (512 - 64) * 256 * 256 / 2

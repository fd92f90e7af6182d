"""The band around the reference and the path to redraw: by hand, against a distance map, and the limits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from cohortseg.metrics import boundary
from cohortseg.metrics.bits import pack, unpack

SPACING = (3.0, 2.0, 1.0)
pairs = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7).flatmap(
    lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape))
)


def jaccard(reference: np.ndarray, prediction: np.ndarray, band_mm: float, spacing_mm=SPACING) -> float:
    return boundary.boundary_jaccard(pack(reference), pack(prediction), band_mm=band_mm, spacing_mm=spacing_mm)


@pytest.mark.parametrize("distance_mm", [0.0, 1.0, 1.9, 2.0, 3.0, 5.0, 40.0])
@pytest.mark.parametrize("spacing_mm", [SPACING, (0.3, 0.1, 0.7), (1.0, 1.0, 1.0)])
def test_a_distance_map_finds_the_same_neighbourhood(
    distance_mm: float, spacing_mm: tuple[float, float, float]
) -> None:
    mask = np.random.default_rng(1).random((5, 8, 140)) < 0.003
    distance = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    found = unpack(boundary.within(pack(mask), distance_mm=distance_mm, spacing_mm=spacing_mm))
    np.testing.assert_array_equal(found, distance <= distance_mm * (1 + 1e-9))


def test_a_band_of_one_millimetre_by_hand() -> None:
    reference, prediction = np.zeros((1, 1, 12), bool), np.zeros((1, 1, 12), bool)
    reference[..., 2:9] = prediction[..., 3:11] = True
    # the surface is x = 2 and x = 8; within 1 mm lie 1, 2, 3 and 7, 8, 9: shared 3, 7, 8, either 2, 3, 7, 8, 9
    assert jaccard(reference, prediction, 1.0) == 3 / 5
    assert jaccard(reference, prediction, 0.0) == 1 / 2
    assert jaccard(reference, prediction, 99.0) == 6 / 9


def test_without_a_reference_there_is_no_band_and_without_a_prediction_it_is_all_wrong() -> None:
    full, nothing = np.ones((2, 3, 4), bool), np.zeros((2, 3, 4), bool)
    assert math.isnan(jaccard(nothing, full, 1.0))
    assert jaccard(full, nothing, 1.0) == 0.0


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_a_wide_band_gives_the_plain_jaccard_and_a_perfect_mask_scores_one_in_all(pair) -> None:
    reference, prediction = pair
    if not reference.any():
        return
    plain = (reference & prediction).sum() / (reference | prediction).sum()
    assert jaccard(reference, prediction, 1000.0) == plain
    assert all(jaccard(reference, reference, width) == 1.0 for width in (0.0, 1.0, 2.5))


def test_a_mask_moved_by_a_voxel_is_worst_in_the_narrowest_band() -> None:
    reference = np.zeros((20, 30, 40), bool)
    reference[4:16, 5:25, 6:34] = True
    moved = np.roll(reference, 1, axis=2)
    scores = [jaccard(reference, moved, width) for width in (1.0, 2.0, 4.0, 8.0)]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]


def test_only_outlines_that_are_not_shared_are_redrawn() -> None:
    reference, prediction = np.zeros((3, 6, 7), bool), np.zeros((3, 6, 7), bool)
    reference[1, 1:5, 1:6] = prediction[1, 1:5, 1:6] = True

    def path(mask: np.ndarray) -> float:
        return boundary.added_path_mm(pack(reference), pack(mask), spacing_mm=SPACING)

    assert path(prediction) == 0.0
    assert path(np.zeros_like(reference)) == 14 * 1.5  # the outline of 4 by 5 pixels
    prediction[1, 2, 2] = False  # a hole beside the outline makes none of it wrong
    assert path(prediction) == 0.0
    prediction[1, 1, 1] = False
    assert path(prediction) == 1.5

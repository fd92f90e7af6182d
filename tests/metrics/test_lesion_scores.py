"""Scores of predicted lesions: the largest and the mean probability of their voxels, in the order of the lesions."""

import numpy as np
import pytest
from skimage.measure import label as components

from cohortseg.metrics.bits import crop_to_union, pack_pair
from cohortseg.metrics.case import measure_case
from cohortseg.metrics.lesion_scores import SLAB, lesion_scores
from cohortseg.metrics.lesions import match_lesions


def test_two_lesions_by_hand_within_a_mask_that_was_cut_out() -> None:
    mask, probability = np.zeros((4, 5, 6), bool), np.zeros((4, 5, 6))
    mask[1, 2, 1:3], mask[3, 4, 5] = True, True
    probability[1, 2, 1:3], probability[3, 4, 5], probability[0, 0, 0] = (0.6, 0.9), 0.7, 1.0
    bits, _ = crop_to_union(*pack_pair(mask, mask))
    assert bits.corner != (0, 0, 0)
    largest, mean = lesion_scores(bits, probability)
    assert largest.tolist() == [0.9, 0.7]
    assert mean.tolist() == [0.75, 0.7]


def test_scikit_image_finds_the_same_scores_across_slabs() -> None:
    rng = np.random.default_rng(2)
    probability = rng.random((SLAB + 9, 13, 17)).astype(np.float16)
    mask = rng.random(probability.shape) < 0.02
    mask[SLAB - 2 : SLAB + 2, 4, 5] = True
    numbers = components(mask, connectivity=3)
    judged = [
        (float(probability[numbers == n].max()), float(probability[numbers == n].astype(float).mean()))
        for n in range(1, numbers.max() + 1)
    ]
    bits, _ = pack_pair(mask, mask)
    largest, mean = lesion_scores(bits, probability)
    # scikit-image too numbers lesions by their first voxels
    np.testing.assert_allclose(np.stack((largest, mean), axis=1), judged, rtol=1e-12)


def test_an_empty_mask_has_no_scores_and_a_missed_lesion_no_match() -> None:
    reference = np.zeros((3, 4, 5), bool)
    reference[0, 0, 0] = True
    bits, nothing = pack_pair(reference, np.zeros_like(reference))
    largest, mean = lesion_scores(nothing, np.zeros(reference.shape))
    assert largest.shape == mean.shape == (0,)
    assert np.isnan(match_lesions(bits, nothing).best_match(largest)).all()


def test_a_reference_lesion_has_the_best_score_of_those_that_touch_it() -> None:
    reference, prediction = np.zeros((1, 1, 9), bool), np.zeros((1, 1, 9), bool)
    reference[0, 0, 0:6] = True
    prediction[0, 0, [0, 2, 3, 8]] = True
    probability = np.array([[[0.6, 0, 0.7, 0.8, 0, 0, 0, 0, 0.9]]])
    found = measure_case(
        reference, prediction, spacing_mm=(1.0, 1.0, 1.0), nsd_tolerance_mm=1.0, probability=probability
    ).lesions
    names = ("side", "max_probability", "mean_probability", "match_max_probability")
    rows = [tuple(row[name] for name in names) for row in found]
    assert rows[0][3] == 0.8
    assert [row[1] for row in rows[1:]] == [0.8, 0.6, 0.9]
    assert rows[1][2] == pytest.approx(0.75)
    without = measure_case(reference, prediction, spacing_mm=(1.0, 1.0, 1.0), nsd_tolerance_mm=1.0).lesions
    assert np.isnan([row["max_probability"] for row in without]).all()

"""Hits of candidates on lesions and the operating point: by hand, lopsided spacings, nothing to find, no leaks."""

import math

import numpy as np
import pytest

from cohortseg.metrics.detection import froc_score
from cohortseg.metrics.hits import MOST_FALSE, detection_record, scores_of
from cohortseg.metrics.operating_point import Scan, at_operating_point, froc_of, mean_sensitivity, operating_point

SPACING = (3.0, 2.0, 1.0)


def masks():
    """Two lesions; candidates: a large one that touches the first at its rim, one far away, none on the second."""
    reference, candidates = np.zeros((2, 6, 12, 20), bool)
    reference[1:3, 2:6, 2:6] = True
    reference[4, 9, 15] = True
    candidates[1:3, 2:6, 5:11] = True
    candidates[5, 1, 18] = True
    probability = np.zeros(reference.shape, np.float32)
    probability[1:3, 2:6, 5:11], probability[5, 1, 18] = 0.5, 0.75
    probability[2, 3, 7] = 1.0
    return reference, candidates, probability


def test_a_candidate_that_shares_a_voxel_is_a_hit_and_the_scores_are_those_by_hand() -> None:
    reference, candidates, probability = masks()
    found = detection_record(reference, candidates, spacing_mm=SPACING, probability=probability)
    assert (found["n_lesions"], found["n_false"]) == (2, 1)
    assert found["found"] == {
        "volume_ml": [pytest.approx(48 * 0.006)],
        "max_probability": [1.0],
        "mean_probability": [pytest.approx((47 * 0.5 + 1) / 48, abs=1e-6)],
    }
    assert found["false"] == {"volume_ml": [0.006], "max_probability": [0.75], "mean_probability": [0.75]}


@pytest.mark.parametrize(("least", "n_false"), [(1 / 9, 1), (0.1112, 2)])
def test_an_overlap_must_reach_its_least_jaccard_index(least: float, n_false: int) -> None:
    reference, candidates, _ = masks()  # 8 shared voxels, 32 + 48 - 8 united: a ninth
    found = detection_record(reference, candidates, spacing_mm=SPACING, rule="overlap", min_jaccard=least)
    assert (len(found["found"]["volume_ml"]), found["n_false"]) == (2 - n_false, n_false)


@pytest.mark.parametrize(("steps", "is_hit"), [(4, True), (5, False)])
def test_a_centre_must_lie_within_the_radius_in_mm(steps: int, is_hit: bool) -> None:
    reference, candidates = np.zeros((2, 9, 9, 30), bool)
    reference[2:5, 2:6, 4:12] = True  # 96 voxels of 6 mm3: a ball of radius 5.16 mm
    centre = (3, 3, 8)
    candidates[centre[0], centre[1], centre[2] + steps] = True
    found = detection_record(reference, candidates, spacing_mm=SPACING, rule="centre")
    assert (found["n_false"] == 0) is is_hit
    # From the centre (3, 3.5, 7.5): 4 steps are 4.5 mm along x and 1 mm along y, 4.6 mm; 5 are 5.6 mm.
    moved = np.zeros_like(candidates)
    moved[3 + 2, 3, 8] = True  # 6 mm along z
    assert detection_record(reference, moved, spacing_mm=SPACING, rule="centre")["n_false"] == 1


def test_in_a_plane_the_radius_is_that_of_a_disk() -> None:
    reference, candidates = np.zeros((2, 1, 30, 30), bool)
    reference[0, 10:15, 10:15] = True  # 25 pixels: a disk of radius 2.8, a ball of 1.8
    candidates[0, 12, 14] = True
    plane = {"spacing_mm": (1.0, 1.0, 1.0), "rule": "centre"}
    assert detection_record(reference, candidates, **plane)["n_false"] == 0
    stacked = [np.concatenate([mask, np.zeros_like(mask)]) for mask in (reference, candidates)]
    assert detection_record(*stacked, **plane)["n_false"] == 1


def test_small_candidates_are_left_out_and_find_nothing() -> None:
    reference, candidates, _ = masks()
    found = detection_record(reference, candidates, spacing_mm=SPACING, min_candidate_ml=0.0061)
    assert (found["n_false"], len(found["found"]["volume_ml"])) == (0, 1)
    nothing = detection_record(reference, candidates, spacing_mm=SPACING, min_candidate_ml=1.0)
    assert (nothing["n_lesions"], nothing["n_false"], nothing["found"]["volume_ml"]) == (2, 0, [])


def test_more_false_candidates_than_are_listed_are_counted_and_score_no_higher() -> None:
    reference = np.zeros((1, 80, 80), bool)
    candidates = reference.copy()
    candidates[0, ::2, ::2] = True
    found = detection_record(reference, candidates, spacing_mm=(1.0, 1.0, 1.0))
    assert (found["n_false"], len(found["false"]["volume_ml"])) == (1600, MOST_FALSE)
    name, hit, false = scores_of(found, "max_probability")
    assert (name, hit.size, false.size) == ("volume_ml", 0, 1600)


def scan(subject: str, n_lesions: int, found: list[float], false: list[float]) -> Scan:
    return Scan(subject, n_lesions, np.asarray(found, np.float64), np.asarray(false, np.float64))


SCANS = [
    scan("a", 2, [0.9, 0.4], [0.5]),
    scan("b", 1, [0.6], [0.3, 0.2]),
    scan("c", 0, [], [0.7]),
    scan("d", 1, [], []),
]


@pytest.mark.parametrize(("limit", "threshold"), [(0.01, 0.9), (0.25, 0.6), (0.49, 0.6), (0.5, 0.4), (100.0, 0.4)])
def test_the_operating_point_finds_most_lesions_within_the_limit(limit: float, threshold: float) -> None:
    assert operating_point(SCANS, limit) == threshold


def test_without_a_lesion_there_is_no_operating_point_and_with_too_few_false_ones_nothing_counts() -> None:
    assert math.isnan(operating_point([SCANS[2]], 1.0))
    assert math.isnan(operating_point([], 1.0))
    assert operating_point([scan("a", 1, [0.2], [0.9, 0.9])], 1.0) == math.inf


def test_lesions_scans_and_false_candidates_by_hand() -> None:
    found = at_operating_point(SCANS, [0.5] * 4, seed=1, n_bootstrap=200)
    assert {name: value for name, (value, *_) in found.items()} == {
        "sensitivity_per_lesion": 0.5,  # 0.9 and 0.6 of four
        "sensitivity_per_scan": pytest.approx(2 / 3),  # a and b, not d
        "specificity_per_scan": 0.0,  # c has 0.7
        "false_per_scan": 0.5,  # 0.5 and 0.7 in four scans
    }
    assert at_operating_point(SCANS, [0.5, 0.5, 0.71, 0.5], seed=1)["specificity_per_scan"][0] == 1.0
    assert all(low <= value <= high for value, low, high in list(found.values())[:2])
    alone = at_operating_point(SCANS[:1], [0.0], seed=1)
    assert math.isnan(alone["specificity_per_scan"][0])
    assert np.isnan(alone["sensitivity_per_lesion"][1:]).all()


def test_the_interval_of_the_mean_sensitivity_resamples_subjects() -> None:
    value, low, high = mean_sensitivity(SCANS, seed=3, n_bootstrap=500)
    assert value == froc_score(froc_of(SCANS))
    assert low < value < high
    # The same by drawing scans by hand.
    rng, names = np.random.default_rng(3), np.arange(len(SCANS))
    drawn = rng.integers(4, size=(500, 4)) if names.size else []
    again = [
        froc_score(froc_of(picked))
        for row in drawn
        if any((picked := [SCANS[one] for one in row]) and one.n_lesions for one in [SCANS[two] for two in row])
    ]
    assert (low, high) == pytest.approx(tuple(np.quantile(again, (0.025, 0.975))))
    assert np.isnan(mean_sensitivity([SCANS[2]], seed=1)).all()

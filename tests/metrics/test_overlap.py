"""Overlap metrics: answers by hand, empty masks, a second library, and what must not matter."""

import math

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.metrics import overlap
from cohortseg.metrics.bits import pack_pair

SHARES = (
    overlap.dice,
    overlap.jaccard,
    overlap.sensitivity,
    overlap.precision,
    overlap.specificity,
    overlap.accuracy,
    overlap.segmentation_accuracy,
)

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5))
pairs = hnp.array_shapes(min_dims=3, max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape))
)


def row(text: str) -> np.ndarray:
    """A mask of one row, from a drawing: '#' is inside."""
    return np.array([[[letter == "#" for letter in text]]])


def count(reference: np.ndarray, prediction: np.ndarray, **options: int) -> overlap.Counts:
    return overlap.count_voxels(*pack_pair(reference, prediction), **options)


def test_counts_and_shares_of_a_drawn_row_are_those_worked_out_by_hand() -> None:
    counts = count(row("####...."), row(".####..."))
    assert counts == overlap.Counts(true_positive=3, false_positive=1, false_negative=1, true_negative=3)
    assert overlap.dice(counts) == 6 / 8
    assert overlap.jaccard(counts) == 3 / 5
    assert overlap.sensitivity(counts) == 3 / 4
    assert overlap.precision(counts) == 3 / 4
    assert overlap.specificity(counts) == 3 / 4
    assert overlap.accuracy(counts) == 6 / 8
    assert overlap.segmentation_accuracy(counts) == 1 - 2 / 4


def test_sensitivity_and_precision_are_not_mistaken_for_each_other() -> None:
    counts = count(row("#####..."), row("##......"))
    assert overlap.sensitivity(counts) == 2 / 5
    assert overlap.precision(counts) == 1.0
    assert overlap.specificity(counts) == 1.0


def test_segmentation_accuracy_charges_the_symmetric_difference() -> None:
    counts = overlap.Counts(true_positive=5, false_positive=30, false_negative=5, true_negative=60)
    assert overlap.segmentation_accuracy(counts) == -2.5


def test_accuracy_counts_the_background_too() -> None:
    assert overlap.accuracy(overlap.Counts(40, 3, 2, 55)) == 0.95


def test_both_masks_empty_leaves_every_share_undefined() -> None:
    counts = count(row("...."), row("...."))
    assert all(math.isnan(share(counts)) for share in SHARES)


def test_only_the_prediction_empty_is_dice_zero_and_no_precision() -> None:
    counts = count(row("##.."), row("...."))
    assert (overlap.dice(counts), overlap.jaccard(counts), overlap.sensitivity(counts)) == (0, 0, 0)
    assert (overlap.specificity(counts), overlap.accuracy(counts)) == (1.0, 0.5)
    assert overlap.segmentation_accuracy(counts) == 0.0
    assert math.isnan(overlap.precision(counts))


def test_only_the_reference_empty_is_dice_zero_and_no_sensitivity() -> None:
    counts = count(row("...."), row("#..."))
    assert (overlap.dice(counts), overlap.jaccard(counts), overlap.precision(counts)) == (0, 0, 0)
    assert overlap.specificity(counts) == 3 / 4
    assert math.isnan(overlap.sensitivity(counts))
    assert math.isnan(overlap.segmentation_accuracy(counts))


def test_a_reference_that_fills_the_image_has_no_specificity() -> None:
    assert math.isnan(overlap.specificity(count(row("####"), row("##.."))))


def test_volume_uses_all_three_spacings() -> None:
    assert overlap.volume_ml(500, (3.0, 2.0, 1.0)) == 3.0


def test_counts_of_a_box_know_the_voxels_outside_it() -> None:
    reference, prediction = row("..##...."), row("...##...")
    box = (slice(None), slice(None), slice(1, 6))
    whole = count(reference, prediction)
    assert count(reference[box], prediction[box], n_voxels=reference.size) == whole


@pytest.mark.parametrize(
    ("reference", "prediction", "message"),
    [
        (np.zeros((2, 3, 4), bool), np.zeros((2, 4, 3), bool), r"\(2, 3, 4\), prediction \(2, 4, 3\)"),
        (np.zeros((2, 3), bool), np.zeros((2, 3), bool), r"\(z, y, x\)"),
        (np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), bool), "uint8"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused(reference: np.ndarray, prediction: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count(reference, prediction)


def test_simpleitk_finds_the_same_overlap() -> None:
    rng = np.random.default_rng(4)
    reference, prediction = rng.random((5, 7, 9)) < 0.4, rng.random((5, 7, 9)) < 0.5
    judge = SimpleITK.LabelOverlapMeasuresImageFilter()
    judge.Execute(*(SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, reference)))
    counts = count(reference, prediction)
    assert overlap.dice(counts) == pytest.approx(judge.GetDiceCoefficient(1), abs=1e-12)
    assert overlap.jaccard(counts) == pytest.approx(judge.GetJaccardCoefficient(1), abs=1e-12)
    assert 1 - overlap.sensitivity(counts) == pytest.approx(judge.GetFalseNegativeError(1), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_swapping_the_masks_swaps_sensitivity_and_precision_and_keeps_dice(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    here, there = count(*pair), count(*pair[::-1])
    np.testing.assert_equal(overlap.dice(here), overlap.dice(there))
    np.testing.assert_equal(overlap.jaccard(here), overlap.jaccard(there))
    np.testing.assert_equal(overlap.sensitivity(here), overlap.precision(there))


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_jaccard_follows_from_dice(pair: tuple[np.ndarray, np.ndarray]) -> None:
    counts = count(*pair)
    dice = overlap.dice(counts)
    np.testing.assert_allclose(overlap.jaccard(counts), dice / (2 - dice), atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(masks)
def test_a_mask_agrees_with_itself_unless_it_is_empty(mask: np.ndarray) -> None:
    counts = count(mask, mask)
    expected = 1.0 if mask.any() else math.nan
    np.testing.assert_equal(overlap.dice(counts), expected)
    np.testing.assert_equal(overlap.segmentation_accuracy(counts), expected)

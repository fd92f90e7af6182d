"""Lesion-wise counts: the matching rule by hand, connectivity, empty masks, scipy as a judge."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from cohortseg.metrics import lesions, runs
from cohortseg.metrics.bits import crop_to_union, pack

pairs = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.bool_, shape, elements=st.booleans(), fill=st.just(False))] * 2)
)


def row(text: str) -> np.ndarray:
    return np.array([[[letter == "#" for letter in text]]])


def match(reference: np.ndarray, prediction: np.ndarray) -> lesions.Lesions:
    return lesions.match_lesions(pack(reference), pack(prediction))


def counts(reference: np.ndarray, prediction: np.ndarray) -> tuple[int, int, int, int]:
    """Lesions of the reference, of them found; of the prediction, of them true."""
    found = match(reference, prediction)
    return found.n_reference, found.n_found, found.n_prediction, found.n_true


@pytest.fixture(params=[0, 10**9], ids=["graph", "voxels"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Force one of the two ways of finding components, whatever the mask."""
    monkeypatch.setattr(runs, "NOISE", request.param)


def test_found_missed_and_invented_lesions_are_counted_apart() -> None:
    found = match(row("##..##..##....."), row(".#...#......#.#"))
    assert (found.n_reference, found.n_found, found.n_prediction, found.n_true) == (3, 2, 4, 2)
    assert found.sensitivity == 2 / 3
    assert found.precision == 2 / 4
    assert found.f1 == pytest.approx(2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2))


def test_one_prediction_may_find_two_lesions() -> None:
    assert counts(row("##..##"), row("######")) == (2, 2, 1, 1)


def test_two_predictions_in_one_lesion_are_both_true() -> None:
    assert counts(row("######"), row("#.##.#")) == (1, 1, 3, 3)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 7, 9])
def test_a_row_that_fills_the_image_with_single_voxels_is_counted(axis: int, length: int) -> None:
    dots = np.moveaxis(row("#." * length)[..., :length], 2, axis)
    n_dots = (length + 1) // 2
    assert counts(dots, dots) == (n_dots, n_dots, n_dots, n_dots)


def test_neighbours_without_a_shared_voxel_do_not_match() -> None:
    assert counts(row("##...."), row("..##..")) == (1, 0, 1, 0)


def test_voxels_that_touch_at_a_corner_are_one_lesion() -> None:
    corner = np.zeros((2, 2, 2), bool)
    corner[0, 0, 0] = corner[1, 1, 1] = True
    assert counts(corner, corner) == (1, 1, 1, 1)


def test_rows_that_start_elsewhere_still_find_every_lesion() -> None:
    reference = np.zeros((1, 3, 6), bool)
    reference[0, 0, 1:4] = reference[0, 2, 3:6] = True
    prediction = np.zeros((1, 3, 6), bool)
    prediction[0, 0, 3] = prediction[0, 2, 4:6] = True
    assert counts(reference, prediction) == (2, 2, 2, 2)


def test_empty_masks_leave_the_shares_undefined() -> None:
    both = match(row("...."), row("...."))
    assert (both.n_reference, both.n_prediction) == (0, 0)
    assert math.isnan(both.f1)
    assert math.isnan(both.mean_dice)
    assert math.isnan(both.sensitivity)
    assert math.isnan(both.precision)
    missed = match(row("#..#"), row("...."))
    assert missed.sensitivity == 0.0
    assert math.isnan(missed.precision)
    assert (missed.f1, missed.mean_dice) == (0.0, 0.0)
    invented = match(row("...."), row("#..#"))
    assert math.isnan(invented.sensitivity)
    assert invented.precision == 0.0
    assert (invented.f1, invented.mean_dice) == (0.0, 0.0)


def test_the_dice_of_a_lesion_takes_all_predictions_that_touch_it_together() -> None:
    found = match(row("####..##..##.."), row("##.#...##....#"))
    # first lesion: 3 of 4 shared with two parts of 3 voxels; second: 1 of 2 with 2 voxels; third missed; one invented
    np.testing.assert_allclose(found.reference_dice, [6 / 7, 2 / 4, 0.0])
    assert found.mean_dice == pytest.approx((6 / 7 + 2 / 4) / 4)


def test_a_prediction_that_merges_two_lesions_is_charged_to_both() -> None:
    found = match(row("##..##"), row("######"))
    np.testing.assert_allclose(found.reference_dice, [4 / 8, 4 / 8])
    assert found.pairs.tolist() == [[0, 0], [1, 0]]
    assert found.shared_voxels.tolist() == [2, 2]
    assert [part.tolist() for part in found.shared_of(1)] == [[4], [2]]


def test_centres_are_in_voxels_of_the_whole_image() -> None:
    reference, prediction = (np.zeros((6, 9, 200), bool) for _ in range(2))
    reference[3:5, 7, 150:153] = prediction[1, 2, 140] = True
    box = crop_to_union(pack(reference), pack(prediction))
    found = lesions.match_lesions(*box)
    np.testing.assert_allclose(found.reference_centres, [[3.5, 7.0, 151.0]])
    np.testing.assert_allclose(found.prediction_centres, [[1.0, 2.0, 140.0]])
    assert box[0].corner != (0, 0, 0)


@pytest.mark.usefixtures("way")
def test_scipy_finds_the_same_lesions_in_masks_of_every_density() -> None:
    rng = np.random.default_rng(3)
    for density in (0.03, 0.1, 0.3, 0.6):
        pair = [rng.random((7, 9, 131)) < density for _ in range(2)]
        maps = [ndimage.label(mask, structure=np.ones((3, 3, 3))) for mask in pair]
        found = match(*pair)
        for side, (numbers, n_lesions) in enumerate(maps):
            sizes = (found.reference_voxels, found.prediction_voxels)[side]
            centres = (found.reference_centres, found.prediction_centres)[side]
            assert sizes.tolist() == np.bincount(numbers.ravel())[1:].tolist()
            np.testing.assert_allclose(
                centres, ndimage.center_of_mass(numbers > 0, numbers, range(1, n_lesions + 1)), rtol=1e-12
            )
        both = pair[0] & pair[1]
        pairs, shared = np.unique(np.stack([m[0][both] for m in maps], axis=1), axis=0, return_counts=True)
        np.testing.assert_array_equal(found.pairs, pairs - 1)
        np.testing.assert_array_equal(found.shared_voxels, shared)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_scipy_counts_the_same_lesions(pair: tuple[np.ndarray, np.ndarray]) -> None:
    numbers = []
    for mask, other in (pair, pair[::-1]):
        labels, n_lesions = ndimage.label(mask, structure=np.ones((3, 3, 3)))
        numbers += [n_lesions, len(set(labels[other]) - {0})]
    assert counts(*pair) == tuple(numbers)

"""What candidates of cleaning leave of a case: the sums over components are those of the cleaned label itself."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cohortseg.postprocess.candidates import CANDIDATES, SHAPES, left_by, tally, two_digits, usual_part_ml
from cohortseg.postprocess.chain import NOTHING, postprocess_classes

SPACING_MM = (2.5, 0.7, 1.1)
VOXEL_ML = math.prod(SPACING_MM) / 1000


def regions(seed, n_classes, shape=(9, 14, 12)):
    random = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(random.random(shape), 1.1) for _ in range(n_classes)]
    return np.where(np.max(fields, axis=0) > 0.54, np.argmax(fields, axis=0) + 1, 0).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), n_classes=st.integers(1, 3), usual_ml=st.sampled_from([0.01, 0.05, 0.3, math.nan]))
def test_the_lists_of_components_tell_what_the_cleaned_label_has(seed, n_classes, usual_ml):
    label, reference = regions(seed, n_classes), regions(seed + 1, n_classes)
    records = tally(label, reference, spacing_mm=SPACING_MM, n_classes=n_classes)
    for value, record in enumerate(records, start=1):
        for name, candidate in CANDIDATES.items():
            options = [NOTHING] * n_classes
            options[value - 1] = candidate.options(usual_ml)
            cleaned = postprocess_classes(label, spacing_mm=SPACING_MM, options=options) == value
            left = left_by(record, candidate, usual_ml=usual_ml, voxel_ml=VOXEL_ML)
            assert left.n_left == cleaned.sum(), name
            assert left.n_shared == (cleaned & (reference == value)).sum(), name
            assert left.n_changed == (cleaned ^ (label == value)).sum(), name


def test_an_island_a_hole_and_a_part_of_another_class_by_hand():
    label, reference = np.zeros((1, 6, 12), np.uint8), np.zeros((1, 6, 12), np.uint8)
    label[0, 0:5, 0:5] = 1
    label[0, 2, 2] = 0
    label[0, 3, 3] = 2
    label[0, 1, 8:10] = 1
    reference[0, 0:5, 0:5] = 1
    (one, two) = tally(label, reference, spacing_mm=(1.0, 1.0, 1.0), n_classes=2)
    assert (one["n_reference"], one["n_reference_parts"], one["n_prediction"], one["n_shared"]) == (25, 1, 25, 23)
    assert (two["n_reference"], two["n_prediction"]) == (0, 1)
    filled = left_by(one, CANDIDATES["keep_largest_filled"], usual_ml=math.nan, voxel_ml=0.001)
    assert (filled.n_left, filled.n_shared, filled.n_changed) == (24, 24, 3)
    largest = left_by(one, CANDIDATES["keep_largest"], usual_ml=math.nan, voxel_ml=0.001)
    assert (largest.n_left, largest.n_changed) == (23, 2)


def test_an_empty_label_has_nothing_that_could_be_left():
    empty, reference = np.zeros((3, 4, 5), np.uint8), np.full((3, 4, 5), 1, np.uint8)
    for label, truth in ((empty, reference), (empty, empty)):
        (record,) = tally(label, truth, spacing_mm=SPACING_MM, n_classes=1)
        found = [left_by(record, one, usual_ml=1.0, voxel_ml=VOXEL_ML) for one in CANDIDATES.values()]
        assert {(left.n_left, left.n_shared, left.n_changed) for left in found} == {(0, 0, 0)}


def test_many_specks_are_listed_by_their_sizes():
    label = np.zeros((1, 40, 60), np.uint8)
    label[0, ::2, ::3] = 1
    label[0, 20, 30:32] = 1
    (record,) = tally(label, label, spacing_mm=SPACING_MM, n_classes=1)
    parts = record["shapes"][CANDIDATES["nothing"].shape]
    assert parts["largest"] == [[2, 2, 2, 2], [1, 1, 1, 1]]
    assert parts["others"] == [[1, 398, 398, 398, 398]]


def test_candidates_share_the_components_of_few_shapes():
    assert next(iter(CANDIDATES)) == "nothing"
    assert CANDIDATES["nothing"].options(3.0) == dict(NOTHING)
    assert len(SHAPES) == 4 < len(CANDIDATES)


def test_the_usual_part_is_the_median_over_cases():
    records = [{"n_reference": n, "n_reference_parts": parts} for n, parts in ((12, 3), (40, 1), (9, 1), (0, 0))]
    assert usual_part_ml(records, [0.5, 0.1, 1.0, 1.0]) == 4.0
    assert math.isnan(usual_part_ml(records[3:], [1.0]))


@pytest.mark.parametrize(("value", "read"), [(0.12345, 0.12), (98.7, 99.0), (math.nan, 0.0), (0.0, 0.0)])
def test_volumes_are_rounded_to_what_a_person_reads(value, read):
    assert two_digits(value) == read

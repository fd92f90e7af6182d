"""All classes at once: by hand, and scikit-learn as judge."""

import math

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from cohortseg.metrics.confusion import added, class_shares, count_classes


def test_two_classes_by_hand():
    # 10 voxels of background, 4 of class 1: one of these is missed, two of the background are taken for it.
    reference = np.array([[[0] * 10 + [1] * 4]], np.uint8)
    prediction = np.array([[[1, 1] + [0] * 8 + [0, 1, 1, 1]]], np.uint8)
    counts = count_classes(reference, prediction, n_classes=1)
    assert counts == {"shared": [8, 3], "reference": [10, 4], "prediction": [9, 5]}
    shares = class_shares(counts)
    assert shares["voxel_accuracy"] == pytest.approx(11 / 14)
    assert shares["mean_accuracy"] == pytest.approx((8 / 10 + 3 / 4) / 2)
    assert shares["mean_jaccard"] == pytest.approx((8 / 11 + 3 / 6) / 2)
    assert shares["weighted_jaccard"] == pytest.approx((10 * 8 / 11 + 4 * 3 / 6) / 14)


def test_a_class_that_is_nowhere_is_left_out_and_one_that_is_only_predicted_scores_nothing():
    reference = np.array([[[0, 0, 1, 1]]], np.uint8)
    assert class_shares(count_classes(reference, reference, n_classes=3)) == dict.fromkeys(
        ("voxel_accuracy", "mean_accuracy", "mean_jaccard", "weighted_jaccard"), 1.0
    )
    prediction = np.array([[[0, 2, 1, 1]]], np.uint8)
    shares = class_shares(count_classes(reference, prediction, n_classes=3))
    assert shares["mean_jaccard"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert shares["mean_accuracy"] == pytest.approx((1 / 2 + 1) / 2)


def test_scikit_learn_counts_the_same():
    random = np.random.default_rng(7)
    reference, prediction = random.integers(0, 4, (2, 5, 6, 7)).astype(np.uint8)
    matrix = confusion_matrix(reference.ravel(), prediction.ravel())
    counts = count_classes(reference, prediction, n_classes=3)
    assert counts["shared"] == np.diag(matrix).tolist()
    assert counts["reference"] == matrix.sum(axis=1).tolist()
    assert counts["prediction"] == matrix.sum(axis=0).tolist()
    shares = class_shares(counts)
    for ours, average in (("mean_jaccard", "macro"), ("weighted_jaccard", "weighted")):
        assert shares[ours] == pytest.approx(jaccard_score(reference.ravel(), prediction.ravel(), average=average))


def test_what_nobody_annotated_is_left_out():
    reference = np.array([[[0, 1, 255, 255]]], np.uint8)
    prediction = np.array([[[0, 1, 0, 1]]], np.uint8)
    counts = count_classes(reference, prediction, n_classes=1)
    assert counts == {"shared": [1, 1], "reference": [1, 1], "prediction": [1, 1]}


def test_cases_are_added_up_before_the_shares():
    small = count_classes(np.ones((1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.uint8), n_classes=1)
    large = count_classes(np.ones((1, 1, 99), np.uint8), np.ones((1, 1, 99), np.uint8), n_classes=1)
    assert class_shares(added([small, large]))["voxel_accuracy"] == pytest.approx(0.99)


def test_without_voxels_there_is_no_share():
    nothing = count_classes(np.zeros((0, 2, 2), np.uint8), np.zeros((0, 2, 2), np.uint8), n_classes=1)
    assert all(math.isnan(value) for value in class_shares(nothing).values())
